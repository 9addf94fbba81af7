"""A fork goes on where its parent stood after a turn: same bytes, same files, its own branch."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.runs.conftest import BRANCH, CommandLine, git
from tests.runs.model_server import ModelServer, serve
from tests.runs.test_killed_again import SCRIPT, differs

TURNS = len(SCRIPT)

KILLED = """
import os, signal, sys
from orchestrator.cli import main
from orchestrator.journals.sqlite import SqliteJournal

begin = SqliteJournal.begin


async def killed(*given):
    await begin(*given)
    os.kill(os.getpid(), signal.SIGKILL)


SqliteJournal.begin = killed
main(sys.argv[1:])
"""
"""The command line, in a process that is killed when it has begun a run."""


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """An agent that appends, edits, commits and stashes."""
    with serve(SCRIPT) as running:
        yield running


def parent_of(line: CommandLine) -> str:
    """Do a run to its end, and return its id."""
    done = line.run("issue", "1", "--json")
    outcome = json.loads(done.stdout)
    assert outcome["status"] == "done", done.stderr
    return str(outcome["run"])


@pytest.mark.parametrize(
    "at", [6, *(pytest.param(at, marks=pytest.mark.heavy) for at in (0, 1, 2, 5, 7, 9, 10))]
)
def test_a_fork_goes_on_where_its_parent_stood(
    orchestrate: CommandLine, server: ModelServer, at: int
) -> None:
    """No copied turn is asked or paid for again; what comes is the same work, beside the parent's."""
    parent = parent_of(orchestrate)
    asked = {one.turn: one.body for one in server.played}
    before = set(orchestrate.events())
    head = git(orchestrate.repo, "rev-parse", BRANCH)
    if at == 0:
        refused = orchestrate.run("runs", "fork", parent, "--at", "0")
        assert refused.returncode == 2 and "turns that can be: 1-10" in refused.stderr
        return
    server.played.clear()
    done = orchestrate.run("runs", "fork", parent[:6], "--at", str(at), "--json")
    outcome = json.loads(done.stdout or "{}")
    assert outcome.get("status") == "done", done.stderr
    assert [one.turn for one in server.played] == list(range(at + 1, TURNS + 1))
    for one in server.played:
        assert one.body == asked[one.turn], differs(one.key, one.body, asked[one.turn])
    branch = outcome["branch"]
    assert branch.startswith(f"{BRANCH}-fork-")
    assert git(orchestrate.repo, "rev-parse", BRANCH) == head
    trees = [git(orchestrate.repo, "rev-parse", f"{one}^{{tree}}") for one in (BRANCH, branch)]
    assert trees[0] == trees[1]
    shown = json.loads(orchestrate.run("runs", "show", parent, "--json").stdout)
    assert outcome["turns"] == TURNS
    if at > 1:
        assert outcome["cost_usd"] < shown["cost_usd"]
    assert shown["forks"] == [outcome["run"]]
    fork = orchestrate.run("runs", "show", outcome["run"])
    assert f"{parent} at turn {at}" in fork.stdout
    assert before <= set(orchestrate.events())


def test_a_fork_that_is_killed_goes_on(orchestrate: CommandLine, server: ModelServer) -> None:
    """It is parked and taken up as any run is, by its own id; the issue's own run is another."""
    parent = parent_of(orchestrate)
    server.played.clear()
    server.held.add(8)
    process = orchestrate.start("runs", "fork", parent, "--at", "6")
    assert server.waiting.wait(60)
    process.kill()
    process.communicate(timeout=30)
    server.held.clear()
    rows = json.loads(orchestrate.run("runs", "list", "--json").stdout)
    (fork,) = (one["run"] for one in rows if one["state"] == "running")
    again = orchestrate.run("issue", "1")
    assert "done before" in again.stdout
    done = orchestrate.run("runs", "resume", fork, "--json")
    assert json.loads(done.stdout)["status"] == "done", done.stderr
    assert [one.turn for one in server.played] == [7, 8, 8, 9, 10]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_fork_that_is_interrupted_is_told_of(
    orchestrate: CommandLine, server: ModelServer, how: signal.Signals
) -> None:
    """Its own id and how it goes on, never what became of its parent."""
    parent = parent_of(orchestrate)
    server.held.add(8)
    process = subprocess.Popen(
        orchestrate.argv("runs", "fork", parent, "--at", "6", "--json"),
        cwd=orchestrate.repo,
        env=orchestrate.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.waiting.wait(60)
    process.send_signal(how)
    out, errors = process.communicate(timeout=60)
    outcome = json.loads(out or "{}")
    assert (process.returncode, outcome.get("status")) == (130, "cancelled"), errors
    assert outcome["run"] != parent
    again = f"orchestrate runs resume {outcome['run']} --state {orchestrate.state}"
    assert outcome["hint"] == f"go on with: {again}"


def test_a_fork_that_is_killed_as_it_begins_keeps_what_was_wished_for(
    orchestrate: CommandLine, server: ModelServer
) -> None:
    """Its model and its limits are recorded with the turns that it begins with."""
    parent = parent_of(orchestrate)
    server.played.clear()
    argv = orchestrate.argv("runs", "fork", parent, "--at", "6", "--model", "haiku")
    process = subprocess.run(
        [sys.executable, "-c", KILLED, *argv[1:]],
        cwd=orchestrate.repo,
        env=orchestrate.environment,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
    assert not server.played
    rows = json.loads(orchestrate.run("runs", "list", "--json").stdout)
    (fork,) = (one["run"] for one in rows if one["state"] == "running")
    done = orchestrate.run("runs", "resume", fork, "--json")
    assert json.loads(done.stdout)["status"] == "done", done.stderr
    asked = [(one.turn, json.loads(one.body)["model"]) for one in server.played]
    assert [turn for turn, _ in asked] == [7, 8, 9, 10]
    assert all("haiku" in model for _, model in asked), asked


def test_where_a_run_cannot_be_forked(orchestrate: CommandLine, server: ModelServer) -> None:
    """A turn that there was not is refused with those that there were; nothing is begun."""
    parent = parent_of(orchestrate)
    rows = orchestrate.run("runs", "list", "--json").stdout
    for at in ("0", "11"):
        refused = orchestrate.run("runs", "fork", parent, "--at", at)
        assert refused.returncode == 2
        assert "turns that can be: 1-10" in refused.stderr
    refused = orchestrate.run("runs", "fork", "nothing", "--at", "1")
    assert refused.returncode == 2
    assert orchestrate.run("runs", "list", "--json").stdout == rows
    assert len(server.played) == TURNS
