"""Every program of the page on the library runs as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs.conftest import BRANCH, PROJECT, CommandLine, git

PAGE = (PROJECT / "docs" / "library.md").read_text(encoding="utf-8")
BLOCKS = dict(
    re.findall(r"^## ([^\n]*)\n(?:(?!^## ).)*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
)
SAID = {
    "One issue": (f"done {BRANCH} 8 turns, $0.0", "  tests: passed, "),
    "What happens meanwhile": ("turn 8: $0.", "  Bash Run the tests", "gate tests: passed", "done"),
    "Stopped, and gone on with": ("cancelled\n", f"done {BRANCH}"),
    "Many at once": ("1 done",),
    "Parts of your own": ("done feature/7-the-boundary 2 requests", "True"),
    "The tools alone": ("False README.md",),
}
"""What each program prints, by the heading above it."""


def test_no_program_is_left_out() -> None:
    """Each block of the page is run below."""
    assert list(BLOCKS) == list(SAID)
    assert len(BLOCKS) == PAGE.count("```python\n")


@pytest.mark.parametrize("heading", SAID)
def test_a_program_runs_as_it_stands(
    orchestrate: CommandLine, tmp_path: Path, heading: str
) -> None:
    """It ends by itself, prints what it is there for, and warns of nothing."""
    program = tmp_path / "program.py"
    program.write_text(BLOCKS[heading], encoding="utf-8")
    state = {"XDG_STATE_HOME": str(orchestrate.state.parent / "xdg")}
    (orchestrate.state.parent / "xdg").mkdir()
    (orchestrate.state.parent / "xdg" / "orchestrate").symlink_to(orchestrate.state)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        cwd=orchestrate.repo,
        env=orchestrate.environment | state,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    for said in SAID[heading]:
        assert said in done.stdout
    if heading == "The tools alone":
        assert git(orchestrate.repo, "show", "from-a-program:a.txt") == "a"
