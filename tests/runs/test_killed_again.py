"""A real process is killed again and again over whole runs, and nothing of it shows in the end."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.runs.conftest import BRANCH, CommandLine, git
from tests.runs.model_server import ModelServer, Played, serve
from tests.runs.stage import MEND, NOTE
from tests.runs.test_killed import fresh
from tests.runs.test_killed_while_judged import message

DEADLINE_S = 90
MOST_LIVES = 200
MARK = b',"cache_control":{"type":"ephemeral"}'


def bash(command: str) -> tuple[str, dict[str, Any]]:
    """Build a call."""
    return "Bash", {"command": command}


def edit(old: str, new: str) -> tuple[str, dict[str, Any]]:
    """Build an edit of the note."""
    return "Edit", {"file_path": "NOTES.md", "old_string": old, "new_string": new}


APPEND = "echo {0} >>log; echo {0} >>ignored.tmp; tail -n 2 log"
SCRIPT = [
    message("One.", bash(APPEND.format(1))),
    message("Two.", NOTE, ("Read", {"file_path": "NOTES.md"})),
    message("Three.", edit("a note", "a second note"), bash(APPEND.format(3))),
    message("Four.", bash("git add -A && git commit -qm four && git log --format=%s | head -n 1")),
    message("Five.", edit("a second note", "a third note"), ("Grep", {"pattern": "note"})),
    message(
        "Six.", bash("git init -q inner && echo 6 >inner/file; git stash list; " + APPEND[:15])
    ),
    message("Seven.", bash(APPEND.format(7)), edit("a third note", "a fourth note"), MEND),
    message("Eight.", ("Read", {"file_path": "NOTES.md"}), ("Glob", {"pattern": "*.md"})),
    message("Nine.", bash("git stash -q && git stash pop -q && git status --short | head -n 3")),
    message("Done."),
]
"""Each call does something that would show if it were done twice, or not at all."""


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """An agent that appends, edits, commits and stashes."""
    with serve(SCRIPT) as running:
        yield running


@dataclass
class Lives:
    """The lives of one run: how often it was killed, and what each life found in the journal."""

    kills: int = 0
    asked_again: int = 0
    replied: set[str] = field(default_factory=set)


def end_of(line: CommandLine, process: subprocess.Popen[bytes], dice: random.Random) -> int | None:
    """Kill a process after some appends or some time, unless it ends before; return its status."""
    before = len(line.events())
    appends = dice.choice((1, 2, 2, 3, 3, 4, 5, 8))
    later = dice.choice((0.0, 0.0, 0.001, 0.003, 0.01, 0.05, 0.3))
    end = time.monotonic() + DEADLINE_S
    while process.poll() is None and len(line.events()) < before + appends:
        assert time.monotonic() < end
    if process.poll() is None and later:
        try:
            process.wait(timeout=dice.uniform(0.0, later))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
    elif process.poll() is None:
        process.send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode in {0, -signal.SIGKILL}, errors
    return process.returncode


def live(line: CommandLine, server: ModelServer, dice: random.Random) -> Lives:
    """Run the issue to its end through many kills; check each life against the one before it."""
    lives = Lives()
    for _ in range(MOST_LIVES):
        asked = len(server.played)
        status = end_of(line, line.start("issue", "1"), dice)
        again = [one.key for one in server.played[asked:]]
        assert not lives.replied & set(again), "a reply that was journaled is asked for again"
        events = line.events()
        lives.replied = {key for kind, key in events if kind == "ModelReplied"}
        keys = [key for _, key in events]
        assert len(keys) == len(set(keys))
        if status == 0:
            return lives
        lives.kills += 1
    raise AssertionError("the run never came to its end")


def differs(key: str, one: bytes, other: bytes) -> str:
    """Say where two requests part."""
    one, other = (text.replace(MARK, b"") for text in (one, other))
    at = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
    shown = [text[max(at - 80, 0) : at + 300] for text in (one, other)]
    return f"{key} was asked for in other bytes: {shown[0]!r} for {shown[1]!r}"


def read_share(played: list[Played]) -> float:
    """Return the share of all bytes sent that a cache of marked beginnings would have had."""
    kept: set[bytes] = set()
    read = sent = 0
    for one in played:
        body = re.sub(rb'"max_tokens":\d+', b"", one.body)
        marks = [match.end() for match in re.finditer(re.escape(MARK), body)]
        plain = [body[:at].replace(MARK, b"") for at in marks]
        read += max((len(text) for text in plain if text in kept), default=0)
        sent += len(body.replace(MARK, b""))
        kept.update(plain)
    return read / sent


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.heavy) for seed in range(2, 10))]
)
def test_killed_again_and_again(
    orchestrate: CommandLine, server: ModelServer, tmp_path: Path, proved: Path, seed: int
) -> None:
    """Requests, tree, commits and cache are those of a run that nobody disturbed."""
    quiet = fresh(orchestrate, tmp_path, 0, proved)
    done = quiet.run("issue", "1", "--json")
    assert json.loads(done.stdout)["status"] == "done", done.stderr
    asked = {one.key: one.body for one in server.played}
    assert len(asked) == len(server.played) == len(SCRIPT)
    share = read_share(server.played)
    server.played.clear()
    line = fresh(orchestrate, tmp_path, 1, proved)
    lives = live(line, server, random.Random(seed))
    assert lives.kills >= 5
    for one in server.played:
        assert one.body == asked[one.key], differs(one.key, one.body, asked[one.key])
    assert len(server.played) <= len(SCRIPT) + lives.kills
    assert read_share(server.played) >= share
    kinds = [kind for kind, _ in line.events()]
    for kind in ("RunStarted", "Collected", "BranchIntended", "BranchSet", "RunFinished"):
        assert kinds.count(kind) == 1, kind
    tree = f"{BRANCH}^{{tree}}"
    assert git(line.repo, "rev-parse", tree) == git(quiet.repo, "rev-parse", tree)
    told = [git(one.repo, "log", "--format=%an %s", f"main..{BRANCH}") for one in (quiet, line)]
    assert told[0] == told[1]
    assert not git(line.repo, "for-each-ref", "refs/orchestrate/")
