"""What a person sees of a batch while it goes on: a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, TextIO

import anyio

from orchestrator.batches.board import Board, Row, night_words
from orchestrator.batches.nights import (
    IssueBegun,
    IssueEnded,
    IssueId,
    IssueTriedAgain,
    NightEvent,
)
from orchestrator.batches.views import NightView
from orchestrator.batches.words import dollars, seconds
from orchestrator.events import Event, Signal
from orchestrator.sinks.plain import line

if TYPE_CHECKING:
    from orchestrator.sinks.log import LogSink
    from orchestrator.sinks.table import LiveTable

COLUMNS = ("issue", "agent", ">turn", "last event*", ">age", ">dollars", "lane")
SPARE = ("lane", ">age", ">turn", "agent", "last event*")
"""Columns that a narrow terminal goes without, the first of them first."""
REDRAW_S, SOON_S = 0.5, 0.05
"""Seconds between two drawings, and until the next one where an issue has begun or ended."""
HEARTBEAT_S = 60.0


class NightShow:
    """Shows a night while it is worked on.

    Args:
        stream: where to; usually stderr.
        table: drawn on a terminal; None writes plain lines.
        log: gets every event, of the night and of its runs.
        heartbeat_s: seconds between two plain lines that tell that the night lives.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        table: LiveTable | None = None,
        log: LogSink | None = None,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._stream = stream
        self._table = table
        self._log = log
        self._heartbeat_s = heartbeat_s
        self._board: Board | None = None
        self._changed = anyio.Event()

    @property
    def batch(self) -> str:
        """Return the batch's id, once something of it was heard."""
        return "" if self._board is None else self._board.view.night.night

    # -- what is heard ---------------------------------------------------------------------

    async def hear(self, event: NightEvent, view: NightView) -> None:
        """Take up an event of the night."""
        if self._log is not None:
            self._log.record(event, batch=view.night.night)
        if self._board is None:
            self._board = Board(view)
        board, now = self._board, time.time()
        match event:
            case IssueBegun(repo=repo, issue=issue, run=run):
                board.begun((repo, issue), run, now)
                self._changed.set()
            case IssueEnded() | IssueTriedAgain():
                board.ended((event.repo, event.issue), now)
                self._changed.set()
            case _:
                pass  # of no single issue
        words = night_words(event, view)
        if words:
            self.say(words)

    async def look(self, issue: IssueId, run: str, event: Event | Signal) -> None:
        """Take up what a run does."""
        if self._log is not None:
            self._log.record(event, issue_key=issue[1], run_id=run)
        if self._board is not None:
            self._board.look(issue, run, event, time.time())

    # -- what is shown ---------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Say a line, with the time of day."""
        told = f"{time.strftime('%H:%M:%S')} {line(text, 400)}"
        with suppress(OSError):  # a night goes on when nobody listens any more
            if self._table is not None:
                self._table.say(told)
            else:
                self._stream.write(f"{told}\n")
                self._stream.flush()

    def drawing(self) -> AbstractContextManager[object]:
        """Return the block in which the table stays on the terminal."""
        return nullcontext() if self._table is None else self._table

    async def keep_up(self) -> None:
        """Draw again and again, or tell each minute that the night lives, until cancelled."""
        while True:
            if self._table is None:
                await anyio.sleep(self._heartbeat_s)
                if self._board is not None:
                    self.say(self._board.heartbeat(time.time()))
            else:
                self._draw(self._table)
                with anyio.move_on_after(REDRAW_S):
                    await self._changed.wait()
                    await anyio.sleep(SOON_S)  # what begins together is drawn together
                self._changed = anyio.Event()

    def _draw(self, table: LiveTable) -> None:
        board, now = self._board, time.time()
        if board is None:
            return
        done, total = board.progress()
        rows = [_cells(row) for row in board.rows(now)]
        with suppress(OSError):
            table.draw(rows, done=done, total=total, totals=board.totals(now))


def _cells(row: Row) -> tuple[str, ...]:
    return (
        line(row.issue, 24),
        line(row.agent, 24),
        str(row.turn),
        row.said,
        seconds(row.age_s),
        dollars(row.usd),
        row.lane,
    )
