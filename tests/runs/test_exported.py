"""A run is written as lines that others read and that can be played, and its calls are made again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runs.conftest import CommandLine, git
from tests.runs.model_server import ModelServer, serve
from tests.runs.stage import MEND
from tests.runs.test_killed_while_judged import message

KEY = "AKIA" + "Q3EGRZ7XK5VYB2MP"
HOSTILE = "\x1b]0;owned\x07 \u202e gpj"
CLOCK = ("Bash", {"command": "date +%s%N; echo same"})


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """An agent that reads a key, says hostile things and looks at the clock."""
    look = ("Bash", {"command": f"echo {KEY[:4]}'{KEY[4:]}'"})
    script = [
        message(f"I look {HOSTILE}.", look, ("Read", {"file_path": "README.md"})),
        message("I note.", ("Write", {"file_path": "NOTES.md", "content": "a note\n"})),
        message("I look at the clock.", CLOCK, MEND),
        message("Mended."),
    ]
    with serve(script) as running:
        yield running


def done_run(line: CommandLine) -> str:
    """Do the issue, and return its run."""
    said = line.run("issue", "1", "--json")
    outcome: dict[str, Any] = json.loads(said.stdout or "{}")
    assert outcome.get("status") == "done", said.stderr
    return str(outcome["run"])


def test_an_export_is_whole_safe_and_can_be_played(
    orchestrate: CommandLine, server: ModelServer, tmp_path: Path
) -> None:
    """Every event is a line; no key and nothing that a terminal acts on; --model replay: plays it."""
    run = done_run(orchestrate)
    said = orchestrate.run("runs", "export", run[:4])
    assert said.returncode == 0, said.stderr
    rows = [json.loads(one) for one in said.stdout.splitlines()]
    assert [(one["kind"], one["key"]) for one in rows] == orchestrate.events()
    assert [one["seq"] for one in rows] == list(range(1, len(rows) + 1))
    assert {(one["form"], one["run"]) for one in rows} == {(1, run)}
    for hidden in (KEY, "\x1b", "\u202e", "sk-test-canary"):
        assert hidden not in said.stdout
    assert "(hidden)" in said.stdout
    results = next(one for one in rows if one["kind"] == "ToolsReturned")
    assert json.loads(results["data"]["message"])["role"] == "user"
    file = tmp_path / "run.jsonl"
    assert orchestrate.run("runs", "export", run, "--output", str(file)).stdout == ""
    assert file.read_text(encoding="utf-8") == said.stdout
    asked = len(server.played)
    again = orchestrate.run("issue", "1", "--new", "--json", "--model", f"replay:{file}")
    assert json.loads(again.stdout)["status"] == "done", again.stderr
    assert len(server.played) == asked


def test_recorded_calls_are_made_again(orchestrate: CommandLine, server: ModelServer) -> None:
    """What depends on the clock is told, what does not is the same; nothing is left or touched."""
    run = done_run(orchestrate)
    refs, events = git(orchestrate.repo, "for-each-ref"), orchestrate.events()
    names = sorted(one.name for one in orchestrate.state.iterdir())
    said = orchestrate.run("runs", "replay", run, "--json")
    assert said.returncode == 1, said.stderr
    told = json.loads(said.stdout)
    assert (told["turns"], told["calls"], told["stopped"]) == (3, 5, "")
    (differs,) = told["differences"]
    assert (differs["turn"], differs["tool"]) == (3, "Bash")
    assert [one[0] for one in differs["lines"]] == ["-", "+"]
    assert (git(orchestrate.repo, "for-each-ref"), orchestrate.events()) == (refs, events)
    assert sorted(one.name for one in orchestrate.state.iterdir()) == names
    shown = orchestrate.run("runs", "replay", run)
    assert shown.returncode == 1 and "3 turns, 5 calls: 1 result differs" in shown.stdout


def test_a_run_without_chance_is_the_same_again(
    orchestrate: CommandLine, server: ModelServer
) -> None:
    """Where no result depends on the moment, a replay ends with 0; it asks no model."""
    server.messages = [server.messages[1], message("I mend it.", MEND), message("Mended.")]
    run = done_run(orchestrate)
    asked = len(server.played)
    said = orchestrate.run("runs", "replay", run)
    assert (said.returncode, said.stdout) == (0, "2 turns, 2 calls: all results are the same\n")
    assert len(server.played) == asked
    shutil.rmtree(orchestrate.state / "runs" / run)
    assert orchestrate.run("runs", "replay", run).returncode == 0
