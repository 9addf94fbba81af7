"""Many toolboxes, many calls, and hosts that are killed: nothing is left behind."""

from __future__ import annotations

import gc
import json
import os
import random
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from orchestrator import OpenToolbox, open_toolbox, open_workspace
from orchestrator.assembly.scratch import OLD_S, remove_leftovers
from orchestrator.errors import RepositoryRefused, SandboxUnavailable
from orchestrator.sandboxes import groups as limited
from tests.walls import watch_over
from tests.walls.outside import descriptors, eventually, processes_with

HOST = """
import sys, anyio
from orchestrator import open_toolbox, open_workspace

folder, repository, state, marker = sys.argv[1:]
LEFT = (
    f"(exec -a {marker}-fg sleep 1000) & "
    f"setsid -f bash -c 'trap : TERM HUP; setsid -f bash -c \\"exec -a {marker}-far sleep 1000\\"'; "
)

async def calls(toolbox):
    while True:
        background = {"command": f"exec -a {marker}-bg sleep 1000", "run_in_background": True}
        await toolbox.call("Bash", background)
        await toolbox.call("Write", {"file_path": "f", "content": marker})
        await toolbox.call("Bash", {"command": LEFT + "sleep 0.05"})
        await toolbox.call("Grep", {"pattern": "a"})
        await toolbox.call("Bash", {"command": "exec -a " + marker + "-now sleep 0.2"})

async def here():
    while True:
        with anyio.move_on_after(0.7):
            async with open_toolbox(folder, state=state) as toolbox:
                await calls(toolbox)

async def copy():
    async with open_workspace(repository, state=state) as workspace:
        await calls(workspace.toolbox)

async def main():
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(here)
        tasks.start_soon(copy)

anyio.run(main)
"""
STARTING_S = 0.5
"""Half of the kills fall into the time in which imports are made and sandboxes start."""


async def work_hard(toolbox: OpenToolbox, number: int, calls: int) -> None:
    """Make calls of all kinds, each of which must give its own answer."""
    for count in range(calls):
        text = f"{number}/{count}"
        match count % 5:
            case 0:
                given = {"file_path": f"f{count}", "content": text}
                assert not (await toolbox.call("Write", given)).is_error
            case 1:
                read = await toolbox.call("Read", {"file_path": f"f{count - 1}"})
                assert f"{number}/{count - 1}" in read.text
            case 2:
                assert (await toolbox.call("Bash", {"command": f"echo {text}"})).text == text
            case 3:
                found = await toolbox.call("Grep", {"pattern": f"^{number}/"})
                assert f"f{count - 3}" in found.text
            case _:
                left = {"command": "exec sleep 1000", "run_in_background": True}
                assert not (await toolbox.call("Bash", left)).is_error


async def crowd(tmp_path: Path, state: Path, boxes: int, calls: int) -> None:
    """Open many toolboxes side by side and work in all of them."""

    async def one(number: int) -> None:
        folder = tmp_path / f"box-{number}"
        folder.mkdir()
        async with open_toolbox(folder, state=state) as toolbox:
            await work_hard(toolbox, number, calls)

    async with anyio.create_task_group() as tasks:
        for number in range(boxes):
            tasks.start_soon(one, number)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("boxes", "calls"),
    [
        pytest.param(6, 10, id="sample"),
        pytest.param(50, 20, id="1000-calls", marks=pytest.mark.heavy),
    ],
)
async def test_many_toolboxes_leave_nothing(
    tmp_path: Path, state: Path, boxes: int, calls: int
) -> None:
    """After many calls from concurrent toolboxes no process, descriptor or folder is left."""
    await crowd(tmp_path, state, 1, 5)
    gc.collect()  # what tests before this one left open is not ours to count
    opened, below = descriptors(), watch_over.below(os.getpid())
    kept = sorted(state.rglob("*"))
    many = tmp_path / "many"
    many.mkdir()
    await crowd(many, state, boxes, calls)
    await eventually(
        lambda: set(watch_over.below(os.getpid())) <= set(below), "all processes have ended"
    )
    assert descriptors() <= opened
    assert sorted(state.rglob("*")) == kept


def kill_hosts(tmp_path: Path, repository: Path, state: Path, kills: int) -> dict[str, set[str]]:
    """Kill so many hosts, each at a moment of its own; return what was seen of all of them."""
    seen: dict[str, set[str]] = {"groups": set(), "words": set()}
    dice = random.Random(11)
    work = tmp_path / "work"
    work.mkdir()
    for number in range(kills):
        marker = f"marker-{secrets.token_hex(8)}"
        since = "start" if number % 2 else "seen"
        seconds = dice.uniform(0.1, STARTING_S if number % 2 else 2.0)
        kinds = ("fg", "bg", "far", "now")
        done = subprocess.run(
            [
                *(sys.executable, watch_over.__file__, str(seconds), since),
                *(f"{marker}-{kind}" for kind in kinds),
                *("--", sys.executable, "-c", HOST, str(work), str(repository), str(state), marker),
            ],
            capture_output=True,
            check=False,
            text=True,
        )
        assert done.returncode == 0, (
            f"something outlives its host, killed {seconds} s after its {since}: {done}"
        )
        told = json.loads(done.stdout)
        assert told["status"] == -9, done.stderr
        assert processes_with(marker) == []
        seen["groups"] |= set(told["groups"])
        seen["words"] |= {word.rpartition("-")[2] for word in told["words"]}
    return seen


