"""Amounts in words."""

from __future__ import annotations

import pytest

from orchestrator.amounts import counted
from orchestrator.records import DiffStat


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0 added lines"), (1, "1 added line"), (2, "2 added lines")]
)
def test_one_is_told_as_one(number: int, told: str) -> None:
    """Only one of a thing has no s."""
    assert counted(number, "added line") == told


def test_a_change_is_told_in_a_line() -> None:
    """Files and lines, or nothing where nothing was changed."""
    assert str(DiffStat(files=1, added=1, removed=0)) == "1 file, +1 -0"
    assert str(DiffStat(files=2, added=3, removed=4)) == "2 files, +3 -4"
    assert str(DiffStat()) == ""
