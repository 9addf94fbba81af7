"""Giving runs up and clearing up: what was worked is never lost, what is unfinished never touched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.runs.conftest import BRANCH, CommandLine, git
from tests.runs.model_server import ModelServer

RESCUE = "refs/orchestrate/rescue"


def stopped(line: CommandLine, server: ModelServer, turn: int = 7) -> str:
    """Kill a run while it waits for a reply, and return its id."""
    server.held.add(turn)
    server.waiting.clear()
    process = line.start("issue", "1")
    assert server.waiting.wait(60)
    process.kill()
    process.communicate(timeout=30)
    server.held.clear()
    return str(json.loads(line.run("runs", "list", "--json").stdout)[0]["run"])


def cleared(line: CommandLine, *more: str) -> dict[str, Any]:
    """Clear up, and return what was told."""
    done = line.run("runs", "gc", "--older-than", "0", "--json", *more)
    told: dict[str, Any] = json.loads(done.stdout or "{}")
    assert done.returncode == int(any(one["kept"] for one in told["cleared"])), done.stderr
    return told


def parts(line: CommandLine) -> list[Path]:
    """Return what runs work with."""
    return [*line.state.glob("runs/*/place*"), *line.state.glob("runs/*/gates*")]


def test_work_of_an_abandoned_run_is_kept(
    orchestrate: CommandLine, server: ModelServer, tree_of: Callable[[str], str]
) -> None:
    """What was not committed yet is in the rescue ref; the issue can be begun anew."""
    run = stopped(orchestrate, server)
    done = orchestrate.run("runs", "abandon", run, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["rescue"] == f"{RESCUE}/{run}"
    assert git(orchestrate.repo, "rev-parse", told["rescue"]) == told["commit"]
    assert tree_of(told["rescue"]) != tree_of("main")
    assert not parts(orchestrate)
    left = git(orchestrate.repo, "for-each-ref", "--format=%(refname)", "refs/orchestrate/")
    assert left == told["rescue"]
    again = orchestrate.run("runs", "abandon", run)
    assert again.returncode == 2 and "has ended: abandoned" in again.stderr
    assert orchestrate.events()[-1][0] == "RunAbandoned"
    assert cleared(orchestrate)["cleared"] == []
    assert git(orchestrate.repo, "rev-parse", told["rescue"]) == told["commit"]
    assert orchestrate.run("issue", "1").returncode == 0


def test_a_run_that_is_worked_on_is_not_abandoned(
    orchestrate: CommandLine, server: ModelServer
) -> None:
    """Its process is named, and goes on."""
    server.held.add(3)
    process = orchestrate.start("issue", "1")
    assert server.waiting.wait(60)
    (row,) = json.loads(orchestrate.run("runs", "list", "--json").stdout)
    before = orchestrate.events()
    refused = orchestrate.run("runs", "abandon", row["run"])
    assert refused.returncode == 5 and f"process {process.pid} on" in refused.stderr
    assert orchestrate.events() == before
    process.kill()
    process.communicate(timeout=30)


def test_ended_runs_are_cleared_up(orchestrate: CommandLine, server: ModelServer) -> None:
    """What a done run left goes, as said before; its branch, journal and report stay."""
    assert orchestrate.run("issue", "1").returncode == 0
    (place,) = parts(orchestrate)
    assert [one.name for one in place.iterdir() if one.is_dir()] == ["git"]
    young = orchestrate.run("runs", "gc", "--json")
    assert json.loads(young.stdout)["cleared"] == []
    told = cleared(orchestrate, "--dry-run")
    assert told["dry_run"] and told["freed"] > 0 and parts(orchestrate)
    really = cleared(orchestrate)
    assert really["freed"] == told["freed"]
    assert not parts(orchestrate)
    head = git(orchestrate.repo, "rev-parse", BRANCH)
    assert not git(orchestrate.repo, "for-each-ref", "refs/orchestrate/")
    assert git(orchestrate.repo, "rev-parse", BRANCH) == head
    shown = orchestrate.run(
        "runs", "show", json.loads(young.stdout) and really["cleared"][0]["what"]
    )
    assert "done" in shown.stdout and "report" in shown.stdout
    assert cleared(orchestrate)["cleared"] == []
    run = really["cleared"][0]["what"]
    fork = orchestrate.run("runs", "fork", run, "--at", "5")
    assert fork.returncode == 2 and "no longer kept" in fork.stderr


def test_unfinished_runs_are_left_alone(orchestrate: CommandLine, server: ModelServer) -> None:
    """A parked or cut off run has everything that it needs to go on."""
    stopped(orchestrate, server)
    before = parts(orchestrate), git(orchestrate.repo, "for-each-ref")
    assert cleared(orchestrate)["cleared"] == []
    assert (parts(orchestrate), git(orchestrate.repo, "for-each-ref")) == before
    assert orchestrate.run("issue", "1").returncode == 0


@pytest.mark.parametrize("repository", ["there", "gone"])
def test_dirty_work_is_never_removed(
    orchestrate: CommandLine,
    server: ModelServer,
    tree_of: Callable[[str], str],
    repository: str,
) -> None:
    """Work of a run that was given up by --new is kept by a ref; where that is impossible it stays."""
    run = stopped(orchestrate, server)
    assert orchestrate.run("issue", "1", "--new").returncode == 0
    work = next(orchestrate.state.glob(f"runs/{run}/place*/work"))
    if repository == "gone":
        shutil.rmtree(orchestrate.repo / ".git")
        told = orchestrate.run("runs", "gc", "--older-than", "0", "--json")
        rows = {one["what"]: one for one in json.loads(told.stdout)["cleared"]}
        assert told.returncode == 1
        assert "repository is gone" in rows[run]["kept"] and work.is_dir()
        return
    dry = {one["what"]: one for one in cleared(orchestrate, "--dry-run")["cleared"]}
    assert dry[run]["rescue"] == "its work would be kept first" and work.is_dir()
    rows = {one["what"]: one for one in cleared(orchestrate)["cleared"]}
    assert rows[run]["rescue"] == f"{RESCUE}/{run}"
    assert not work.exists()
    assert tree_of(rows[run]["rescue"]) != tree_of("main")
