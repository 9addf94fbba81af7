"""What an agent left running is ended before its work is brought out; its server may go on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import anyio
import pytest

from orchestrator import OpenToolbox
from orchestrator.toolserver import ToolServer
from orchestrator_tools import alone
from orchestrator_tools.errors import ToolError
from tests.builders import git
from tests.walls.conftest import OpenHere, OpenRepository
from tests.walls.inside import done, sh
from tests.walls.outside import eventually, processes_with
from tests.walls.test_walls_processes import KEEPERS, a_sleeper

BREEDERS = {
    **KEEPERS,
    "breeding": "for i in 1 2 3; do ( while :; do {sleeper} & sleep 0.01; done ) & done",
    "reviving": (
        "( a() { while :; do {sleeper}; done; }; a & while :; do a; done ) >/dev/null 2>&1 &"
    ),
    "many": "for i in $(seq 100); do {sleeper} & done",
    "deep": "setsid -f setsid -f bash -c '{quoted} & trap \"\" TERM HUP; wait'",
}


def the_server(toolbox: OpenToolbox) -> ToolServer:
    """Return the server that a toolbox asks."""
    return toolbox._toolbox._server


@pytest.mark.asyncio
@pytest.mark.parametrize("how", BREEDERS)
async def test_nothing_but_the_server_runs_afterwards(
    how: str, marker: str, open_here: OpenHere
) -> None:
    """However something was left running, it is gone, and the same server answers."""
    sleeper = a_sleeper(marker)
    command = BREEDERS[how].replace("{sleeper}", sleeper)
    command = command.replace("{quoted}", sleeper.replace("'", '"'))
    async with open_here() as toolbox:
        await done(toolbox, "echo up")
        server = the_server(toolbox)
        before = server._session
        await sh(toolbox, command)
        await eventually(lambda: bool(processes_with(marker)), "it runs")
        assert await server.end_the_rest()
        assert processes_with(marker) == []
        assert server._session is before
        assert await done(toolbox, "echo still here") == "still here"


@pytest.mark.asyncio
async def test_what_writes_on_takes_no_part_in_the_commit(
    repository: Path, open_repository: OpenRepository
) -> None:
    """The commit holds what the files held when nothing ran any more."""
    async with open_repository() as workspace:
        writer = "i=0; while :; do i=$((i+1)); echo $i > racing; echo $i > src/racing; done"
        await sh(workspace.toolbox, f"( {writer} ) >/dev/null 2>&1 &")
        await done(workspace.toolbox, "until test -s src/racing; do :; done")
        server = the_server(workspace.toolbox)
        before = server._session
        commit = await workspace.collect("refs/heads/feature/out")
        assert before is not None
        assert before.ended, "it ends when the work is out"
        left = await done(workspace.toolbox, "cat racing src/racing; git status --short")
    told = git(repository, "show", f"{commit}:racing", f"{commit}:src/racing")
    assert left.split() == told.split()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "attack",
    [
        "kill -STOP $PPID",
        "kill -9 $PPID",
        "prlimit --pid $PPID --nproc=1 --nofile=8",
        "prlimit --pid $PPID --nofile=10",
        "prlimit --pid $PPID --nofile=12",
        "prlimit --pid $PPID --nproc=2",
        "prlimit --pid $PPID --fsize=0",
        "prlimit --pid $PPID --as=1 --data=1",
    ],
)
async def test_a_server_that_was_attacked_is_replaced(
    attack: str,
    repository: Path,
    open_repository: OpenRepository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where it does not answer, or cannot do its work any more, a fresh sandbox does it."""
    monkeypatch.setattr("orchestrator.toolserver.ALONE_S", 1.0)
    async with open_repository() as workspace:
        await done(workspace.toolbox, "echo kept > src/kept")
        # Once the call is answered: that one would else be what notices it.
        waiting = f"until test -e go; do :; done; {attack}; touch went"
        await done(workspace.toolbox, f"export PPID; ( {waiting} ) >/dev/null 2>&1 & :")
        session, work = workspace._server._session, workspace._workspace.work
        assert session is not None
        (work / "go").touch()
        await eventually(lambda: (work / "went").exists() or session.ended, "it was attacked")
        commit = await workspace.collect("refs/heads/feature/out")
    assert git(repository, "show", f"{commit}:src/kept") == "kept"


@pytest.mark.asyncio
async def test_with_a_call_under_way_only_a_fresh_sandbox_will_do(
    work: Path, open_here: OpenHere
) -> None:
    """What was asked for and has not begun would begin afterwards, so it is not said to be alone."""
    async with open_here() as toolbox, anyio.create_task_group() as tasks:
        await done(toolbox, "true")
        tasks.start_soon(sh, toolbox, "touch begun; until test -e go; do :; done")
        await eventually((work / "begun").exists, "it runs")
        assert not await the_server(toolbox).end_the_rest()
        (work / "go").touch()


def test_elsewhere_nothing_is_ever_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside a sandbox, where all processes are meant by the same call, it is not made."""
    sent: list[object] = []
    monkeypatch.setattr(os, "kill", lambda *told: sent.append(told))
    with pytest.raises(ToolError, match="not ours alone"):
        alone.end_the_rest()
    monkeypatch.setattr(os, "getppid", lambda: 1)  # a daemon, whose parent is the host's first
    with pytest.raises(ToolError, match="not ours alone"):
        alone.end_the_rest()
    assert sent == []


def test_something_that_does_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried a few times, and then a fresh sandbox has to do."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "getppid", lambda: 1)
    monkeypatch.setattr(os, "getpid", lambda: 2)
    monkeypatch.setattr(os, "kill", lambda *told: sent.append(told))
    monkeypatch.setattr(alone, "WAITS_S", (0.0,) * 3)
    with pytest.raises(ToolError, match="does not end"):
        alone.end_the_rest()
    assert sent == [(-1, signal.SIGKILL)] * 3
