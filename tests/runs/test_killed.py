"""A real process is killed at every point of a run, and goes on as if nothing had happened."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runs.conftest import BRANCH, CommandLine, git
from tests.runs.model_server import ModelServer

MOST_EVENTS = 45
DEADLINE_S = 60


def kill_after(orchestrate: CommandLine, count: int) -> int | None:
    """Run the issue, and kill the process once so many events are journaled."""
    process = orchestrate.start("issue", "1")
    deadline = time.monotonic() + DEADLINE_S
    while process.poll() is None and time.monotonic() < deadline:
        if len(orchestrate.events()) >= count:
            process.send_signal(signal.SIGKILL)
            break
    _, errors = process.communicate(timeout=30)
    assert time.monotonic() < deadline, errors
    return process.returncode


def assert_went_on(
    orchestrate: CommandLine, server: ModelServer, before: list[tuple[str, str]]
) -> None:
    """Resume and check what must hold, whatever the moment of the kill was."""
    replied = {key for kind, key in before if kind == "ModelReplied"}
    asked_before = len(server.played)
    done = orchestrate.run("issue", "1", "--json")
    outcome = json.loads(done.stdout or "{}")
    assert (outcome.get("status"), outcome.get("error")) == ("done", ""), done.stderr
    assert done.returncode == 0
    again = {f"author/turn/{one.turn}/reply" for one in server.played[asked_before:]}
    assert not replied & again, (sorted(replied & again), before, orchestrate.events())
    for turn in range(1, len(server.messages) + 1):
        bodies = server.asked(turn)
        assert 1 <= len(bodies) <= 2
        assert len(set(bodies)) == 1, f"turn {turn} was asked for in other bytes"
    assert len(server.played) <= len(server.messages) + 1
    assert [kind for kind, _ in orchestrate.events()].count("BranchSet") == 1


def fresh(orchestrate: CommandLine, tmp_path: Path, number: int, proved: Path) -> CommandLine:
    """Return a command line over an untouched copy of the project and an empty journal."""
    repo = tmp_path / f"copy-{number}"
    git(orchestrate.repo, "clone", "--quiet", "--no-hardlinks", ".", str(repo))
    state = tmp_path / f"state-{number}"
    state.mkdir()
    subprocess.run(["cp", "-R", str(proved / "sandbox"), str(state)], check=True)
    return CommandLine(repo, state, orchestrate.environment)


@pytest.mark.parametrize(
    "step",
    [pytest.param(8, id="sample"), pytest.param(1, id="every", marks=pytest.mark.heavy)],
)
def test_killed_at_every_journaled_event(
    orchestrate: CommandLine, server: ModelServer, tmp_path: Path, proved: Path, step: int
) -> None:
    """After kill -9 at any event, resume pays for no reply twice and ends in the same tree."""
    trees = set()
    for count in range(1, MOST_EVENTS, step):
        line = fresh(orchestrate, tmp_path, count, proved)
        server.played.clear()
        status = kill_after(line, count)
        before = line.events()
        if status == 0:
            assert count > 20, "the run ended before it could be killed"
            break
        assert status == -signal.SIGKILL
        assert_went_on(line, server, before)
        trees.add(git(line.repo, "rev-parse", f"{BRANCH}^{{tree}}"))
    assert len(trees) == 1


@pytest.mark.heavy
def test_killed_at_random_moments(
    orchestrate: CommandLine, server: ModelServer, tmp_path: Path, proved: Path
) -> None:
    """After kill -9 at any moment, tools half way included, the tree is that of a quiet run."""
    quiet = fresh(orchestrate, tmp_path, 0, proved)
    assert quiet.run("issue", "1").returncode == 0
    expected = git(quiet.repo, "rev-parse", f"{BRANCH}^{{tree}}")
    dice = random.Random(7)
    for number in range(1, 13):
        line = fresh(orchestrate, tmp_path, number, proved)
        server.played.clear()
        process = line.start("issue", "1")
        begun = time.monotonic()
        while not line.events() and time.monotonic() - begun < DEADLINE_S:
            pass
        try:
            process.wait(timeout=dice.uniform(0.0, 1.0))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate(timeout=30)
        if process.returncode != 0:
            assert_went_on(line, server, line.events())
        assert git(line.repo, "rev-parse", f"{BRANCH}^{{tree}}") == expected


def test_killed_while_a_reply_is_awaited(
    orchestrate: CommandLine, server: ModelServer, tree_of: Callable[[str], str]
) -> None:
    """The request in flight is the only one that is made again, in the same bytes."""
    server.held.add(4)
    process = orchestrate.start("issue", "1")
    assert server.waiting.wait(DEADLINE_S)
    process.kill()
    process.communicate(timeout=30)
    server.held.clear()
    done = orchestrate.run("issue", "1")
    assert done.returncode == 0, done.stderr
    assert [len(server.asked(turn)) for turn in range(1, 9)] == [1, 1, 1, 2, 1, 1, 1, 1]
    assert len(set(server.asked(4))) == 1
    assert tree_of(BRANCH) != tree_of("main")


def test_nothing_survives_the_kill(orchestrate: CommandLine, server: ModelServer) -> None:
    """When the host process is killed, its sandbox and everything inside end too."""
    server.held.add(4)
    process = orchestrate.start("issue", "1")
    assert server.waiting.wait(DEADLINE_S)
    inside = below(process.pid)
    assert any("bwrap" in name for _, name in inside), "a sandbox is running"
    process.kill()
    process.communicate(timeout=30)
    deadline = time.monotonic() + DEADLINE_S
    while any(name_of(pid) == name for pid, name in inside):
        assert time.monotonic() < deadline, "the sandbox outlives its host"


def below(pid: int) -> list[tuple[int, str]]:
    """Return all processes below one, with their names."""
    found: list[tuple[int, str]] = []
    waiting = [pid]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").iterdir():
            children = [int(one) for one in (task / "children").read_text().split()]
            found += [(child, name_of(child)) for child in children]
            waiting += children
    return found


def name_of(pid: int) -> str:
    """Return a process's name and start time; empty when it is gone."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    fields = words.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else f"{words.partition('(')[2].rpartition(')')[0]} {fields[19]}"


