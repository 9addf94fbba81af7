"""The board on which processes of one state directory tell each other of models' lanes.

It stands in the journal's file, on a connection that does not wait for the disk: what is told
here is true for seconds, and may be lost with the machine. Nothing that goes wrong here stops a
run: a process that cannot read or write it goes on as if it were alone.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from orchestrator.journals.owners import is_alive

TABLES = (
    """create table lanes (
      model text primary key, paused_until real not null, places real not null,
      learnt real not null) without rowid""",
    """create table lane_slots (
      holder text not null, model text not null, owner text not null, in_flight integer not null,
      expires real not null, primary key (model, holder)) without rowid""",
    """create table lane_budgets (
      model text not null, kind text not null, most real not null, remaining real not null,
      at real not null, per_s real not null, primary key (model, kind)) without rowid""",
)
"""Lanes: paused until when, how many may be under way, and when that was learnt."""

LEARNT_S = 300.0
"""How long what was learnt of a lane's places counts."""

HERE_S, TELL_S = 600.0, 10.0
"""How long a process counts without telling anew, and how often it tells."""

PRUNE_S = 5.0
"""Between two looks for processes that have ended without taking their rows away."""

POLL_S = 0.2
BUSY_S = 0.25

GLANCE = """select
  (select paused_until from lanes where model = ?1),
  (select count(*) from lane_slots where model = ?1 and holder <> ?2 and expires > ?3)"""
TELL = "insert or replace into lane_slots values (?, ?, ?, ?, ?)"


