"""A process that is frozen while it works: its run is taken over, and when it wakes up it is refused."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.runs.conftest import BRANCH, CommandLine, git
from tests.runs.model_server import ModelServer, serve
from tests.runs.stage import MEND, NOTE
from tests.runs.test_killed_while_judged import message

DEADLINE_S = 60
WAITS = (
    "Bash",
    {"command": "touch waits; while [ ! -e go ]; do sleep 0.02; done; rm go waits; echo x >>late"},
)
"""A call that a test lets go on; what it writes then is seen in the tree."""


@pytest.fixture
def waiting() -> Iterator[ModelServer]:
    """An agent whose first call waits inside."""
    script = [
        message("I look.", ("Bash", {"command": "echo 1 >early; git add early"})),
        message("I wait.", NOTE, WAITS, MEND),
        message("Mended."),
    ]
    with serve(script) as running:
        yield running


def grow_old(line: CommandLine, seconds: float = 100.0) -> None:
    """Have the journal say that nothing was heard of any owner for so long."""
    with closing(sqlite3.connect(line.state / "journal.db")) as database:
        database.execute("update runs set changed=changed-?, beat=beat-?", (seconds, seconds))
        database.commit()


def run_of(line: CommandLine) -> str:
    """Return the id of the only run."""
    (row,) = json.loads(line.run("runs", "list", "--json").stdout)
    return str(row["run"])


def places(line: CommandLine) -> list[Path]:
    """Return the work trees of all places, oldest first."""
    return sorted(line.state.glob("runs/*/place*/work"), key=lambda one: one.stat().st_mtime)


def until(condition: object, process: subprocess.Popen[bytes]) -> None:
    """Wait until something is so, while a process lives."""
    end = time.monotonic() + DEADLINE_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end and process.poll() is None


def outside(line: CommandLine) -> tuple[str, list[tuple[str, str]], dict[str, bytes]]:
    """Return what a refused process must not touch: refs, journal, what is beside the run."""
    kept = {
        str(one.relative_to(line.state)): one.read_bytes()
        for one in line.state.glob("runs/*/*")
        if one.is_file()
    }
    return git(line.repo, "for-each-ref"), line.events(), kept


def let_go(process: subprocess.Popen[bytes], *trees: Path) -> None:
    """Have the calls of a process go on, whenever they get there, and wait for its end."""
    end = time.monotonic() + DEADLINE_S
    while process.poll() is None and time.monotonic() < end:
        for tree in trees:
            with suppress(OSError):  # it is being put back, or removed
                (tree / "go").touch()
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, errors


def woken(process: subprocess.Popen[bytes], line: CommandLine) -> None:
    """Wake a frozen process up, and check that it is refused and touches nothing."""
    before = outside(line)
    process.send_signal(signal.SIGCONT)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 5, errors
    said = [one for one in errors.decode().splitlines() if one.startswith("orchestrate: ")]
    assert len(said) == 1 and "taken over by another process" in said[0]
    assert b"Traceback" not in errors
    assert outside(line) == before


def test_frozen_while_a_command_runs(orchestrate: CommandLine, waiting: ModelServer) -> None:
    """What its sandbox still writes is not in the delivered tree; awake, it is refused."""
    line = CommandLine(
        orchestrate.repo,
        orchestrate.state,
        orchestrate.environment | {"ANTHROPIC_BASE_URL": waiting.url},
    )
    process = line.start("issue", "1")
    until(lambda: any((one / "waits").exists() for one in places(line)), process)
    (old,) = places(line)
    process.send_signal(signal.SIGSTOP)
    run = run_of(line)
    beats = line.run("runs", "resume", run, "--take-over")
    assert beats.returncode == 5
    assert "another process" in beats.stderr and "last heard of" in beats.stderr
    grow_old(line)
    plain = line.run("runs", "resume", run)
    assert plain.returncode == 5 and "--take-over" in plain.stderr
    other = line.start("runs", "resume", run, "--take-over")
    until(lambda: any((one / "waits").exists() for one in places(line) if one != old), other)
    (new,) = (one for one in places(line) if one != old)
    # The frozen one's command goes on, in its own place, while the new one's still waits.
    (old / "go").touch()
    until((old / "late").exists, other)
    assert not (new / "late").exists()
    let_go(other, new)
    assert git(line.repo, "show", f"{BRANCH}:late") == "x"
    assert len(waiting.played) == 3, "no reply was asked for again"
    woken(process, line)
    assert [kind for kind, _ in line.events()].count("RunTakenOver") == 1
    assert git(line.repo, "show", f"{BRANCH}:late") == "x"


@pytest.mark.heavy
def test_frozen_while_a_reply_is_awaited(orchestrate: CommandLine, server: ModelServer) -> None:
    """Its own beat tells it that the run is another's, though nothing else ever happens to it."""
    server.held.add(4)
    process = orchestrate.start("issue", "1")
    assert server.waiting.wait(DEADLINE_S)
    process.send_signal(signal.SIGSTOP)
    grow_old(orchestrate)
    server.held.clear()
    done = orchestrate.run("runs", "resume", run_of(orchestrate), "--take-over", "--json")
    assert json.loads(done.stdout)["status"] == "done", done.stderr
    assert [len(server.asked(turn)) for turn in range(1, 9)] == [1, 1, 1, 2, 1, 1, 1, 1]
    assert len(set(server.asked(4))) == 1
    woken(process, orchestrate)


def test_killed_after_it_took_a_run_over(orchestrate: CommandLine, waiting: ModelServer) -> None:
    """Who goes on after that works in no place of the frozen one's either."""
    line = CommandLine(
        orchestrate.repo,
        orchestrate.state,
        orchestrate.environment | {"ANTHROPIC_BASE_URL": waiting.url},
    )
    process = line.start("issue", "1")
    until(lambda: any((one / "waits").exists() for one in places(line)), process)
    (old,) = places(line)
    process.send_signal(signal.SIGSTOP)
    grow_old(line)
    other = line.start("runs", "resume", run_of(line), "--take-over")
    until(lambda: "RunTakenOver" in dict(line.events()), other)
    other.kill()
    other.communicate(timeout=DEADLINE_S)
    assert places(line)
    third = line.start("issue", "1")
    until(lambda: any((one / "waits").exists() for one in places(line) if one != old), third)
    (old / "go").touch()
    let_go(third, *(one for one in places(line) if one != old))
    assert git(line.repo, "show", f"{BRANCH}:late") == "x"
    woken(process, line)
