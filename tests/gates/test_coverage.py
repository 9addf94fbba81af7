"""Coverage of changed lines, measured by coverage.py in real walls."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gates.coverage import (
    CoverageGate,
    Lines,
    is_measured,
    judged,
    omitted_by,
    read_coverage,
)
from tests.gates.project import Project, ground, project, proved

__all__ = ["ground", "project", "proved"]

CODE = "def add(a, b):\n    return a + b\n"
SIGN = CODE + "\n\ndef sign(n):\n    if n < 0:\n        return -1\n    return 1\n"
HIDDEN = SIGN.replace("if n < 0:", "if n < 0:  # pragma: no cover")
ALONE = SIGN.replace("def sign(n):", "def sign(n):  # pragma: no cover")
TEST = "from sums import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n"
BOTH = (
    TEST
    + "\n\ndef test_sign():\n    from sums import sign\n    assert (sign(1), sign(-1)) == (1, -1)\n"
)
HALF = TEST + "\n\ndef test_sign():\n    from sums import sign\n    assert sign(1) == 1\n"
SETTINGS = """\
[tool.pytest.ini_options]
pythonpath = ["."]

[tool.coverage.run]
omit = ["generated/*"]

[tool.coverage.report]
exclude_also = ["if TYPE_CHECKING:"]
"""
BASE = {"sums.py": CODE, "tests/test_sums.py": TEST, "pyproject.toml": SETTINGS}
NEW = {"lost.py": "def lost():\n    return 1\n"}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("files", "state", "reason"),
    [
        ({"sums.py": SIGN, "tests/test_sums.py": BOTH}, "passed", "100.0 % of 4 changed lines are covered"),
        ({"sums.py": SIGN, "tests/test_sums.py": HALF}, "failed", "75.0 % of 4 changed lines are covered, not more than 90 %"),
        ({"sums.py": SIGN}, "failed", "25.0 % of 4 changed lines"),
        ({"sums.py": HIDDEN, "tests/test_sums.py": HALF}, "failed", "50.0 % of 4 changed lines"),
        ({"sums.py": ALONE}, "failed", "0.0 % of 4 changed lines"),
        (NEW, "failed", "0.0 % of 2 changed lines"),
        ({"generated/a.py": "x = 1\n"}, "passed", "no line that can be executed"),
        ({"sums.py": SIGN, "pyproject.toml": SETTINGS.replace("generated", "*")}, "failed", "taken from the base: pyproject.toml"),
        ({"sums.py": SIGN, ".coveragerc": "[run]\nomit = *\n"}, "failed", "taken from the base: .coveragerc"),
        ({"sums.py": SIGN, "tests/test_sums.py": BOTH.replace("3", "4")}, "failed", "the tests fail: exit status 1"),
        ({"sums.py": "# words\n" + CODE}, "passed", "no line that can be executed"),
        ({"README.md": "x"}, "passed", "no line of Python code"),
        ({"sums.py": SIGN, "conftest.py": "import os\nprint('1 passed in 0.1s')\nos._exit(0)\n"}, "failed", ""),
        ({"sums.py": "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    import os\n" + CODE}, "passed", "100.0 % of 1 changed"),
    ],
)  # fmt: skip
async def test_changed_lines(
    project: Project, files: dict[str, str], state: str, reason: str
) -> None:
    """Only lines that the branch adds count; unmeasured and hidden ones count against it."""
    project.commit(BASE)
    verdict = await project.equipped().judged(CoverageGate(above=90, timeout_s=60), files)
    assert (verdict.state, reason in verdict.reason) == (state, True), (
        verdict.reason,
        verdict.details,
    )
    if "25.0" in reason:
        assert "sums.py: 6-8" in verdict.details
    if files is NEW:
        assert "lost.py: 1-2 (no test imports it)" in verdict.details


@pytest.mark.asyncio
async def test_unittest_is_measured_too(project: Project) -> None:
    """The standard library's tests run under coverage.py in the same way."""
    test = "import unittest\nfrom sums import add\n\n\nclass T(unittest.TestCase):\n    def test_add(self):\n        self.assertEqual(add(1, 2), 3)\n"
    project.commit({"sums.py": CODE, "tests/__init__.py": "", "tests/test_sums.py": test})
    verdict = await project.equipped().judged(
        CoverageGate(above=90, timeout_s=60), {"sums.py": SIGN}
    )
    assert (verdict.state, verdict.reason) == (
        "failed",
        "25.0 % of 4 changed lines are covered, not more than 90 %",
    )


@pytest.mark.asyncio
async def test_coverage_is_not_there(project: Project) -> None:
    """Without coverage.py inside nothing was measured, and nothing has passed."""
    project.commit(BASE)
    verdict = await project.judged(CoverageGate(above=90, timeout_s=60), {"sums.py": SIGN})
    assert (verdict.state, verdict.reason) == (
        "not_executed",
        "coverage.py is not installed inside",
    )


@pytest.mark.parametrize(
    ("covered", "uncovered", "above", "state"),
    [(9, 1, 90, "failed"), (91, 9, 90, "passed"), (10, 0, 100, "passed"), (99, 1, 100, "failed"), (0, 0, 90, "passed"), (0, 1, 0, "failed")],
)  # fmt: skip
def test_the_bar_has_to_be_exceeded(covered: int, uncovered: int, above: float, state: str) -> None:
    """At the bar is not above it; a bar of 100 asks for every line."""
    lines = Lines("a.py", frozenset(range(covered)), frozenset(range(1000, 1000 + uncovered)))
    assert judged([lines], above)[0] == state


@pytest.mark.parametrize(
    ("name", "text", "omit"),
    [
        ("pyproject.toml", SETTINGS, ("generated/*",)),
        (
            ".coveragerc",
            "[run]\nomit =\n    a/*\n    b.py\n[report]\nomit = c.py\n",
            ("a/*", "b.py", "c.py"),
        ),
        ("setup.cfg", "[coverage:run]\nomit = a/*, b.py\n[run]\nomit = no\n", ("a/*", "b.py")),
        ("pyproject.toml", "[tool.pytest.ini_options]\naddopts = '--cov=shop'\n", ()),
        ("pyproject.toml", "[tool.coverage.run]\nomit = 7\n", ()),
    ],
)
def test_what_a_repository_sets_up(name: str, text: str, omit: tuple[str, ...]) -> None:
    """Coverage is judged where the base sets it up, with what it leaves out."""
    files = {name: text.encode()}
    assert is_measured(files)
    assert omitted_by(files) == omit
    assert not is_measured({"pyproject.toml": b"[tool.ruff]\n", "setup.cfg": b"[metadata]\n"})


@given(st.binary() | st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)).map(lambda x: json.dumps({"files": x}).encode()))  # fmt: skip
def test_any_report_can_be_read(data: bytes) -> None:
    """What is no report of coverage.py is none, and does no harm."""
    found = read_coverage(data)
    assert found is None or isinstance(found, dict)
