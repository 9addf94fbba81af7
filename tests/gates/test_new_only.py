"""Checks of which only what is new fails: real linters, formatters and type checkers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.commands import FinishedCommand
from orchestrator.gates.checks import Check, CheckGate, checks_of
from orchestrator.gates.command import CommandGate
from orchestrator.gates.messages import compare
from tests.gates.project import Project, ground, project, proved

__all__ = ["ground", "project", "proved"]

DIRTY = "import os\n\n\ndef one():\n    return 1\n"
TYPED = 'def one() -> int:\n    return "1"\n'
SETTINGS = """\
[tool.ruff]
line-length = 88

[tool.ruff.format]
quote-style = "double"

[tool.mypy]
strict = true
"""


def found(kind: str, text: str = SETTINGS) -> CheckGate:
    """Return the gate of a kind of check that these settings ask for."""
    (check,) = [one for one in checks_of({"pyproject.toml": text.encode()}) if one.kind == kind]
    return CheckGate(check, timeout_s=120)


@pytest.fixture
def dirty(project: Project) -> Project:
    """A project whose base has an error of every kind already."""
    files = {"a.py": DIRTY, "b.py": TYPED, "c.py": "x = 'one'\n", "pyproject.toml": SETTINGS}
    project.commit(files)
    return project.equipped()


MOVED = "'''Words.'''\n\n" + DIRTY + "\n\ndef two():\n    return 2\n"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "files", "state", "reason"),
    [
        ("lint", {"a.py": MOVED}, "passed", "nothing new: all 1 are on the base too"),
        ("lint", {"a.py": "def one():\n    return 1\n"}, "passed", "exit status 0"),
        ("lint", {"b.py": "import sys\n"}, "failed", "1 messages that the base does not have"),
        ("lint", {"a.py": "import os\nimport os\n"}, "failed", "2 messages"),
        ("lint", {"a.py": "import sys\n", "pyproject.toml": "[tool.ruff]\nexclude = ['*']\n"},
         "failed", "1 messages that the base does not have; taken from the base: pyproject.toml"),
        ("lint", {"a.py": "import sys\n", "ruff.toml": "exclude = ['*']\n"},
         "failed", "taken from the base: ruff.toml"),
        ("lint", {"x/a.py": "import sys\n", "x/.ruff.toml": "lint.select = []\n"},
         "failed", "taken from the base: x/.ruff.toml"),
        ("lint", {"a.py": "def (:\n"}, "failed", "messages that the base does not have"),
        ("format", {"a.py": MOVED}, "failed", "1 messages"),
        ("format", {"c.py": "x = 'two'\n"}, "passed", "nothing new"),
        ("format", {"d.py": "x = 'one'\n"}, "failed", "1 messages"),
        ("types", {"b.py": "'''Words.'''\n\n\n" + TYPED}, "passed", "nothing new"),
        ("types", {"b.py": TYPED + "\n\nX: str = 1\n"}, "failed", "1 messages"),
        ("types", {"d.py": "X: str = 1\n", "mypy.ini": "[mypy]\nignore_errors = True\n"},
         "failed", "taken from the base: mypy.ini"),
    ],
)  # fmt: skip
async def test_real_tools(
    dirty: Project, kind: str, files: dict[str, str], state: str, reason: str
) -> None:
    """What the base complains of is forgiven wherever it stands; settings are the base's."""
    verdict = await dirty.judged(found(kind), files)
    assert (verdict.state, reason in verdict.reason) == (state, True), (
        verdict.reason,
        verdict.details,
    )
    assert verdict.argv[-1].startswith(("ruff ", "python3 -m mypy"))
    assert verdict.tree == dirty.change().tree


@pytest.mark.asyncio
async def test_a_clean_base(project: Project) -> None:
    """Where the base is clean, everything fails as it is."""
    project.commit({"a.py": "x = 1\n", "pyproject.toml": SETTINGS})
    verdict = await project.equipped().judged(found("lint"), {"a.py": DIRTY})
    assert verdict.reason == "exit status 1; the base has no such errors"
    assert "F401" in verdict.details


