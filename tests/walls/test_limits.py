"""What a sandbox may use up of memory and disk: it is ended, the model is told, and goes on."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from orchestrator import OpenToolbox, open_toolbox
from orchestrator.sandboxes import watch
from orchestrator.sandboxes.groups import Groups, bounds
from orchestrator.settings import SandboxSettings
from tests.walls import watch_over
from tests.walls.inside import done, sh
from tests.walls.outside import eventually, processes_with

HOG = "python3 -c 'import time; held = bytearray({mb} << 20); print(1); time.sleep({s})' {marker}"
MOST_MB = 192


def bounded_by_group() -> bool:
    """Tell whether this machine lets us bind memory by a control group."""
    made = Groups.make(memory_mb=64)
    try:
        return "memory" in made.bounded
    finally:
        made.gone()


@pytest.fixture(params=["control group", "watchdog"])
def bound(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Bind memory by one of the two alone."""
    if request.param == "watchdog":
        monkeypatch.setattr(Groups, "make", lambda **_: Groups())
    elif not bounded_by_group():
        pytest.skip("NOT TESTED: no control group for memory can be made here")
    else:
        monkeypatch.setattr(watch, "used_memory", lambda *_: 0)
    return str(request.param)


@asynccontextmanager
async def opened(work: Path, state: Path, **settings: int) -> AsyncIterator[OpenToolbox]:
    """Open a toolbox with limits of its own."""
    chosen = SandboxSettings(**settings)  # type: ignore[arg-type]
    async with open_toolbox(work, state=state, sandbox_backend=chosen) as toolbox:
        yield toolbox


@pytest.mark.asyncio
async def test_too_much_memory_ends_the_sandbox(
    bound: str,
    marker: str,
    work: Path,
    state: Path,
) -> None:
    """A command that takes more than it may is ended with all else; the reason is its result."""
    async with opened(work, state, memory_mb=MOST_MB) as toolbox:
        await done(toolbox, "echo kept > file")
        ended = await sh(toolbox, HOG.format(mb=600, s=600, marker=marker))
        assert ended.is_error and f"used more than {MOST_MB} MB of memory" in ended.text
        assert await done(toolbox, "cat file") == "kept"
        await eventually(lambda: not processes_with(marker), "it is gone")


@pytest.mark.asyncio
async def test_many_small_ones_are_one_large_one(
    bound: str,
    marker: str,
    work: Path,
    state: Path,
) -> None:
    """The limit is for all processes of a sandbox together."""
    hog = HOG.format(mb=60, s=600, marker=marker)
    async with opened(work, state, memory_mb=MOST_MB) as toolbox:
        ended = await sh(toolbox, f"for n in 1 2 3 4 5 6; do {hog} & done; wait")
        assert ended.is_error and "MB of memory" in ended.text
        assert await done(toolbox, "echo on") == "on"


@pytest.mark.asyncio
async def test_the_reason_is_told_at_the_next_call(
    bound: str,
    marker: str,
    work: Path,
    state: Path,
) -> None:
    """What is ended between two calls is told once, by the next one."""
    hog = HOG.format(mb=600, s=600, marker=marker)
    async with opened(work, state, memory_mb=MOST_MB) as toolbox:
        await toolbox.call("Bash", {"command": f"sleep 0.2; {hog}", "run_in_background": True})
        await eventually(lambda: bool(processes_with(marker)), "it runs")
        await eventually(lambda: not processes_with(marker), "it was ended")
        told = await sh(toolbox, "echo hello")
        assert told.is_error and "MB of memory" in told.text
        assert await done(toolbox, "echo hello") == "hello"


@pytest.mark.asyncio
async def test_memory_within_the_limit_is_left_alone(
    bound: str,
    marker: str,
    work: Path,
    state: Path,
) -> None:
    """What stays below the limit runs to its end, though forked processes share their pages."""
    fork = (
        "import os, time; held = bytearray(90 << 20)\n"
        "[os.fork() or (time.sleep(1.5), os._exit(0)) for _ in range(4)]\n"
        "[os.wait() for _ in range(4)]; print('done')"
    )
    async with opened(work, state, memory_mb=MOST_MB) as toolbox:
        (work / "fork.py").write_text(fork, encoding="utf-8")
        assert await done(toolbox, "python3 fork.py") == "done"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a file system of its own, of 64 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=0777", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(argv, capture_output=True, check=False).returncode:
        pytest.skip("NOT TESTED: a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.asyncio
async def test_a_disk_that_is_filled_ends_the_sandbox(small_disk: Path, state: Path) -> None:
    """What fills the disk is ended while some is left, and can be removed from inside."""
    async with opened(small_disk, state, disk_free_mb=30) as toolbox:
        ended = await sh(toolbox, "head -c 50M /dev/zero > big; sleep 600")
        assert ended.is_error and "MB of the disk free" in ended.text
        assert (await done(toolbox, "ls; rm big; ls")) == "big"
        await done(toolbox, "head -c 10M /dev/zero > fits; sleep 1.2; rm fits")


def test_idle_watching_looks_at_few_files(tmp_path: Path) -> None:
    """Watching goes on by the tree of one process alone: what else runs does not matter."""
    with (
        subprocess.Popen(["sleep", "600"]) as other,
        subprocess.Popen(["sh", "-c", "sleep 600 & sleep 600 & wait"]) as own,
    ):
        try:
            anyio.run(eventually, lambda: len(list(watch.tree(own.pid))) == 3, "they run")
            there = list(watch.tree(own.pid))
            assert own.pid in there and other.pid not in there
            assert 0 < watch.used_memory(there, 1 << 40) < 64 << 20
        finally:
            for pid in watch.tree(own.pid):
                os.kill(pid, 9)
            other.kill()


@pytest.mark.asyncio
async def test_no_group_and_no_thread_is_left(work: Path, state: Path) -> None:
    """After the block neither control groups nor the watchdog's thread are there any more."""

    threads = threading.active_count()
    async with opened(work, state) as toolbox:
        await done(toolbox, "sleep 100 & true")
        names = watch_over.groups_of(watch_over.below(os.getpid()))
        roots = {one for kind in bounds() for one in kind.hierarchies}
        made = [root / name for root in roots for name in names if (root / name).exists()]
        assert made or not bounded_by_group()
    await eventually(lambda: not any(one.exists() for one in made), "its groups are removed")
    await eventually(lambda: threading.active_count() <= threads, "the thread has ended")


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["control group", "without"])
async def test_each_process_has_its_limits(
    way: str, work: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cores, descriptors, file sizes and data are bounded, whichever shell sets the limits."""
    if way == "without":
        monkeypatch.setattr(Groups, "make", lambda **_: Groups())
    asked = "for kind in c n f d; do ulimit -H$kind; done"
    async with opened(work, state) as toolbox:
        assert await done(toolbox, asked) == "0\n4096\n2097152\n4194304"
        if way == "without":
            assert int(await done(toolbox, "ulimit -Hu")) <= 512