def test_a_second_process_is_refused(orchestrate: CommandLine, server: ModelServer) -> None:
    """While a process works on an issue, another one is told so and changes nothing."""
    server.held.add(2)
    process = orchestrate.start("issue", "1")
    assert server.waiting.wait(DEADLINE_S)
    before = orchestrate.events()
    second = orchestrate.run("issue", "1")
    assert second.returncode == 5
    assert "another process" in second.stderr
    assert orchestrate.events() == before
    process.kill()
    process.communicate(timeout=30)


def test_interrupted_by_ctrl_c(orchestrate: CommandLine, server: ModelServer) -> None:
    """Ctrl-C parks the run in order, ends with 130, and the same command goes on."""
    server.held.add(3)
    process = orchestrate.start("issue", "1")
    assert server.waiting.wait(DEADLINE_S)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert orchestrate.events()[-1][0] == "RunParked"
    server.held.clear()
    assert orchestrate.run("issue", "1").returncode == 0


@pytest.mark.parametrize("command", [("runs", "resume"), ("issue",)])
def test_both_ways_to_go_on(
    orchestrate: CommandLine, server: ModelServer, command: tuple[str, ...]
) -> None:
    """`runs resume RUN` and `issue KEY` go on with the same run."""
    server.held.add(3)
    process = orchestrate.start("issue", "1")
    assert server.waiting.wait(DEADLINE_S)
    process.kill()
    process.communicate(timeout=30)
    server.held.clear()
    listed = json.loads(orchestrate.run("runs", "list", "--json").stdout)
    target = listed[0]["run"] if command[0] == "runs" else "1"
    done = orchestrate.run(*command, target, "--json")
    assert json.loads(done.stdout)["run"] == listed[0]["run"]
