"""The page about the tools says what is so: every limit, every parameter."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator_tools import output, specs
from orchestrator_tools.contract import ToolSpec

PAGE = (Path(__file__).parents[2] / "docs" / "tools.md").read_text(encoding="utf-8")
UNITS = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "MB": 1000**2, "kB": 1000}
LIMITS = {name: value for name, value in vars(output).items() if name.isupper()}
STATED = re.findall(r"([\d.,]+)\s+(\w+)?(?:\s+[a-z]+)*\s*<!-- (\w+) -->", PAGE)


def section(tool: str) -> str:
    """Return what the page says of one tool."""
    return PAGE.split(f"\n## {tool}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize("name", LIMITS)
def test_every_limit_is_stated_as_it_is(name: str) -> None:
    """Each limit stands on the page, with its value."""
    stated = {
        float(number.replace(",", "")) * UNITS.get(unit, 1)
        for number, unit, mark in STATED
        if mark == name
    }
    assert stated == {float(LIMITS[name])}


def test_no_limit_is_stated_that_does_not_exist() -> None:
    """Every mark on the page names a limit, and every mark is read by this test."""
    marks = re.findall(r"<!-- (\w+) -->", PAGE)
    assert set(marks) == set(LIMITS)
    assert len(marks) == len(STATED)


@pytest.mark.parametrize("spec", specs.specs(), ids=lambda spec: spec.name)
def test_every_parameter_is_listed(spec: ToolSpec) -> None:
    """A tool's table has a row for each of its parameters, in their order, and no other."""
    rows = re.findall(r"^\| `([^`]+)` \|", section(spec.name), re.MULTILINE)
    assert rows == list(spec.input_schema["properties"])
