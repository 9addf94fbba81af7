"""The cache's guarantee: requests are the same bytes for everybody, everywhere, at any time."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runs.conftest import ORCHESTRATE, CommandLine
from tests.runs.model_server import ModelServer, serve
from tests.runs.stage import MEND, NOTE
from tests.runs.test_killed_while_judged import message

LOOKS = "pwd; id -un; ls -l; ls -la .git | tail -n +4 | cut -c1-11; env | grep -v ORCHESTRATE_CALL | LC_ALL=C sort; git log --oneline"
SCRIPT = [
    message("One.", ("Bash", {"command": LOOKS}), ("Glob", {"pattern": "**/*"})),
    message("Two.", ("Grep", {"pattern": "amount"}), ("Read", {"file_path": "README.md"})),
    message("Three.", NOTE, MEND),
    message("Four.", ("Bash", {"command": "git add -A; git status --short; git diff --cached"})),
    message("Done."),
]
"""Looks at all by which places may differ."""


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """An agent that looks around."""
    with serve(SCRIPT) as running:
        yield running


SURROUNDINGS: tuple[dict[str, str], ...] = (
    {"PYTHONHASHSEED": "0", "TZ": "UTC", "LANG": "C", "USER": "ada", "LOGNAME": "ada"},
    {"PYTHONHASHSEED": "4711", "TZ": "Pacific/Auckland", "LANG": "C.UTF-8", "USER": "bo"},
    {"PYTHONHASHSEED": "99", "COLUMNS": "40", "EDITOR": "vi", "LC_ALL": "C.UTF-8", "CI": "1"},
)
"""What may differ between users and machines."""


def elsewhere(line: CommandLine, place: Path, proved: Path) -> tuple[Path, Path, Path]:
    """Lay out repository, state directory and home in another place; return all three."""
    repo = place / "a rather long name of a folder" / "project"
    state, home = place / "state", place / "home"
    shutil.copytree(line.repo, repo)
    shutil.copytree(proved / "sandbox", state / "sandbox")
    home.mkdir()
    return repo, state, home


def test_requests_are_the_same_everywhere(
    orchestrate: CommandLine, server: ModelServer, tmp_path: Path, proved: Path
) -> None:
    """Three runs at once, by other users in other places, ask in the very same bytes."""
    running = []
    for number, more in enumerate(SURROUNDINGS):
        repo, state, home = elsewhere(orchestrate, tmp_path / f"machine-{number}", proved)
        environment = {**orchestrate.environment, **more, "HOME": str(home)}
        process = subprocess.Popen(
            [str(ORCHESTRATE), "issue", "1", "--state", str(state), "--json"],
            cwd=repo,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        running.append(process)
    for process in running:
        out, errors = process.communicate(timeout=120)
        outcome = json.loads(out)
        assert outcome["status"] == "done", (outcome["error"], errors)
        usage = outcome["usage"]
        went_in = usage["input_tokens"] + usage["cache_read_tokens"]
        assert outcome["cache_read_share"] == round(usage["cache_read_tokens"] / went_in, 4)
        assert not [one for one in outcome["notes"] if one.startswith("cache:")]
    turns = {one.turn for one in server.played}
    assert turns == set(range(1, len(SCRIPT) + 1))
    for turn in turns:
        bodies = server.asked(turn)
        assert len(bodies) == len(SURROUNDINGS)
        for body in bodies[1:]:
            pairs = enumerate(zip(bodies[0], body, strict=False))
            at = next((n for n, (one, other) in pairs if one != other), 0)
            told = f"turn {turn} differs: {bodies[0][at - 80 : at + 80]!r} {body[at : at + 80]!r}"
            assert body == bodies[0], told
    for one in server.played:
        assert str(tmp_path).encode() not in one.body
