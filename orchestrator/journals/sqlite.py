"""The journal in one SQLite file: append-only events, fenced by an epoch.

Every append is conditional on the run's epoch; taking a run over raises it, so a process that was
frozen and wakes up is refused.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from weakref import WeakValueDictionary

import anyio.lowlevel
import orjson

from orchestrator.errors import ConfigError, JournalError, LeaseLost, NoSuchRun
from orchestrator.events import FIRST_EPOCH, Event, RunFinished, RunParked, decode, encode
from orchestrator.journals.database import Database
from orchestrator.journals.owners import called, is_alive
from orchestrator.lifeevents import RunTakenOver
from orchestrator.rebuilding import build
from orchestrator.records import Outcome, Run
from orchestrator.values import frozen

BEAT_S = 10.0
"""An owner that has recorded something since says nothing further."""
LEASE_S = 60.0
"""What nothing was heard of for longer can be taken its run from, where that is asked for."""

_HERE: WeakValueDictionary[tuple[str, str], SqliteRunJournal] = WeakValueDictionary()
"""The runs that this process works on, by file and id, whichever object opened the file: that they
are this process's own does not tell two that work on one apart."""

COLUMNS = "run, repo, issue, state, epoch, owner, record, started, changed, attempt, beat, parent"


@frozen
class RunRow:
    """A run as the journal lists it.

    Attributes:
        changed: when something of it was last recorded.
        beat: when its owner last said that it lives, where it had nothing to record.
        parent: the run that it was forked from; empty where it is no fork.
    """

    run: str
    repo: str
    issue: str
    state: str
    epoch: int
    owner: str
    record: Run
    started: float
    changed: float
    attempt: int
    beat: float = 0.0
    parent: str = ""


