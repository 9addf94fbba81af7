"""Bash: what a timeout ends, what a command may leave behind, and background commands."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from orchestrator_tools import bash
from orchestrator_tools.children import Process
from orchestrator_tools.contract import ToolResult
from orchestrator_tools.errors import ToolError
from orchestrator_tools.place import Place

SAFETY_S = 60
"""Seconds after which a test that hangs fails; no test measures them."""

SHORT_MS = 1000
"""A timeout that is meant to be reached, long enough for a shell to start its children."""


@pytest.fixture(autouse=True)
def _no_leftovers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End what a test leaves in the background, and keep the grace short."""
    monkeypatch.setattr(bash, "GRACE_S", 0.2)
    yield
    for process in bash.BACKGROUND:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        ended(process)
    bash.reap()


def sh(place: Place, command: str, timeout: float = SAFETY_S * 1000) -> ToolResult:
    return bash.run(bash.Arguments(command=command, timeout=timeout), place)


def start(place: Place, command: str) -> tuple[ToolResult, Process]:
    result = bash.run(bash.Arguments(command=command, run_in_background=True), place)
    return result, bash.BACKGROUND[-1]


def ended(process: Process) -> int:
    """Wait for a process to end, no longer than the safety limit; return how it ended."""
    assert process.ends_within(SAFETY_S)
    return process.wait()


def has_ended(pid: int) -> bool:
    """Tell whether a process is gone, or goes before the safety limit."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], SAFETY_S)[0])
    finally:
        os.close(descriptor)


def pids(work: Path) -> list[int]:
    return [int(line) for line in (work / "pids").read_text().split()]


def test_a_timeout_ends_the_command(place: Place) -> None:
    """A command that runs too long is ended, and its output so far is shown as an error."""
    result = sh(place, "echo so far; sleep 1000", SHORT_MS)
    assert result.text == "Timed out after 1 s and was ended\nso far"
    assert result.is_error
    assert result.details["exit_code"] == 128 + signal.SIGTERM


def test_a_timeout_lets_the_command_clean_up(place: Place, work: Path) -> None:
    """SIGTERM comes first, so that a command can clean up."""
    sh(place, "trap 'touch cleaned; exit 0' TERM; touch began; sleep 1000 & wait", SHORT_MS)
    assert {path.name for path in work.iterdir()} == {"began", "cleaned"}


@pytest.mark.parametrize(
    "command",
    [
        "trap '' TERM; echo $$ >>pids; while :; do sleep 1000; done",
        "(trap '' TERM; echo $BASHPID >>pids; while :; do sleep 1000; done) & wait",
        "sleep 1000 & echo $! >>pids; wait",
        "setsid bash -c 'echo $$ >>pids; exec sleep 1000' & wait",
        "setsid -f bash -c 'trap : TERM HUP; echo $$ >>pids; while :; do sleep 9; done'; sleep 1000",
        "nohup setsid -f bash -c 'echo $$ >>pids; exec sleep 1000' >/dev/null 2>&1; sleep 1000",
        "setsid -f setsid -f bash -c 'echo $$ >>pids; exec sleep 1000'; kill -STOP $$",
        "set -m; (echo $BASHPID >>pids; exec sleep 1000) & wait",
    ],
    ids=["shell", "subshell", "child", "setsid", "deaf", "nohup", "stopped", "job-control"],
)
def test_a_timeout_leaves_no_process(place: Place, work: Path, command: str) -> None:
    """What ignores SIGTERM or left the process group is gone after a timeout."""
    result = sh(place, command, SHORT_MS)
    assert result.text.startswith("Timed out after 1 s")
    started = pids(work)
    assert started
    assert all(has_ended(pid) for pid in started)


def test_a_timeout_ends_no_other_call(place: Place, work: Path) -> None:
    """Ending one command leaves what other calls started alone."""
    _, process = start(place, "sleep 1000")
    sh(place, "sleep 1000", SHORT_MS)
    assert process.poll() is None


@pytest.mark.parametrize("holder", ["sleep 1000 &", "setsid -f sleep 1000;", "(sleep 1000 &);"])
def test_holders_of_stdout_are_not_waited_for(place: Place, work: Path, holder: str) -> None:
    """A child that keeps the output open does not make the call wait, nor the cwd get lost."""
    (work / "sub").mkdir()
    result = sh(place, f"cd sub; {holder} echo done")
    try:
        assert (result.text, result.is_error) == ("done", False)
        assert place.change().cwd == str(work / "sub")
    finally:
        for pid in holders_of(place):
            os.kill(pid, signal.SIGKILL)
            assert has_ended(pid)


def holders_of(place: Place) -> list[int]:
    """Find the processes whose output goes to a removed log of this place."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(folder.joinpath("fd/2").readlink()).startswith(place.scratch):
                found.append(int(folder.name))
    assert found, "the holder is still there"
    return found


