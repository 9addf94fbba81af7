"""What the README and the docs say is true: commands, examples, links and the demo's output."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.runs.conftest import BRANCH, ORCHESTRATE, PROJECT, git

PAGES = sorted([PROJECT / "README.md", *PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])


def name_of(path: Path) -> str:
    """Return a page's path from the top of the project."""
    return str(path.relative_to(PROJECT))


@pytest.fixture(scope="module")
def readme() -> str:
    """The README."""
    return (PROJECT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page names a file that is there."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{name_of(page)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_named_tests_and_files_exist(page: Path) -> None:
    """Every test file, module or example that a page names in code marks is there."""
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"`((?:tests|examples|docs|bench)/[\w./-]+\.\w+)`", text):
        assert (PROJECT / target).exists(), f"{name_of(page)} names {target}"


def test_python_examples_of_the_readme_compile(readme: str) -> None:
    """The README's Python is Python, and uses public names only."""
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        tree = ast.parse("async def example():\n" + textwrap.indent(block, "    "))
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        import orchestrator

        for node in imports:
            assert node.module == "orchestrator"
            assert {name.name for name in node.names} <= set(orchestrator.__all__)


def test_the_demo_prints_what_the_readme_shows(tmp_path: Path, state: Path, readme: str) -> None:
    """The first screen is the real output of the demo, and its branch passes the sample's tests."""
    project = tmp_path / "project"
    project.mkdir()
    for name in ("examples", ".venv"):
        source = PROJECT / name if name != ".venv" else Path(sys.prefix)
        (project / name).symlink_to(source)
    (project / "demo").mkdir()
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    model = f"replay:{PROJECT / 'examples' / 'replies.jsonl'}"
    done = subprocess.run(
        ["sh", str(PROJECT / "examples" / "demo.sh"), str(project), model],
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    shown = readme.split("$ orchestrate issue 1\n", 1)[1].split("```", 1)[0]
    printed = f"{done.stdout}\n{done.stderr}"
    for line in shown.splitlines():
        if not re.search(r"\d\.\d s|\.\.\.|run 1-|collected commit", line):
            assert line in printed, f"the demo does not print {line!r}"
    shop = project / "demo" / "shop"
    git(shop, "checkout", "--quiet", BRANCH)
    tests = subprocess.run(
        [sys.executable, "-m", "unittest", "discover", "-s", "tests", "-t", "."],
        cwd=shop,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tests.returncode == 0, tests.stderr
    assert "Ran 6 tests" in tests.stderr


def test_examples_run(shop: Path, tmp_path: Path, state: Path) -> None:
    """Every example program runs and says what its page promises."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(state.parent / "xdg"),
    }
    replies = f"replay:{PROJECT / 'examples' / 'replies.jsonl'}"
    for arguments, expected in (
        (["tools_alone.py", str(shop)], "no network"),
        (["embed.py", str(shop), "1", replies], f"done {BRANCH}"),
    ):
        command = [sys.executable, str(PROJECT / "examples" / arguments[0]), *arguments[1:]]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
    assert git(shop, "show", "notes:NOTES.md") == "Written inside."


@pytest.mark.parametrize("command", ["issue", "batch", "runs", "init", "doctor"])
def test_the_readme_knows_every_command(readme: str, command: str) -> None:
    """Every command of the command line is in the README's table, and answers --help."""
    assert f"| `orchestrate {command}" in readme
    done = subprocess.run(
        [str(ORCHESTRATE), command, "--help"], capture_output=True, text=True, check=True
    )
    assert "Usage: orchestrate" in done.stdout


def test_every_option_of_the_issue_line_exists(readme: str) -> None:
    """The options that the README names are those of the command."""
    line = next(one for one in readme.splitlines() if one.startswith("| `orchestrate issue"))
    done = subprocess.run(
        [str(ORCHESTRATE), "issue", "--help"], capture_output=True, text=True, check=True
    )
    for option in re.findall(r"--[\w-]+", line):
        assert option in done.stdout