class SqliteJournal:
    """All runs of one state directory.

    Args:
        path: the database file; its folder must exist.
        owner: who this process is, as ``owner_of`` tells.
    """

    def __init__(self, path: Path, *, owner: str) -> None:
        self.database = Database(path)
        self._file = str(path.resolve())
        self._owner = owner

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    # -- runs ------------------------------------------------------------------------------

    async def begin(self, run: Run, *events: Event) -> SqliteRunJournal:
        """Record a new run together with its first events, and return its journal.

        Raises:
            ConfigError: the same issue has an unfinished run.
        """
        rows = _rows(run.run_id, events)

        def insert(database: sqlite3.Connection) -> None:
            now = time.time()
            try:
                database.execute(
                    "insert into runs values (?,?,?,?,?,?,?,?,?,?,?,?)",
                    (
                        *(run.run_id, run.repo, run.issue.key, "running"),
                        *(FIRST_EPOCH, self._owner),
                        *(orjson.dumps(run).decode(), now, now, run.attempt, now),
                        run.forked_from,
                    ),
                )
            except sqlite3.IntegrityError:
                raise ConfigError(
                    f"issue {run.issue.key} already has an unfinished run",
                    hint=f"go on with: orchestrate issue {run.issue.key}",
                ) from None
            _append(database, run.run_id, FIRST_EPOCH, rows, None)

        journal = self._taken(run.run_id, FIRST_EPOCH)
        await self.database.change(insert)
        return journal

    async def take_over(self, run: str, *, silent: bool = False) -> SqliteRunJournal:
        """Raise a run's epoch, so that any earlier owner is refused, and return its journal.

        Args:
            run: its id.
            silent: whether it is also taken from an owner that is there, where nothing was heard
                of that for longer than its lease.

        Raises:
            NoSuchRun: there is none, or it has ended.
            LeaseLost: another process that is alive works on it, or this one does already.
        """
        row = await self.row(run)
        if row.state not in {"running", "parked"}:
            raise NoSuchRun(
                f"run {row.run} has ended: {row.state}", hint=f"orchestrate runs show {row.run}"
            )
        is_mine = row.owner == self._owner
        before = _HERE.get((self._file, row.run))
        is_worked_on = is_alive(row.owner)
        if is_mine:
            is_worked_on = before is not None and not before.is_cut_off()
        taken = row.state == "running" and is_worked_on
        quiet = abs(time.time() - max(row.changed, row.beat))
        if taken and not (silent and quiet > LEASE_S):
            raise _is_owned(row, quiet, is_mine=is_mine)
        journal = self._taken(row.run, row.epoch + 1)

        def update(database: sqlite3.Connection) -> int:
            changed = database.execute(
                "update runs set epoch=epoch+1, owner=?, state='running', changed=?, beat=? "
                "where run=? and epoch=?",
                (self._owner, time.time(), time.time(), run, row.epoch),
            ).rowcount
            if not changed:
                raise LeaseLost(f"run {run} was taken over by another process just now")
            epoch = row.epoch + 1
            if taken:
                event = RunTakenOver(epoch, row.owner, round(quiet, 1))
                kept = (event.key, type(event).__name__, encode(event))
                _append(database, run, epoch, [kept], None)
            return epoch

        try:
            await self.database.change(update)
        except BaseException:
            journal.leave()
            if before is not None:
                _HERE[self._file, row.run] = before
            raise
        return journal

    def _taken(self, run: str, epoch: int) -> SqliteRunJournal:
        """Return the journal of a run that this process works on from now on."""
        journal = _HERE[self._file, run] = SqliteRunJournal(self, run, epoch=epoch)
        return journal

    def left(self, journal: SqliteRunJournal) -> None:
        """Take note that nobody here works on a run any more, unless another one does by now."""
        if _HERE.get((self._file, journal.run)) is journal:
            del _HERE[self._file, journal.run]

    async def beat(self, run: str, epoch: int) -> None:
        """Say that a run's owner lives, where it has recorded nothing for a while.

        Raises:
            LeaseLost: another process has taken the run over.
            JournalError: the file cannot be read or written.
        """

        def update(database: sqlite3.Connection) -> None:
            query = "select epoch, changed from runs where run=?"
            found = database.execute(query, (run,)).fetchone()
            _require_epoch(found, epoch, run)
            now = time.time()
            if abs(now - found[1]) >= BEAT_S:
                database.execute(
                    "update runs set beat=? where run=? and epoch=?", (now, run, epoch)
                )

        await self.database.change(update)

    async def row(self, run: str) -> RunRow:
        """Return one run; a prefix of its id is enough where it is unique.

        Raises:
            NoSuchRun: none, or several, have it.
        """
        escaped = run.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        rows = await self._rows("where run like ? escape '\\'", (f"{escaped}%",))
        exact = [one for one in rows if one.run == run]
        if not run or len(exact or rows) != 1:
            problem = "more than one run is" if rows else "there is no run"
            raise NoSuchRun(f"{problem} {run}", hint="see which there are: orchestrate runs list")
        return (exact or rows)[0]

    async def rows(self) -> list[RunRow]:
        """Return all runs, newest first."""
        return await self._rows("", ())

    async def _rows(self, where: str, values: tuple[str, ...]) -> list[RunRow]:
        def select(database: sqlite3.Connection) -> list[RunRow]:
            query = f"select {COLUMNS} from runs {where} order by started desc"  # noqa: S608 - our own words
            found = database.execute(query, values).fetchall()
            return [
                RunRow(
                    run, repo, issue, state, epoch, owner, build(Run, orjson.loads(text)), *times
                )
                for run, repo, issue, state, epoch, owner, text, *times in found
            ]

        return await self.database.read(select)

    async def unfinished(self, repo: str, issue: str) -> str | None:
        """Return the id of an issue's unfinished run, if it has one; forks stand beside it."""

        def select(database: sqlite3.Connection) -> str | None:
            row = database.execute(
                "select run from runs where repo=? and issue=? and parent='' "
                "and state in ('running','parked')",
                (repo, issue),
            ).fetchone()
            return str(row[0]) if row else None

        return await self.database.read(select)

    async def ended(self, repo: str, issue: str) -> Ended | None:
        """Return an issue's latest run, its outcome and its journal, if that run has ended."""
        rows = await self._latest(repo, issue)
        return await self._ended(rows[0]) if rows else None

    async def reopened(self, run: str) -> Ended | None:
        """Return a run, its outcome and its journal, if it has ended; nothing is taken over."""
        return await self._ended(await self.row(run))

    async def _ended(self, row: RunRow) -> Ended | None:
        outcome = await self.outcome(row.run)
        if outcome is None or row.state in {"running", "parked", "abandoned"}:
            return None
        return row.record, outcome, SqliteRunJournal(self, row.run, epoch=row.epoch)

    async def last(self, repo: str, issue: str) -> Run | None:
        """Return an issue's latest run, however it stands."""
        rows = await self._latest(repo, issue)
        return rows[0].record if rows else None

    async def _latest(self, repo: str, issue: str) -> list[RunRow]:
        newest = (
            "where run = (select run from runs where repo=? and issue=? and parent='' "
            "order by started desc limit 1)"
        )
        return await self._rows(newest, (repo, issue))

    async def forks(self, run: str) -> list[RunRow]:
        """Return the runs that were forked from one, newest first."""
        return await self._rows("where parent=?", (run,))

    async def attempts(self, repo: str, issue: str) -> int:
        """Return how many runs an issue has had."""

        def select(database: sqlite3.Connection) -> int:
            query = "select count(*) from runs where repo=? and issue=?"
            return int(database.execute(query, (repo, issue)).fetchone()[0])

        return await self.database.read(select)

    async def abandon(self, run: str) -> None:
        """Mark an unfinished run as given up, so that a new attempt may start."""

        def update(database: sqlite3.Connection) -> None:
            database.execute(
                "update runs set state='abandoned', epoch=epoch+1, changed=? where run=?",
                (time.time(), run),
            )

        await self.database.change(update)

    async def outcome(self, run: str) -> Outcome | None:
        """Return the last outcome of a run, if it has one."""

        def select(database: sqlite3.Connection) -> Outcome | None:
            row = database.execute(
                "select kind, data from events where run=? and kind in ('RunFinished','RunParked') "
                "order by seq desc limit 1",
                (run,),
            ).fetchone()
            event = decode(row[0], row[1]) if row else None
            return event.outcome if isinstance(event, RunFinished | RunParked) else None

        return await self.database.read(select)

    # -- events ----------------------------------------------------------------------------

    async def append(self, run: str, epoch: int, events: tuple[Event, ...]) -> None:
        """Record events of a run in one transaction, if the epoch still holds."""
        rows, state = _rows(run, events), _state_after(events)
        await self.database.change(lambda database: _append(database, run, epoch, rows, state))

    async def recorded(self, run: str) -> list[tuple[int, int, str, str, bytes, float]]:
        """Return seq, epoch, key, kind, data and time of all events of a run, as they are kept."""

        def select(
            database: sqlite3.Connection,
        ) -> list[tuple[int, int, str, str, bytes, float]]:
            query = "select seq, epoch, key, kind, data, at from events where run=? order by seq"
            return database.execute(query, (run,)).fetchall()

        return await self.database.read(select)

    async def events(self, run: str) -> list[Event]:
        """Return all events of a run in order.

        Raises:
            JournalError: one cannot be read.
        """

        def select(database: sqlite3.Connection) -> list[tuple[str, bytes]]:
            query = "select kind, data from events where run=? order by seq"
            return database.execute(query, (run,)).fetchall()

        try:
            return [decode(kind, data) for kind, data in await self.database.read(select)]
        except ValueError as error:
            raise JournalError(f"run {run}: {error}") from None