def test_background_answers_at_once(place: Place) -> None:
    """A background command is answered by its pid and its file, where its output appears."""
    result, process = start(place, "echo out; echo err >&2; exit 3")
    assert f"pid {process.pid}" in result.text
    assert result.details == {"pid": process.pid, "output": result.details["output"]}
    assert result.details["output"] in result.text
    assert ended(process) == 3
    assert Path(result.details["output"]).read_text() == "out\nerr\n"


def test_background_runs_beside_other_calls(place: Place, work: Path) -> None:
    """A background command goes on while later calls run, and its output can be read."""
    os.mkfifo(work / "gate")
    result, process = start(place, "read line <gate; echo got $line")
    assert sh(place, "echo pass >gate").text == "(no output)"
    assert ended(process) == 0
    assert Path(result.details["output"]).read_text() == "got pass\n"


def test_background_has_no_input(place: Place) -> None:
    """A background command that reads its input finds it at its end."""
    result, process = start(place, "cat; echo end")
    assert ended(process) == 0
    assert Path(result.details["output"]).read_text() == "end\n"


def test_background_does_not_move_the_cwd(place: Place, work: Path) -> None:
    """The cwd of a background command is its own."""
    (work / "sub").mkdir()
    _, process = start(place, "cd sub")
    assert ended(process) == 0
    assert place.change().cwd is None


def test_background_is_ended_by_kill(place: Place, work: Path) -> None:
    """The kill that the answer names ends the command and its children."""
    os.mkfifo(work / "gate")
    result, process = start(place, "sleep 1000 & echo $! >pids; echo up >gate; wait")
    assert sh(place, "cat gate").text == "up"
    kill = result.text[result.text.index("kill -- ") :]
    assert kill == f"kill -- -{process.pid}"
    assert not sh(place, kill).is_error
    assert ended(process) == -signal.SIGTERM
    assert all(has_ended(pid) for pid in pids(work))


def test_ended_background_commands_are_reaped(place: Place) -> None:
    """Ended commands are forgotten, running ones are kept."""
    _, short = start(place, "true")
    _, running = start(place, "sleep 1000")
    # while the thread that sees it off collects it, `poll` answers None once
    assert ended(short) == 0
    bash.reap()
    assert running in bash.BACKGROUND
    assert short not in bash.BACKGROUND


def test_works_without_pidfd(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a kernel without pidfd_open, ends and timeouts are seen all the same."""

    def refused(pid: int, flags: int = 0) -> int:
        raise OSError

    monkeypatch.setattr(os, "pidfd_open", refused)
    assert sh(place, "exit 4").details["exit_code"] == 4
    assert sh(place, "sleep 1000", 100).text == "Timed out after 0.1 s and was ended"


def test_says_that_bash_cannot_be_started(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A machine without bash is an answer, not a crash."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="bash cannot be started: No such file"):
        sh(place, "true")


@pytest.mark.parametrize(
    ("given", "seconds"), [(None, 120), (1, 0.001), (600_000, 600), (10_000_000, 600)]
)
def test_a_timeout_has_a_default_and_a_bound(
    place: Place, monkeypatch: pytest.MonkeyPatch, given: float | None, seconds: float
) -> None:
    """Two minutes unless given, ten at most, whatever is asked for."""
    waited: list[float | None] = []
    wait = Process.ends_within

    def noted(process: Process, most: float | None) -> bool:
        waited.append(most)
        return wait(process, SAFETY_S)

    monkeypatch.setattr(Process, "ends_within", noted)
    bash.run(bash.Arguments(command="true", timeout=given), place)
    assert waited == [seconds]


def test_output_is_shown_on_the_way(place: Place) -> None:
    """Each piece of output is shown once, in order, and no character is split between two."""
    heard: list[str] = []
    place.show = heard.append
    command = "printf 'a\\346\\227'; sleep 0.7; printf '\\245b'; sleep 0.7; printf c"
    result = sh(place, command)
    assert result.text == "a日bc"
    assert "a日bc".startswith("".join(heard))
    assert heard[0] == "a"


def test_a_quick_command_shows_nothing(place: Place) -> None:
    """A command that ends at once is not looked after."""
    heard: list[str] = []
    place.show = heard.append
    assert sh(place, "true").text == "(no output)"
    assert heard == []
