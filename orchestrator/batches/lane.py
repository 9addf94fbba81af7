"""The half-price lane: the waiting turns of all runs, gathered into batches and handed back.

To its run it is a model client like any other, only slow. Nothing is paid for twice: what is sent
is journaled by ids that are told from the request itself, so that a run which asks again after a
crash gets the answer of the batch that holds its request already.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

import anyio
import anyio.abc

from orchestrator.batches.nights import NightEvent, TurnsGathered, TurnsReadBack, TurnsSent
from orchestrator.batches.posting import LanePace, Posting
from orchestrator.batches.views import SentTurns
from orchestrator.messagebatches import (
    BatchAnswer,
    BatchItem,
    MessageBatches,
)
from orchestrator.ports import Clock, ModelClient
from orchestrator.records import ModelReply, ModelRequest

DIGEST = 40
"""Characters of an id that are told from its request; a number follows."""


@dataclass(slots=True)
class _Item:
    """A request of a batch, or one that waits to be.

    Attributes:
        number: of its batch; 0 while it waits.
        body: empty where an earlier process sent it.
        failed: whether it came to nothing; then ``error`` says why.
        passing: whether another try may help.
    """

    digest: str
    attempt: int
    run: str = ""
    body: bytes = b""
    number: int = 0
    since: float = 0.0
    over: anyio.Event = field(default_factory=anyio.Event)
    reply: ModelReply | None = None
    passing: bool = True

    @property
    def custom_id(self) -> str:
        return f"{self.digest}-{self.attempt}"


class Lane:
    """Gathers requests, sends them as batches, and hands the answers back.

    Args:
        batches: the service.
        emit: records an event of the night; when it returns it is on disk.
        sent: the batches that the night has sent already, by number.
        live: how many runs are worked on, each of which asks for one reply at a time.
        pace: when batches are sent, and how they are asked about.
        clock: seconds, from any fixed point.
        wall: seconds since 1970.

    Attributes:
        longest_s: the longest that a batch took so far.
        leave: is called with each run that is about to wait for a batch.
    """

    def __init__(  # noqa: PLR0913 - every collaborator is passed in
        self,
        batches: MessageBatches,
        *,
        emit: Callable[[NightEvent], Awaitable[None]],
        sent: Mapping[int, SentTurns],
        live: Callable[[], int],
        pace: LanePace,
        clock: Clock,
        wall: Clock,
    ) -> None:
        self._posting = Posting(batches, pace=pace, sent=sent)
        self._emit = emit
        self._sent = sent
        self._live = live
        self._pace = pace
        self._clock = clock
        self._wall = wall
        self._queue: list[_Item] = []
        self._changed = anyio.Event()
        self._items: dict[str, _Item] = {}
        self._by_number: dict[int, dict[str, _Item]] = {}
        self._waiting: dict[str, int] = {}
        self._asked_last: dict[str, str] = {}
        self._reading: set[int] = set()
        self._again: list[int] = []
        self._closed = self._called_off = False
        self.longest_s = 0.0
        self.leave: Callable[[str], None] = _stay
        for number in sorted(sent):
            self._known(sent[number])

    def _known(self, turns: SentTurns) -> None:
        """Take up the items of a batch that an earlier process sent."""
        for custom_id, run in zip(turns.items, turns.runs, strict=True):
            digest, _, attempt = custom_id.rpartition("-")
            item = _Item(digest, int(attempt), run, number=turns.number)
            self._by_number.setdefault(turns.number, {})[custom_id] = item
            before = self._items.get(digest)
            if before is None or before.attempt <= item.attempt:
                self._items[digest] = item

    # -- for runs --------------------------------------------------------------------------

    def of_run(self, run: str, usual: ModelClient) -> ModelClient:
        """Return what asks for the replies of one run.

        Args:
            run: its id.
            usual: asks in the usual way, where a batch is not the way.
        """
        return LaneClient(self, run, usual)

    def is_waiting(self, run: str) -> bool:
        """Tell whether a run waits for a batch, or to be part of one."""
        return bool(self._waiting.get(run))

    @property
    def is_closed(self) -> bool:
        """Tell whether nothing is gathered any more."""
        return self._closed

    def close(self) -> None:
        """Gather no more: what waits is asked for in the usual way, from now on."""
        self._closed = True
        queued, self._queue = self._queue, []
        for item in queued:
            item.over.set()

    async def call_off(self) -> None:
        """Ask that batches which are under way are cut short, so that runs change lane."""
        self.close()
        self._called_off = True
        for turns in list(self._sent.values()):
            if turns.read is None and turns.batch:
                await self._posting.cancel(turns.batch)

    async def reply(self, run: str, request: ModelRequest, usual: ModelClient) -> ModelReply:
        """Return the reply to a request, however it was got.

        Raises:
            ModelError: no reply came in the usual way, which was the last to be tried.
        """
        self._waiting[run] = self._waiting.get(run, 0) + 1
        self.leave(run)
        try:
            found = await self._from_batches(run, request)
        finally:
            self._waiting[run] -= 1
        return found if found is not None else await usual.reply(request)

    async def _from_batches(self, run: str, request: ModelRequest) -> ModelReply | None:
        """Return a batch's answer; None where the request is to be made in the usual way."""
        digest = digest_of(run, request)
        last = self._asked_last.get(run)
        if last is not None and last != digest:
            self._items.pop(last, None)  # its answer is in the run's journal
        self._asked_last[run] = digest
        item = before = self._items.get(digest)
        tries = 0
        while True:
            if item is not None:
                await self._awaited(item)
                if item.reply is not None:
                    return replace(item.reply, taken_up=item is before)
                tries += 1
                if not item.passing or tries >= self._pace.tries:
                    return None
            if self._closed:
                return None
            attempt = item.attempt + 1 if item is not None else 1
            item = _Item(digest, attempt, run, request.whole_body(), since=self._clock())
            self._items[digest] = item
            self._queue.append(item)
            self._changed.set()

    async def _awaited(self, item: _Item) -> None:
        """Wait until it is known what became of an item."""
        turns = self._sent.get(item.number)
        if turns is not None and turns.read is not None and not item.over.is_set():
            # An earlier process read it, and was killed with the answer.
            self._again.append(turns.number)
            self._changed.set()
        try:
            await item.over.wait()
        finally:
            if item in self._queue:
                self._queue.remove(item)
                self._items.pop(item.digest, None)

    # -- sending ---------------------------------------------------------------------------

    async def serve(self) -> None:
        """Send and read batches until cancelled.

        Raises:
            JournalError: what is sent cannot be recorded, so nothing more is.
        """
        async with anyio.create_task_group() as tasks:
            for turns in list(self._sent.values()):
                if turns.read is None:
                    tasks.start_soon(self._followed, turns.number, None)
            while True:
                await self._something_is_due()
                again, self._again = self._again, []
                for number in again:
                    tasks.start_soon(self._read, self._sent[number])
                if self._wait() <= 0:
                    number, items = await self._gathered()
                    tasks.start_soon(self._followed, number, items)

    async def _gathered(self) -> tuple[int, list[_Item]]:
        """Take a batch from the queue, and record what it holds before it is sent."""
        items, number = self._taken(), max(self._sent, default=0) + 1
        for item in items:
            item.number = number
        self._by_number[number] = {item.custom_id: item for item in items}
        ids = tuple(item.custom_id for item in items)
        runs = tuple(item.run for item in items)
        await self._emit(TurnsGathered(number, ids, runs, self._wall()))
        return number, items

    async def _something_is_due(self) -> None:
        """Wait until a batch is to be sent, or to be read once more."""
        while not self._again and self._wait() > 0:
            self._changed = anyio.Event()
            wait = self._wait()
            with anyio.move_on_after(None if wait == math.inf else wait):
                await self._changed.wait()

    def _wait(self) -> float:
        """Return the seconds until the queue is to be sent."""
        if not self._queue:
            return math.inf
        nobody_else = sum(self._waiting.values()) >= self._live()
        size = sum(len(one.body) for one in self._queue)
        full = len(self._queue) >= self._pace.most or size >= self._pace.most_bytes
        if nobody_else or full:
            return 0.0
        return self._queue[0].since + self._pace.age_s - self._clock()

    def _taken(self) -> list[_Item]:
        taken: list[_Item] = []
        size = 0
        while self._queue and len(taken) < self._pace.most:
            size += len(self._queue[0].body)
            if taken and size > self._pace.most_bytes:
                break
            taken.append(self._queue.pop(0))
        return taken

    async def _followed(self, number: int, items: list[_Item] | None) -> None:
        """See a batch to its end: sent, asked about, read back.

        Args:
            number: which batch of the night.
            items: what is sent; None where an earlier process did that.
        """
        begun = self._clock()
        turns = self._sent[number]
        if not turns.batch:
            parts = [BatchItem(one.custom_id, one.body) for one in items or ()]
            posting = self._posting
            batch = await (posting.send(turns, parts) if parts else posting.looked_for(turns))
            if not batch:
                await self._lost(turns, passing=items is None)
                return
            await self._emit(TurnsSent(number, batch, self._wall()))
            if self._called_off:  # while it was being sent
                await self._posting.cancel(batch)
        if await self._posting.ended(turns.batch):
            self.longest_s = max(self.longest_s, self._clock() - begun)
            await self._read(turns)
        else:
            await self._lost(turns, passing=True)

    # -- reading ---------------------------------------------------------------------------

    async def _read(self, turns: SentTurns) -> None:
        """Read the answers of a batch, and hand them to whoever waits, now or later."""
        if turns.number in self._reading:
            return
        self._reading.add(turns.number)
        items = self._by_number.pop(turns.number, {})
        answers = {one.custom_id: one for one in await self._posting.answers(turns.batch)}
        answered = [answers[name] for name in items if name in answers]
        succeeded = sum(one.reply is not None for one in answered)
        if turns.read is None:
            failed = len(items) - succeeded
            await self._emit(TurnsReadBack(turns.number, succeeded, failed, self._wall()))
        for name, item in items.items():
            _settle(item, answers.get(name))

    async def _lost(self, turns: SentTurns, *, passing: bool) -> None:
        """Take a batch as one that never was: its requests are made again, or in the usual way."""
        await self._emit(TurnsReadBack(turns.number, 0, len(turns.items), self._wall()))
        self._reading.add(turns.number)
        for item in self._by_number.pop(turns.number, {}).values():
            item.passing = passing
            item.over.set()


class LaneClient:
    """Asks for the replies of one run by way of the lane."""

    def __init__(self, lane: Lane, run: str, usual: ModelClient) -> None:
        self._lane = lane
        self._run = run
        self._usual = usual

    @property
    def ungoverned(self) -> bool:
        """Tell whether requests go to batches: they hold no place, and may take hours."""
        return not self._lane.is_closed

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Return the reply; raises ``ModelError`` where none came."""
        return await self._lane.reply(self._run, request, self._usual)

    async def aclose(self) -> None:
        """Close nothing: what asks in the usual way is its giver's."""


def _stay(_: str) -> None:
    """Let a run wait."""


def digest_of(run: str, request: ModelRequest) -> str:
    """Name a request of a run by its bytes, without the most that its reply may hold.

    What may still be spent differs after a crash; what is asked does not.
    """
    told = replace(request, max_tokens=0).whole_body()
    return hashlib.sha256(run.encode() + b"\0" + told).hexdigest()[:DIGEST]


def _settle(item: _Item, answer: BatchAnswer | None) -> None:
    if answer is not None:
        item.reply, item.passing = answer.reply, answer.retryable
    item.body = b""
    item.over.set()