@pytest.mark.asyncio
async def test_a_tool_that_is_not_there(project: Project) -> None:
    """What is not installed inside was not executed, and has not passed."""
    project.commit({"a.py": "x = 1\n", "pyproject.toml": SETTINGS})
    verdict = await project.judged(found("lint"), {"a.py": "x = 2\n"})
    assert (verdict.state, verdict.reason) == ("not_executed", "ruff is not installed inside")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("script", "state", "reason"),
    [
        ("echo a.py:1: old; exit 1", "passed", "nothing new"),
        ("echo a.py:9: old; exit 1", "passed", "nothing new"),
        ("echo a.py:1: new; exit 1", "failed", "1 messages"),
        ("echo a.py:1: old; echo a.py:2: old; exit 1", "failed", "1 messages"),
        ("exit 1", "failed", "nothing that it says can be compared"),
        ("echo a.py:1: old; exit 2", "failed", "exit status 2, 1 on the base"),
        ("kill -9 $$", "failed", "exit status 137"),
        ("sleep 99", "failed", "took too long"),
    ],
)
async def test_commands_of_the_settings(
    project: Project, script: str, state: str, reason: str
) -> None:
    """A command with ``new_only`` is compared; a crash is no message, and silence no excuse."""
    project.commit({"check": "echo a.py:1: old; exit 1\n"})
    gate = CommandGate("lint", "sh < check", tests=False, timeout_s=3, new_only=True)
    project.commits.append(project.commits[0])
    verdict = await project.judged(gate, {"check.sh": "", "other": script})
    assert verdict.state == "passed", "the command's own script is as on the base"
    free = CommandGate("lint", "sh < ./$(printf che)ck", tests=False, timeout_s=3, new_only=True)
    verdict = await project.judged(free, {"check": f"{script}\n"})
    assert (verdict.state, reason in verdict.reason) == (state, True), verdict.reason


OLD_RUFF = (
    "a.py:1:8: F401 [*] `os` imported but unused\nFound 1 error.\n[*] 1 fixable with `--fix`.\n"
)
ESLINT = "/workspace/a.js\n  {}:10  error  'x' is unused  no-unused-vars\n\n\N{HEAVY BALLOT X} 1 problem (1 error, 0 warnings)\n"
TSC = "src/a.ts({},5): error TS2322: Type 'string' is not assignable to type 'number'.\n"
CLIPPY = "warning: unused variable: `x`\n --> src/main.rs:{}:9\n  |\n{} |     let x = 5;\n  |         ^\n"
MYPY = 'a.py:{}: error: Name "x" already defined on line {}  [no-redef]\nFound 1 error in 1 file (checked 5 source files)\n'
PYRIGHT = '/workspace/a.py\n  /workspace/a.py:{}:5 - error: "x" is not defined\n1 error, 0 warnings, 0 informations \n'
PRETTIER = "[warn] src/a.js\n[warn] Code style issues found in {} files. Run Prettier with --write to fix.\n"
BLACK = "would reformat a.py\n\nOh no! \N{COLLISION SYMBOL}\n{} files would be reformatted, 3 files would be left unchanged.\n"


def ended(output: str, status: int | None = 1) -> FinishedCommand:
    """Return a command that said something."""
    return FinishedCommand(("bash", "-c", "check"), status, output, 0.1)


