"""The gate on size, on real commits."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.gates.size import SizeGate
from orchestrator.judgesettings import GateWaiver, SizeSettings
from tests.orchestrator.diffs import Files, judged, places

GATE = SizeGate(SizeSettings(lines=10, files=3, binary_kb=1, not_counted=("recorded/**",)))
BASE: Files = {"a.py": "1\n" * 8}


@pytest.mark.parametrize(
    "files",
    [
        {"b.py": "x\n" * 10},
        {"b.py": "x\n", "c.py": "x\n", "d.py": "x\n"},
        {"uv.lock": "x\n" * 500, "web/package-lock.json": "x\n" * 500},
        {"vendor/a/b.go": "x\n" * 500},
        {"recorded/a": "x\n" * 500},
        {"logo.png": b"\0" * 1000},
    ],
)
def test_what_can_be_read_passes(tmp_path: Path, files: Files) -> None:
    """Up to the bounds a change passes; lock files and generated ones are not counted."""
    verdict = judged(tmp_path, GATE, BASE, files)
    assert verdict.state == "passed", verdict.details


@pytest.mark.parametrize(
    ("files", "said", "person"),
    [
        ({"b.py": "x\n" * 11}, "11 changed lines are more than 10", True),
        ({"a.py": None, "b.py": "2\n2\n2\n"}, "11 changed lines", True),
        (dict.fromkeys("bcde", "x\n"), "4 changed files are more than 3", True),
        ({"x.pyc": b"\0" * 2000}, "no text, and 1 KiB", False),
        ({"x.pyc": b"\0" * 5_000_000}, "too large to be weighed", False),
        ({"x.txt": b"a\n" * 6_000_000}, "too many to be counted", True),
        ({"b.lock.py": "@generated\n" * 11}, "11 changed lines", True),
    ],
)
def test_what_is_too_large_fails(tmp_path: Path, files: Files, said: str, person: bool) -> None:
    """Too much to read needs a person; a large binary is the agent's to take out."""
    verdict = judged(tmp_path, GATE, BASE, files)
    assert (verdict.state, verdict.person) == ("failed", person), verdict.details
    assert said in verdict.details


def test_no_bounds(tmp_path: Path) -> None:
    """A bound of 0 is none."""
    gate = SizeGate(SizeSettings(lines=0, files=0, binary_kb=0))
    files: Files = {"b.py": "x\n" * 5000, "c.bin": b"\0" * 3_000_000}
    assert judged(tmp_path, gate, BASE, files).state == "passed"


def test_a_person_may_agree(tmp_path: Path) -> None:
    """A waiver without paths takes the gate out for the issue."""
    gate = SizeGate(SizeSettings(lines=1), waivers=[GateWaiver("size", "a move", issue="7")])
    verdict = judged(tmp_path, gate, BASE, {"b.py": "x\n" * 11})
    assert (verdict.state, verdict.reason) == ("not_executed", "waived by the settings: a move")
    assert places(verdict) == []
