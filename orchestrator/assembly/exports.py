"""Exporting a run: its events as lines, with keys of known form taken out."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.exporting import Recorded, lines
from orchestrator.gates.credentials import masked
from orchestrator.journals.sqlite import SqliteJournal


async def exported(journal: SqliteJournal, run: str) -> Iterator[bytes]:
    """Return a run's events as lines of JSON, without their ends.

    Raises:
        NoSuchRun: there is none.
    """
    row = await journal.row(run)
    return lines(row.run, (Recorded(*one) for one in await journal.recorded(row.run)), masked)