@pytest.mark.parametrize("form", [ESLINT, TSC, CLIPPY, MYPY, PYRIGHT, PRETTIER, BLACK, OLD_RUFF])
def test_what_has_only_moved_is_not_new(form: str) -> None:
    """In every tool's form a message is the same on another line, and doubled it is new."""
    old, moved = ended(form.replace("{}", "3")), ended(form.replace("{}", "12"))
    assert compare(old, moved)[0] == "passed", compare(old, moved)
    fewer = ended("one more.py:1:1: E1 that\n" + form.replace("{}", "3"))
    assert compare(fewer, moved)[0] == "passed"
    assert compare(moved, fewer)[0] == "failed"
    other = ended(form.replace("{}", "3").replace("a.", "other."))
    assert compare(old, other)[0] == ("failed" if other.output != old.output else "passed")


def test_only_new_messages_are_told() -> None:
    """What goes back to the agent is the new messages alone."""
    now = ended(OLD_RUFF.replace("1:8", "7:8") + "b.py:1:1: E1 no\n")
    assert compare(ended(OLD_RUFF), now) == (
        "failed", "1 messages that the base does not have", "b.py:1:1: E1 no",
    )  # fmt: skip


def test_what_was_cut_cannot_be_compared() -> None:
    """An output that is longer than what is kept is not taken for the whole."""
    much = ended("a.py:1: x\n" * 1_000_000)
    state, reason, _ = compare(much, much)
    assert (state, "too much" in reason) == ("failed", True)


@given(st.text(), st.text())
def test_any_output_can_be_compared(before: str, now: str) -> None:
    """Whatever is printed is judged; the same again never has anything new."""
    assert compare(ended(before), ended(now))[0] in {"passed", "failed"}
    assert "does not have" not in compare(ended(now), ended(now))[1]


@pytest.mark.parametrize(
    ("files", "kinds"),
    [
        ({}, []),
        ({"pyproject.toml": "[tool.ruff]\n"}, ["lint-ruff"]),
        ({"ruff.toml": "[format]\n"}, ["lint-ruff", "format-ruff"]),
        ({".flake8": ""}, ["lint-flake8"]),
        ({"setup.cfg": "[flake8]\n[mypy]\n"}, ["lint-flake8", "types-mypy"]),
        ({"pyproject.toml": "[tool.black]\n"}, ["format-black"]),
        ({"mypy.ini": ""}, ["types-mypy"]),
        ({"pyrightconfig.json": "{}"}, ["types-pyright"]),
        ({"package.json": '{"scripts": {"lint": "eslint .", "format": "prettier -w .", "typecheck": "tsc"}}'},
         ["lint-npm", "types-npm"]),
        ({"package.json": '{"scripts": {"lint": "eslint --fix ."}}', "tsconfig.json": "{}"}, ["types-tsc"]),
        ({"go.mod": "module a\n"}, ["format-gofmt", "lint-vet"]),
        ({"Cargo.toml": "[package]\n"}, ["format-rustfmt", "lint-clippy"]),
        ({"pyproject.toml": "[broken"}, []),
        ({"pyproject.toml": "tool = 1\n", "package.json": "[]"}, []),
        ({"package.json": '{"scripts": 7}'}, []),
    ],
)  # fmt: skip
def test_what_a_repository_sets_up(files: dict[str, str], kinds: list[str]) -> None:
    """Checks are those of the base's own settings, and none that would change files."""
    data = {name: text.encode() for name, text in files.items()}
    assert [CheckGate(one).name for one in checks_of(data)] == kinds


@pytest.mark.asyncio
async def test_rust_s_formatter(project: Project) -> None:
    """Cargo's checks run where cargo is, and are not executed where it is not."""
    checks = checks_of({"Cargo.toml": b"[package]\n"})
    assert isinstance(checks[0], Check)
    project.commit(
        {"Cargo.toml": '[package]\nname = "a"\nversion = "0.1.0"\n', "src/lib.rs": "fn a() {}\n"}
    )
    verdict = await project.judged(
        CheckGate(checks[0], timeout_s=60), {"src/lib.rs": "fn a( ) {}\n"}
    )
    assert verdict.state in {"failed", "not_executed"}
    assert verdict.state == "failed" or "not installed" in verdict.reason
