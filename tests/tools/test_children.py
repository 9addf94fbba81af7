"""Programs that are started inside: what they get of this process, and how they are ended."""

from __future__ import annotations

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orchestrator_tools import children
from orchestrator_tools.children import Bounds, Ended, Process

BOUNDS = Bounds(60, 1_000_000)


def python(code: str, cwd: Path, bounds: Bounds = BOUNDS, **how: Any) -> Ended:
    return children.run([sys.executable, "-I", "-S", "-c", code], bounds, cwd=str(cwd), **how)


def is_left_open(descriptor: int) -> bool:
    """Tell whether a descriptor of this process is handed on to every program."""
    try:
        return os.get_inheritable(descriptor)
    except OSError:
        return False


def test_a_program_has_its_three_descriptors_and_no_more(work: Path) -> None:
    """Nothing that this process has open reaches a program."""
    code = "import os\nfor n in os.listdir('/proc/self/fd'):\n try: print(n, os.readlink(f'/proc/self/fd/{n}'))\n except OSError: pass"
    # What whoever runs the tests has left open for all: the server seals such ones as it starts.
    left = {str(one) for one in range(3, 1024) if is_left_open(one)}
    with (work / "f").open("wb"):
        said = dict(line.split() for line in python(code, work).output.decode().splitlines())
    assert set(said) - left == {"0", "1", "2"}
    assert said["0"] == "/dev/null"


def test_what_was_open_before_is_kept(work: Path) -> None:
    """A descriptor that the process was started with, and would hand on, is kept back."""
    handed = os.open(work, os.O_RDONLY)
    os.set_inheritable(handed, True)
    try:
        count = "import os; print(len(os.listdir('/proc/self/fd')))"
        before = int(python(count, work).output)
        left = sum(map(is_left_open, range(3, 1024)))
        children.keep_descriptors()
        assert not os.get_inheritable(handed)
        assert int(python(count, work).output) == before - left
        assert os.get_inheritable(2)
    finally:
        os.close(handed)


def test_signals_that_python_ignores_are_as_ever(work: Path) -> None:
    """A program that writes to nobody ends, as it would anywhere else."""
    argv = ["bash", "-c", "grep SigIgn /proc/self/status"]
    ignored = children.run(argv, BOUNDS, cwd=str(work)).output.split()[1]
    assert not int(ignored, 16) & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)


def test_each_program_runs_where_it_should(work: Path) -> None:
    """Many are started at once, each in its own folder, and this process stays where it is."""
    here = Path.cwd()
    folders = [work / str(number) for number in range(40)]
    for folder in folders:
        folder.mkdir()

    def stands(folder: Path) -> str:
        return children.run(["pwd"], BOUNDS, cwd=str(folder)).output.decode().strip()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(stands, folders)) == [str(folder) for folder in folders]
    assert Path.cwd() == here


@pytest.mark.parametrize("known", [True, False])
def test_a_session_of_its_own(work: Path, monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    """A program begins a session, also on a Python that cannot ask the system for one."""
    spawn = os.posix_spawnp

    def old(*given: Any, **how: Any) -> int:
        if "setsid" in how:
            raise NotImplementedError
        return spawn(*given, **how)

    if not known:
        monkeypatch.setattr(os, "posix_spawnp", old)
    process = children.start(["sleep", "1000"], {}, cwd=str(work), session=True)
    try:
        while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":
            pass
        assert os.getsid(process.pid) == process.pid != os.getsid(0)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL


def test_what_cannot_be_started_is_an_error_and_leaves_nothing(work: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for argv, cwd in ((["no-such-program"], work), (["true"], work / "nowhere")):
        with pytest.raises(FileNotFoundError):
            children.run(argv, BOUNDS, cwd=str(cwd))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_program_that_closes_its_output_is_not_waited_for_without_end(work: Path) -> None:
    code = "import os, time\nos.close(1)\nos.close(2)\ntime.sleep(1000)"
    ended = python(code, work, Bounds(1, 100))
    assert ended.late and ended.status == -signal.SIGKILL


def test_errors_are_kept_up_to_a_bound(work: Path) -> None:
    ended = python(
        "import sys; sys.stderr.write('x' * 200_000)", work, Bounds(60, 1, errors=90_000)
    )
    assert (len(ended.errors), ended.status) == (90_000, 0)


def test_the_end_of_a_program_is_told_once_and_for_all(work: Path) -> None:
    """Whoever asks again gets the same answer; whoever comes too late, none that says success."""
    process = children.start(["sh", "-c", "exit 7"], {}, cwd=str(work))
    assert process.ends_within(60)
    assert (process.wait(), process.poll(), process.wait()) == (7, 7, 7)
    assert process.ends_within(0)
    process.kill()
    assert Process(process.pid).wait() == -signal.SIGKILL
