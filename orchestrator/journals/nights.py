"""Nights in the journal's file: append-only events of batches, fenced by an epoch like runs.

What is kept is bytes here: ``batches.book`` knows what they mean.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from orchestrator.errors import JournalError, LeaseLost, NoSuchRun
from orchestrator.journals.database import Database
from orchestrator.journals.owners import is_alive
from orchestrator.values import frozen

COLUMNS = "night, state, epoch, owner, record, began, changed"

Kept = tuple[str, str, bytes]
"""An event as it is kept: its key, its kind, its data."""


@frozen
class NightRow:
    """A night as the journal lists it.

    Attributes:
        state: ``running``, ``open`` where a resume would go on, or ``ended``.
        record: the night as it was begun, encoded.
    """

    night: str
    state: str
    epoch: int
    owner: str
    record: bytes
    began: float
    changed: float

    @property
    def is_worked_on(self) -> bool:
        """Tell whether a process that lives works on it."""
        return self.state == "running" and is_alive(self.owner)


class SqliteNights:
    """All nights of one state directory.

    Args:
        database: the journal's file.
        owner: who this process is, as ``owner_of`` tells.
    """

    def __init__(self, database: Database, *, owner: str) -> None:
        self._database = database
        self._owner = owner

    async def begin(self, night: str, record: bytes) -> SqliteNight:
        """Record a new night and return its journal."""

        def insert(connection: sqlite3.Connection) -> None:
            now = time.time()
            connection.execute(
                "insert into nights values (?,?,?,?,?,?,?)",
                (night, "running", 1, self._owner, record, now, now),
            )

        await self._database.change(insert)
        return SqliteNight(self._database, night, epoch=1)

    async def take_over(self, night: str) -> SqliteNight:
        """Raise a night's epoch, so that any earlier owner is refused, and return its journal.

        Raises:
            NoSuchRun: there is none.
            LeaseLost: another process that is alive works on it.
        """
        row = await self.row(night)
        if row.owner != self._owner and row.is_worked_on:
            raise LeaseLost(
                f"batch {row.night} is being worked on by another process ({row.owner})",
                hint="wait for it, or stop that process",
            )

        def update(connection: sqlite3.Connection) -> int:
            changed = connection.execute(
                "update nights set epoch=epoch+1, owner=?, state='running', changed=? "
                "where night=? and epoch=?",
                (self._owner, time.time(), row.night, row.epoch),
            ).rowcount
            if not changed:
                raise LeaseLost(f"batch {row.night} was taken over by another process just now")
            return row.epoch + 1

        return SqliteNight(self._database, row.night, epoch=await self._database.change(update))

    async def row(self, night: str) -> NightRow:
        """Return one night; a prefix of its id is enough where it is unique.

        Raises:
            NoSuchRun: none, or several, have it.
        """
        rows = [one for one in await self.rows() if night and one.night.startswith(night)]
        exact = [one for one in rows if one.night == night]
        if len(exact or rows) != 1:
            problem = "more than one batch is" if rows else "there is no batch"
            raise NoSuchRun(
                f"{problem} {night}", hint="see which there are: orchestrate batch list"
            )
        return (exact or rows)[0]

    async def rows(self) -> list[NightRow]:
        """Return all nights, newest first."""

        def select(connection: sqlite3.Connection) -> list[NightRow]:
            query = f"select {COLUMNS} from nights order by began desc, rowid desc"  # noqa: S608 - our own words
            return [NightRow(*row) for row in connection.execute(query)]

        return await self._database.read(select)

    async def events(self, night: str) -> list[tuple[str, bytes]]:
        """Return kind and data of all events of a night in order; nothing is taken over."""
        return await _events(self._database, night)


class SqliteNight:
    """The journal of one night, for the process that owns it."""

    def __init__(self, database: Database, night: str, *, epoch: int) -> None:
        self._database = database
        self.night = night
        self.epoch = epoch

    async def append(self, rows: Sequence[Kept], state: str | None = None) -> None:
        """Record events together, if the epoch still holds; then they are on disk.

        Args:
            rows: the events.
            state: what the night is in from here on; None leaves it.

        Raises:
            LeaseLost: another process has taken the night over.
            JournalError: they cannot be recorded, as where one is there already.
        """

        def insert(connection: sqlite3.Connection) -> None:
            found = connection.execute(
                "select epoch from nights where night=?", (self.night,)
            ).fetchone()
            if found is None or found[0] != self.epoch:
                raise LeaseLost(f"batch {self.night} was taken over by another process")
            now = time.time()
            query = "select coalesce(max(seq), 0) from night_events where night=?"
            (last,) = connection.execute(query, (self.night,)).fetchone()
            try:
                connection.executemany(
                    "insert into night_events values (?,?,?,?,?,?,?)",
                    [
                        (self.night, last + number, self.epoch, key, kind, data, now)
                        for number, (key, kind, data) in enumerate(rows, 1)
                    ],
                )
            except sqlite3.IntegrityError:
                keys = ", ".join(key for key, _, _ in rows)
                raise JournalError(f"batch {self.night}: recorded already: {keys}") from None
            connection.execute(
                "update nights set changed=?, state=coalesce(?, state) where night=?",
                (now, state, self.night),
            )

        await self._database.change(insert)

    async def events(self) -> list[tuple[str, bytes]]:
        """Return kind and data of all events in order."""
        return await _events(self._database, self.night)


async def _events(database: Database, night: str) -> list[tuple[str, bytes]]:
    def select(connection: sqlite3.Connection) -> list[tuple[str, bytes]]:
        query = "select kind, data from night_events where night=? order by seq"
        return connection.execute(query, (night,)).fetchall()

    return await database.read(select)
