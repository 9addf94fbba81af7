"""Gates read small changes at once, and large ones where nobody waits for it."""

from __future__ import annotations

import threading

import pytest

from orchestrator.gates.aside import SMALL, aside
from orchestrator.records import FileChange

LINE = "x" * 99
LINES = tuple((number, LINE) for number in range(SMALL // 100 + 1))


def a_change(
    added: tuple[tuple[int, str], ...] = (), removed: tuple[tuple[int, str], ...] = ()
) -> FileChange:
    """Return a change of one file."""
    return FileChange("a.py", "changed", "100644", "100644", added=added, removed=removed)


FEW, MANY, GONE = a_change(LINES[:1], LINES[:1]), a_change(LINES), a_change((), LINES)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("changes", "files", "at_once"),
    [
        ([], [], True),
        ([FEW], [{"a.py": b"x"}, {"a.py": "x"}], True),
        ([MANY], [], False),
        ([GONE], [], False),
        ([FEW] * SMALL, [], False),
        ([FEW], [{"a.py": b"x" * (SMALL + 1)}], False),
        ([FEW], [{}, {"a": "x" * SMALL, "b": "x"}], False),
    ],
)
async def test_what_is_small_is_read_at_once(
    changes: list[FileChange], files: list[dict[str, bytes]], at_once: bool
) -> None:
    """By all that is read: lines that came, lines that went, and whole files."""
    where = await aside(threading.current_thread, changes, *files)
    assert (where is threading.current_thread()) is at_once


@pytest.mark.asyncio
@pytest.mark.parametrize("changes", [[FEW], [MANY]])
async def test_an_error_comes_back(changes: list[FileChange]) -> None:
    """What goes wrong is raised to the gate, wherever it was read."""

    def broken() -> None:
        raise ValueError("it cannot be read")

    with pytest.raises(ValueError, match="cannot be read"):
        await aside(broken, changes)