class Board:
    """What this process reads and writes of all models' lanes.

    Args:
        path: the journal's file, which is there.
        owner: who this process is, as ``owner_of`` tells.
        clock: tells the time of day in seconds; all processes have the same.
    """

    def __init__(self, path: Path, *, owner: str, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._owner = owner
        self._clock = clock
        self._holder = f"{owner}/{secrets.token_hex(4)}"
        self._database: sqlite3.Connection | None = None
        self._told: dict[str, float] = {}
        self._pruned = 0.0

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            self._database = sqlite3.connect(
                self._path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
            self._database.execute("pragma synchronous=off")
            # Without waiting for the disk nothing may be moved out of the log.
            self._database.execute("pragma wal_autocheckpoint=0")
        return self._database

    def close(self) -> None:
        """Take this process off the board."""
        if self._database is None:
            return
        try:
            if self._told:
                self._database.execute("delete from lane_slots where holder=?", (self._holder,))
        except sqlite3.Error:
            pass  # the row runs out by itself
        finally:
            # Whoever closes last moves the log into the file, and has to wait for the disk then.
            with suppress(sqlite3.Error):
                self._database.execute("pragma synchronous=full")
            self._database.close()
            self._database = None
            self._told.clear()

    def glance(self, model: str, in_flight: int) -> tuple[bool, float]:
        """Tell whether another process uses the lane, and for how many seconds it is paused."""
        now = self._clock()
        try:
            database = self._open()
            paused, others = database.execute(GLANCE, (model, self._holder, now)).fetchone()
            if others and now - self._pruned > PRUNE_S:
                self._pruned = now
                others = self._prune(database, model, now)
            if now - self._told.get(model, 0.0) > TELL_S:
                self._tell(database, model, in_flight, now)
        except sqlite3.Error:
            return False, 0.0
        return others > 0, max((paused or 0.0) - now, 0.0)

    def _tell(self, database: sqlite3.Connection, model: str, in_flight: int, now: float) -> None:
        database.execute(TELL, (self._holder, model, self._owner, in_flight, now + HERE_S))
        self._told[model] = now

    def _prune(self, database: sqlite3.Connection, model: str, now: float) -> int:
        """Take away rows of processes that are gone; return how many others there are."""
        rows = database.execute(
            "select holder, owner, expires from lane_slots where model=? and holder<>?",
            (model, self._holder),
        ).fetchall()
        gone = [
            (model, holder)
            for holder, owner, expires in rows
            if expires <= now or (owner != self._owner and not is_alive(owner))
        ]
        if gone:
            database.executemany("delete from lane_slots where model=? and holder=?", gone)
        return len(rows) - len(gone)

    def take(self, model: str, in_flight: int, most: int, needs: dict[str, float]) -> float:
        """Take a place beside other processes; return 0, or the seconds to wait before a look."""
        now = self._clock()
        try:
            database = self._open()
            database.execute("begin immediate")
            try:
                wait = self._taken(database, model, in_flight, most, needs, now)
                database.execute("commit")
            except BaseException:
                database.execute("rollback")
                raise
        except sqlite3.Error:
            return 0.0
        return wait

    def _taken(
        self,
        database: sqlite3.Connection,
        model: str,
        in_flight: int,
        most: int,
        needs: dict[str, float],
        now: float,
    ) -> float:
        (others,) = database.execute(
            "select coalesce(sum(in_flight), 0) from lane_slots "
            "where model=? and holder<>? and expires>?",
            (model, self._holder, now),
        ).fetchone()
        row = database.execute(
            "select places from lanes where model=? and learnt>?", (model, now - LEARNT_S)
        ).fetchone()
        together = others + in_flight
        if most and together >= most:
            return POLL_S
        # Whoever has none under way gets one: no process is shut out by what another learnt.
        if in_flight and row is not None and together >= max(row[0], 1.0):
            return POLL_S
        budgets = database.execute(
            "select kind, most, min(most, remaining + (? - at) * per_s), per_s "
            "from lane_budgets where model=?",
            (now, model),
        ).fetchall()
        lacking = [
            (min(needs.get(kind, 0.0), full) - left) / per_s
            for kind, full, left, per_s in budgets
            if per_s > 0
        ]
        wait = max(lacking, default=0.0)
        if wait > 0:
            return float(wait)
        database.executemany(
            "update lane_budgets set remaining=?, at=? where model=? and kind=?",
            [(left - needs.get(kind, 0.0), now, model, kind) for kind, _, left, _ in budgets],
        )
        self._tell(database, model, in_flight + 1, now)
        return 0.0

    def leave(self, model: str, in_flight: int, grown: float) -> None:
        """Tell that fewer are under way, and by how much what may be has grown."""
        try:
            database = self._open()
            self._tell(database, model, in_flight, self._clock())
            if grown:
                database.execute("update lanes set places=places+? where model=?", (grown, model))
        except sqlite3.Error:
            return  # the others go by what they knew

    def cut(self, model: str, in_flight: int, pause_s: float) -> None:
        """Halve what may be under way, and pause the lane for all."""

        def halved(database: sqlite3.Connection) -> None:
            now = self._clock()
            (others,) = database.execute(
                "select coalesce(sum(in_flight), 0) from lane_slots "
                "where model=? and holder<>? and expires>?",
                (model, self._holder, now),
            ).fetchone()
            places = max((others + in_flight) / 2, 1.0)
            database.execute(
                "insert into lanes values (?1, ?2, ?3, ?4) on conflict (model) do update "
                "set paused_until=max(paused_until, ?2), places=?3, learnt=?4",
                (model, now + pause_s, places, now),
            )

        self._write(halved)

    def news(self, model: str, rows: Sequence[tuple[str, float, float, float]]) -> None:
        """Tell what is left: kind, how many when full, how many now, how many a second."""
        now = self._clock()
        told = [(model, kind, most, left, now, per_s) for kind, most, left, per_s in rows if most]
        self._write(
            lambda database: database.executemany(
                "insert or replace into lane_budgets values (?,?,?,?,?,?)", told
            )
        )

    def _write(self, work: Callable[[sqlite3.Connection], object]) -> None:
        try:
            database = self._open()
            database.execute("begin immediate")
            try:
                work(database)
                database.execute("commit")
            except BaseException:
                database.execute("rollback")
                raise
        except sqlite3.Error:
            return  # the others go by what they knew