@pytest.mark.parametrize(
    "kills", [pytest.param(8, id="sample"), pytest.param(80, id="many", marks=pytest.mark.heavy)]
)
def test_a_killed_host_leaves_nothing(
    tmp_path: Path, repository: Path, state: Path, kills: int
) -> None:
    """After kill -9 at any moment no process is left; folders, pins and groups go with the next."""
    place = tmp_path / "state"
    anyio.run(prove, tmp_path, place)
    seen = kill_hosts(tmp_path, repository, place, kills)
    assert seen["words"] == {"fg", "bg", "far", "now"}, "all kinds of processes were running"
    left = list(place.glob("scratch-*"))
    assert left, "hosts were killed while they had folders"
    pins = repository / ".git" / "refs" / "orchestrate"
    assert list(pins.rglob("base"))
    for folder in left:
        age(folder)
    remove_leftovers(place)
    assert list(place.glob("scratch-*")) == []
    assert list(pins.rglob("base")) == []
    roots = {root for bound in limited.bounds() for root in bound.hierarchies}
    groups = [root / name for root in roots for name in seen["groups"]]
    for group in groups:
        if group.exists():
            age(group)
    limited.remove_leftovers()
    assert [group for group in groups if group.exists()] == []


async def prove(folder: Path, state: Path) -> None:
    """Have the walls proved, so that no host is busy with that."""
    (folder / "proof").mkdir()
    async with open_toolbox(folder / "proof", state=state) as toolbox:
        assert not (await toolbox.call("Bash", {"command": "true"})).is_error


def age(folder: Path) -> None:
    """Make a folder older than what may still be in the making."""
    changed = folder.stat().st_mtime - 2 * OLD_S
    os.utime(folder, (changed, changed))


@pytest.mark.asyncio
async def test_folders_in_use_are_left_alone(tmp_path: Path, repository: Path, state: Path) -> None:
    """However old the folder of a living owner is, and whatever a young one looks like, it stays."""
    place = tmp_path / "state"
    shutil.copytree(state / "sandbox", place / "sandbox")
    async with open_workspace(repository, state=place) as workspace:
        (folder,) = place.glob("scratch-*")
        age(folder)
        young = place / "scratch-young"
        young.mkdir()
        remove_leftovers(place)
        assert young.is_dir()
        await workspace.toolbox.call("Write", {"file_path": "f", "content": "x"})
        commit = await workspace.collect("refs/heads/out")
    assert commit
    assert list(place.glob("scratch-*")) == [young]
    age(young)
    async with open_workspace(repository, state=place):
        assert not young.exists()


@pytest.mark.asyncio
async def test_a_toolbox_is_of_no_use_after_its_block(tmp_path: Path, state: Path) -> None:
    """It says so, and starts nothing that nobody would end."""
    folder = tmp_path / "folder"
    folder.mkdir()
    async with open_toolbox(folder, state=state) as toolbox:
        assert not (await toolbox.call("Bash", {"command": "true"})).is_error
    gc.collect()
    before = descriptors()
    for _ in range(2):
        with pytest.raises(SandboxUnavailable, match="outside their `async with` block"):
            await toolbox.call("Bash", {"command": "true"})
    assert descriptors() == before


@pytest.mark.asyncio
async def test_a_workspace_leaves_no_git_behind(repository: Path, state: Path) -> None:
    """What reads the repository ends with the block, not with the last that knows of it."""
    gc.collect()
    before = descriptors()
    async with open_workspace(repository, state=state) as workspace:
        await workspace.toolbox.call("Write", {"file_path": "a.txt", "content": "x"})
        await workspace.collect("refs/heads/work")
    assert descriptors() == before
    assert workspace.base


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "branch", ["", "a b", "bad..x", "x.lock", "-x", "a\n", "a\0b", "/x", "HEAD", "@{-1}"]
)
async def test_a_branch_that_is_none_is_refused(repository: Path, state: Path, branch: str) -> None:
    """It is told before anything is made; inside, git would not know where it is."""
    with pytest.raises(RepositoryRefused, match="not a possible branch name"):
        async with open_workspace(repository, branch=branch, state=state):
            raise AssertionError("it was opened")
