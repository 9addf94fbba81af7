"""The journal's file: opened, brought to this version's form, worked on one piece at a time.

Whoever keeps something in it adds a step to ``STEPS``: each brings a file from one form to the
next, in one transaction. A step that was released is never changed.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from orchestrator.errors import JournalError
from orchestrator.journals.board import TABLES as LANES
from orchestrator.journals.together import Change, make_together, transaction

RUNS = (
    """create table runs (
      run text primary key, repo text not null, issue text not null, state text not null,
      epoch integer not null, owner text not null, record text not null,
      started real not null, changed real not null, attempt integer not null)""",
    """create unique index one_unfinished on runs (repo, issue)
      where state in ('running', 'parked')""",
    """create table events (
      run text not null, seq integer not null, epoch integer not null, key text not null,
      kind text not null, data blob not null, at real not null,
      primary key (run, seq), unique (run, key)) without rowid""",
)
FORKS = (
    # When the owner last said that it lives; and the run that a fork was made from.
    "alter table runs add column beat real not null default 0",
    "alter table runs add column parent text not null default ''",
    "drop index one_unfinished",
    """create unique index one_unfinished on runs (repo, issue)
      where state in ('running', 'parked') and parent = ''""",
    "create index forks on runs (parent) where parent <> ''",
)
NIGHTS = (
    """create table nights (
      night text primary key, state text not null, epoch integer not null, owner text not null,
      record blob not null, began real not null, changed real not null)""",
    """create table night_events (
      night text not null, seq integer not null, epoch integer not null, key text not null,
      kind text not null, data blob not null, at real not null,
      primary key (night, seq), unique (night, key)) without rowid""",
)

STEPS: tuple[tuple[str, ...], ...] = (RUNS, FORKS, NIGHTS, LANES)
"""What brings a file from one form to the next; an empty file has form 0."""

FORM = len(STEPS)
"""The form of the file; a newer one is refused, never touched."""

SLOW_S = 0.005
"""A piece of work on the database that takes longer sends the next one to a thread."""

OPEN_S, PAUSE_S = 30.0, 0.01
"""How long a file that others are making is waited for, and between two looks."""

T = TypeVar("T")


class Database:
    """The journal's file, open; where nothing can be written, as in an archive, only to be read.

    Args:
        path: the file; its folder must exist.

    Raises:
        JournalError: it cannot be used, or a newer version wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turn = anyio.Lock(fast_acquire=True)
        self._waiting: list[Change[Any]] = []
        self._slow = self._slow_to_read = False
        self._is_only_read = path.is_file() and not all(
            os.access(one, os.W_OK) for one in (path, path.parent)
        )
        self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        """Open the file, making it where there is none.

        SQLite does not wait by itself while several processes turn a new file to its log.
        """
        end = time.monotonic() + OPEN_S
        while True:
            connection = None
            try:
                connection = sqlite3.connect(
                    self._address(), uri=True, timeout=30, isolation_level=None,
                    check_same_thread=False,
                )  # fmt: skip
                self._make_ready(connection)
            except (sqlite3.Error, JournalError) as error:
                if connection is not None:
                    connection.close()
                if isinstance(error, JournalError):
                    raise
                if "locked" not in str(error) or time.monotonic() > end:
                    raise journal_error(self.path, error) from None
                time.sleep(PAUSE_S)
            else:
                return connection

    def _address(self) -> str:
        address = self.path.absolute().as_uri()
        if not self._is_only_read:
            return address
        log = self.path.with_name(f"{self.path.name}-wal")
        # Without a log nothing is missed; else SQLite would want to make one.
        has_log = log.is_file() and log.stat().st_size > 0
        return f"{address}?mode=ro" if has_log else f"{address}?mode=ro&immutable=1"

    def _make_ready(self, connection: sqlite3.Connection) -> None:
        form = self._form(connection)
        if self._is_only_read:
            if form < FORM:
                raise JournalError(
                    f"{self.path} has an older form, and cannot be written to give it the new one",
                    hint="make the state directory writable, or name a copy of it with --state",
                )
            return
        connection.execute("pragma journal_mode=wal")
        connection.execute("pragma synchronous=full")
        if form < FORM:
            transaction(connection, self._bring_up)

    def _form(self, connection: sqlite3.Connection) -> int:
        form = int(connection.execute("pragma user_version").fetchone()[0])
        if form > FORM:
            raise JournalError(
                f"{self.path} was written by a newer version", hint="upgrade, or use --state"
            )
        return form

    def _bring_up(self, connection: sqlite3.Connection) -> None:
        """Do the steps that are missing; another process may have done them just now."""
        for step in STEPS[self._form(connection) :]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"pragma user_version={FORM}")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do a piece of work that changes nothing, and return its result.

        It takes 0.1 ms, less than handing it to a thread and back. Where it turns out to be slow,
        the next one goes to a thread, so that no other run of this process waits for it.

        Raises:
            JournalError: the file cannot be read.
        """
        done: list[T] = []
        with anyio.CancelScope(shield=True):
            async with self._turn:
                if self._slow_to_read:
                    await anyio.to_thread.run_sync(lambda: done.append(self._read(work)))
                else:
                    done.append(self._read(work))
        return done[0]

    async def change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do a piece of work in one transaction: all of it, or nothing where it raises.

        A commit takes 0.3 ms. Where it takes longer, what others want to change meanwhile is
        committed together afterwards: a hundred runs do not wait for the disk a hundred times.

        Args:
            work: changes nothing but the database; it may be done again where others' fail.

        Raises:
            JournalError: the file cannot be read or written.
        """
        if self._is_quick():
            return self._change(lambda file: transaction(file, work))
        change = Change(work)
        self._waiting.append(change)
        with anyio.CancelScope(shield=True):
            async with self._turn:
                if not change.ended:
                    changes, self._waiting = self._waiting, []
                    await anyio.to_thread.run_sync(
                        self._change, lambda file: make_together(file, changes)
                    )
        try:
            return change.result()
        except sqlite3.Error as error:
            raise journal_error(self.path, error) from None

    def _is_quick(self) -> bool:
        """Tell whether nothing on the file has to be waited for."""
        return not self._slow and not self._turn.locked()

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        done, self._slow_to_read = self._timed(work)
        return done

    def _change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._slow = True  # until it is known, and where it fails
        done, self._slow = self._timed(work)
        return done

    def _timed(self, work: Callable[[sqlite3.Connection], T]) -> tuple[T, bool]:
        """Do a piece of work; return what it returns, and whether it took long."""
        started = time.perf_counter()
        try:
            return work(self._connection), time.perf_counter() - started > SLOW_S
        except sqlite3.Error as error:
            raise journal_error(self.path, error) from None


def journal_error(path: Path, error: sqlite3.Error) -> JournalError:
    """Return what an error of the database means to a person, with what to do next."""
    said = str(error)
    elsewhere = "make the state directory writable, or choose another with --state"
    broken = "keep the file for a look; choose another state directory with --state"
    hints = {
        "full": "free some disk space; the run goes on where it stopped",
        "disk I/O": "look at the disk, and whether it is full; the run goes on where it stopped",
        "readonly": elsewhere,
        "unable to open": elsewhere,
        "malformed": broken,
        "not a database": broken,
        "locked": "another process holds it for long; try again",
    }
    hint = next((text for words, text in hints.items() if words in said), "")
    return JournalError(f"the journal {path} failed: {said}", hint=hint)
