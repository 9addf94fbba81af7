"""All gates that read the change, on changes made to trip them up."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.assembly.changegates import gates_of_changes
from orchestrator.judgesettings import GateSettings, SizeSettings
from orchestrator.ports import Gate
from tests.orchestrator.diffs import Files, Work

BASE: Files = {
    "README.md": "x\n",
    "a.py": "def f():\n    return 1\n",
    "tests/test_a.py": "def test_a():\n    assert f()\n",
    "migrations/env.py": "",
    "migrations/script.py.mako": "",
    "migrations/versions/1.py": "revision = '1'\ndown_revision = None\n",
}
NAMES = [
    ":(exclude)a.py",
    ":/a.py",
    "*.py",
    "-p.py",
    "[a].py",
    "a\nb.py",
    '"q".py',
    "\udcff.py",
    "d/ /\t.py",
    "tests/test_\u202e.py",
    "migrations/versions/:(top).py",
    "{a,b}/**/c.py",
]


def all_gates() -> GateSettings:
    """Return settings that ask for every gate."""
    return GateSettings(size=SizeSettings(lines=2, files=2))


def asked(settings: GateSettings) -> list[Gate]:
    return [gate for gate, _ in gates_of_changes(settings)]


@pytest.mark.parametrize(
    "content", [b"x = 1\n# TODO\n", b"", b"\0\xff\xfe", b"(" * 5000], ids=range(4)
)
def test_hostile_names_and_contents(tmp_path: Path, content: bytes) -> None:
    """Whatever files are called and hold: every gate says something that can be kept and printed."""
    work = Work(tmp_path / "repo", BASE)
    work.commit(dict.fromkeys(NAMES, content))
    work.commit(dict.fromkeys(NAMES[:4], content + b"\n1\n"))
    for gate in asked(all_gates()):
        verdict = work.judged(gate)
        assert verdict.gate == gate.name
        text = f"{verdict.reason}\n{verdict.details}".replace("\n", "")
        assert text.isprintable(), gate.name
        assert text.encode()
        if gate.name == "unfinished" and b"TODO" in content:
            assert len(verdict.details.splitlines()) == len(NAMES)
        if gate.name == "size":
            assert (verdict.state, verdict.person) == ("failed", True)


def test_a_change_of_nothing_passes(tmp_path: Path) -> None:
    """A commit that changes no file is passed by all, or there was nothing to judge."""
    work = Work(tmp_path / "repo", BASE)
    work.commit({})
    states = {gate.name: work.judged(gate).state for gate in asked(GateSettings())}
    assert states.pop("docs") == "not_executed"
    assert set(states.values()) == {"passed"}


def test_all_files_removed(tmp_path: Path) -> None:
    """A commit that removes everything is judged, and not passed."""
    work = Work(tmp_path / "repo", BASE)
    work.commit(dict.fromkeys(BASE))
    failed = {gate.name for gate in asked(GateSettings()) if work.judged(gate).state == "failed"}
    assert failed == {"tests-kept", "migrations"}


def test_gates_can_be_turned_off() -> None:
    """Every gate but the one on size is asked for by its own setting; its bounds can be 0."""
    off = GateSettings(
        unfinished=False,
        secrets=False,
        tests_kept=False,
        protected=False,
        migrations=False,
        docs=False,
    )
    assert [gate.name for gate in asked(off)] == ["size"]