class SqliteRunJournal:
    """The journal of one run, for the process that owns it."""

    def __init__(self, journal: SqliteJournal, run: str, *, epoch: int) -> None:
        self._journal = journal
        self.run = run
        self.epoch = epoch
        token = anyio.lowlevel.current_token()
        self._loop: object = getattr(token, "native_token", token)  # older ones are the loop

    async def append(self, *events: Event) -> None:
        """Record events together; when this returns they are on disk."""
        await self._journal.append(self.run, self.epoch, events)

    async def beat(self) -> None:
        """Say that this process lives."""
        await self._journal.beat(self.run, self.epoch)

    def is_cut_off(self) -> bool:
        """Tell whether the event loop that it was opened in is closed: nobody goes on there."""
        is_closed = getattr(self._loop, "is_closed", None)  # only asyncio's can tell
        return is_closed is not None and bool(is_closed())

    def leave(self) -> None:
        """Say that it is not worked on here any more, however it stands."""
        self._journal.left(self)

    async def events(self) -> list[Event]:
        """Return all events in order."""
        return await self._journal.events(self.run)


Ended = tuple[Run, Outcome, SqliteRunJournal]
"""A run that has ended: what it was, how it ended, and its journal."""


def _rows(run: str, events: Sequence[Event]) -> list[tuple[str, str, bytes]]:
    try:
        return [(one.key, type(one).__name__, encode(one)) for one in events]
    except TypeError as error:
        raise JournalError(f"run {run}: an event that cannot be kept: {error}") from None


def _append(
    database: sqlite3.Connection,
    run: str,
    epoch: int,
    rows: Sequence[tuple[str, str, bytes]],
    state: str | None,
) -> None:
    now = time.time()
    owned = database.execute(
        "update runs set changed=?, state=coalesce(?, state) where run=? and epoch=?",
        (now, state, run, epoch),
    )
    if not owned.rowcount:
        raise _lost(run)
    database.executemany(
        "insert into events select ?, coalesce(max(seq), 0) + 1, ?, ?, ?, ?, ? from events"
        " where run=?",
        [(run, epoch, key, kind, data, now, run) for key, kind, data in rows],
    )


def _is_owned(row: RunRow, quiet: float, *, is_mine: bool) -> LeaseLost:
    """Return what tells that a run is another's, and since when nothing was heard of that."""
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(row.started))
    who, hint = "another process", "wait for it, or stop that process"
    if is_mine:
        who, hint = "this process already", "wait for it, or cancel it"
    if quiet > LEASE_S:
        hint = (
            "it may be stopped, or its machine asleep; to take the run from it: "
            f"orchestrate runs resume {row.run} --take-over"
        )
    return LeaseLost(
        f"run {row.run}, begun {since}, is being worked on by {who} "
        f"({called(row.owner)}), last heard of {quiet:.0f} s ago",
        hint=hint,
    )


def _require_epoch(row: tuple[int, ...] | None, epoch: int, run: str) -> None:
    if row is None or row[0] != epoch:
        raise _lost(run)


def _lost(run: str) -> LeaseLost:
    return LeaseLost(
        f"run {run} was taken over by another process, so this one has stopped",
        hint=f"see how it stands: orchestrate runs show {run}",
    )


def _state_after(events: tuple[Event, ...]) -> str | None:
    for event in reversed(events):
        if isinstance(event, RunFinished):
            return event.outcome.status
        if isinstance(event, RunParked):
            return "parked"
    return None
