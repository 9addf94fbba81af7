"""One model's lane: how many requests are under way at once, how fast they go, whose is next.

What the service allows is learnt: its headers tell how many requests and tokens of a minute are
left, and a refusal halves what is under way, which then grows again.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Protocol

import anyio

from orchestrator.amounts import RateNews, Usage
from orchestrator.errors import ModelError, ModelOverloaded
from orchestrator.events import Signal, Waiting

LONGEST_PAUSE_S = 3600.0
"""A service that asks for more is asked again after so much."""

GROWTH = 0.1
"""Places that one reply adds after a cut: a round of replies adds a tenth."""

MINUTE_S = 60.0
SCARCE = 0.5
"""Share of a limit below which other processes are told what is left of it."""

USUAL_OUTPUT = 500.0
"""Tokens that a reply is taken to have before any came."""

POLL_S = 0.2
"""Between two looks at what other processes have under way."""

Show = Callable[[Signal], None]


class LaneBoard(Protocol):
    """What all processes of a state directory know of a model's lane together."""

    def glance(self, model: str, in_flight: int) -> tuple[bool, float]:
        """Tell whether another process uses the lane, and for how many seconds it is paused."""
        ...

    def take(self, model: str, in_flight: int, most: int, needs: dict[str, float]) -> float:
        """Take a place beside other processes; return 0, or the seconds to wait before a look."""
        ...

    def leave(self, model: str, in_flight: int, grown: float) -> None:
        """Tell that fewer are under way, and by how much what may be has grown."""
        ...

    def cut(self, model: str, in_flight: int, pause_s: float) -> None:
        """Halve what may be under way, and pause the lane for all."""
        ...

    def news(self, model: str, rows: Sequence[tuple[str, float, float, float]]) -> None:
        """Tell what is left: kind, how many when full, how many now, how many a second."""
        ...


class Bucket:
    """What is left of one limit of rate; it fills up again as time goes by."""

    __slots__ = ("_at", "_left", "_mark", "most", "per_s", "taken")

    def __init__(self) -> None:
        self.most = 0.0
        self.per_s = 0.0
        self.taken = 0.0
        self._left = math.inf
        self._at = 0.0
        self._mark = 0.0

    def hear(self, news: RateNews, *, at: float, mark: float) -> None:
        """Take in what the service said of a request.

        Args:
            news: what it said.
            at: when that request was sent.
            mark: what had been taken by then, that request included.
        """
        if news.most <= 0 or mark < self._mark:
            return
        self.most, self._left = float(news.most), float(news.left) - (self.taken - mark)
        self._at, self._mark = at, mark
        usual = news.most / MINUTE_S
        gone = news.most - news.left
        told = gone / news.full_s if news.full_s > 0 and gone > 0 else usual
        self.per_s = min(max(told, usual / MINUTE_S), float(news.most))

    def left(self, now: float) -> float:
        """Return how many there are."""
        if not self.most:
            return math.inf
        return min(self.most, self._left + (now - self._at) * self.per_s)

    def take(self, need: float, now: float) -> None:
        """Take so many, whether they are there or not."""
        if self.most:
            self._left, self._at = self.left(now) - need, now
        self.taken += need

    def wait_s(self, need: float, now: float) -> float:
        """Return the seconds until there are so many; a full one is always enough."""
        lacking = min(need, self.most) - self.left(now)
        return max(lacking / self.per_s, 0.0) if self.most else 0.0


class Waiter:
    """One request that waits for its turn."""

    __slots__ = ("called", "needs", "run")

    def __init__(self, run: str, needs: dict[str, float]) -> None:
        self.run = run
        self.needs = needs
        self.called = anyio.Event()


class Pass:
    """One request that is under way; it is given back once."""

    __slots__ = ("_lane", "_open", "entered", "marks")

    def __init__(self, lane: Lane, entered: float, marks: dict[str, float]) -> None:
        self._lane = lane
        self._open = True
        self.entered = entered
        self.marks = marks

    def replied(self, rates: Sequence[RateNews], usage: Usage) -> None:
        """Tell of the reply, and give the place back."""
        if self._open:
            self._open = False
            self._lane.replied(self, rates, usage)

    def failed(self, error: ModelError | None = None) -> None:
        """Tell that no reply came, and give the place back; None where nobody asks any more."""
        if self._open:
            self._open = False
            self._lane.failed(self, error)


class Lane:
    """The requests to one model, of all runs.

    Args:
        model: its full id.
        most: how many may be under way at once; 0 is as many as the service takes.
        clock: tells seconds.
        board: shared with other processes; None where this one is alone.
    """

    def __init__(
        self, model: str, *, most: int, clock: Callable[[], float], board: LaneBoard | None
    ) -> None:
        self._model = model
        self._most = most
        self._clock = clock
        self._board = board
        self._queue: OrderedDict[str, deque[Waiter]] = OrderedDict()
        self._buckets: dict[str, Bucket] = {}
        self._cut_at = -math.inf
        self._ceiling = float(most) if most else math.inf
        self._paused_until = -math.inf
        self._output = USUAL_OUTPUT
        self._beside = False
        self.in_flight = 0
        self.places = float(most) if most else math.inf

    # -- entering --------------------------------------------------------------------------

    async def enter(self, run: str, fresh_tokens: int, show: Show, longest_s: float) -> Pass:
        """Wait for a place: every run in its turn, however many requests another one has waiting.

        Args:
            run: whose request it is.
            fresh_tokens: tokens that go in and are in no cache.
            show: is told when it has to wait.
            longest_s: the longest wait for a pause that is worth it.

        Raises:
            ModelOverloaded: it would have to wait for longer.
        """
        needs = {
            "requests": 1.0,
            "input-tokens": float(fresh_tokens),
            "output-tokens": self._output,
            "tokens": fresh_tokens + self._output,
        }
        if not self._queue and self._wait_s(needs)[0] == 0.0:
            return self._entered(needs)
        waiter = Waiter(run, needs)
        self._queue.setdefault(run, deque()).append(waiter)
        try:
            await self._called(waiter, show, longest_s)
            return self._entered(needs)
        finally:
            self._leave_queue(waiter)
            self._call_next()

    async def _called(self, waiter: Waiter, show: Show, longest_s: float) -> None:
        """Wait until it is this one's turn and there is a place."""
        shown = ""
        while True:
            waiter.called = anyio.Event()
            seconds, why = math.inf, f"requests of other runs to {self._model} are before this one"
            if self._next() is waiter:
                seconds, why = self._wait_s(waiter.needs)
                if seconds == 0.0:
                    return
            if longest_s < seconds < math.inf:
                raise ModelOverloaded(
                    f"{why} for {seconds:.0f} s", retryable=True, retry_after=seconds
                )
            if why != shown:
                shown = why
                show(Waiting(why, 0.0 if seconds in {math.inf, POLL_S} else seconds))
            with anyio.move_on_after(seconds):
                await waiter.called.wait()

    def _wait_s(self, needs: dict[str, float]) -> tuple[float, str]:
        """Return the seconds until a request may go, and why; infinite until one has come back."""
        now = self._clock()
        pause = self._paused_until - now
        beside = False
        if self._board is not None:
            beside, paused = self._board.glance(self._model, self.in_flight)
            # Where a person set how many there may be, they are counted from the first request on.
            beside = beside or self._most > 0
            pause = max(pause, paused)
            self._beside = beside
        if pause > 0:
            return min(pause, LONGEST_PAUSE_S), f"{self._model} asks to wait"
        if self.in_flight >= max(self.places, 1.0):
            return math.inf, f"as many requests to {self._model} are under way as may be"
        if beside and self._board is not None:
            wait = self._board.take(self._model, self.in_flight, self._most, needs)
            return wait, f"other processes use {self._model}"
        waits = [
            (bucket.wait_s(needs.get(kind, 0.0), now), kind)
            for kind, bucket in self._buckets.items()
        ]
        wait, kind = max(waits, default=(0.0, ""))
        return wait, f"the {kind} of this minute are used up at {self._model}"

    def _entered(self, needs: dict[str, float]) -> Pass:
        self.in_flight += 1
        marks, now = {}, self._clock()
        for kind, bucket in self._buckets.items():
            bucket.take(needs.get(kind, 0.0), now)
            marks[kind] = bucket.taken
        return Pass(self, now, marks)

    # -- whose turn it is ------------------------------------------------------------------

    def _next(self) -> Waiter | None:
        return next(iter(self._queue.values()))[0] if self._queue else None

    def _call_next(self) -> None:
        waiter = self._next()
        if waiter is not None:
            waiter.called.set()

    def _leave_queue(self, waiter: Waiter) -> None:
        """Take one out; its run is behind all others now."""
        waiting = self._queue[waiter.run]
        waiting.remove(waiter)
        if waiting:
            self._queue.move_to_end(waiter.run)
        else:
            del self._queue[waiter.run]

    # -- learning --------------------------------------------------------------------------

    def replied(self, place: Pass, rates: Sequence[RateNews], usage: Usage) -> None:
        """Learn from a reply."""
        self._hear(place, rates)
        self._output += (usage.output_tokens - self._output) / 10
        if self.places >= self._ceiling:
            if not self._most:
                self.places = self._ceiling = math.inf
            self._left(0.0)
            return
        self.places = min(self.places + GROWTH, self._ceiling)
        self._left(GROWTH)

    def failed(self, place: Pass, error: ModelError | None) -> None:
        """Learn from a refusal: one cut for all requests that were under way together."""
        if error is not None:
            self._hear(place, error.rates)
        if isinstance(error, ModelOverloaded):
            now = self._clock()
            pause = min(error.retry_after or 0.0, LONGEST_PAUSE_S)
            self._paused_until = max(self._paused_until, now + pause)
            if place.entered > self._cut_at:
                # Above what was under way it can grow by itself no further than where it was.
                self._ceiling = float(self._most) if self._most else 2.0 * self.in_flight
                self.places = max(min(self.places, self.in_flight) / 2, 1.0)
                self._cut_at = now
                if self._board is not None:
                    self._board.cut(self._model, self.in_flight, pause)
        self._left(0.0)

    def _hear(self, place: Pass, rates: Sequence[RateNews]) -> None:
        for news in rates:
            bucket = self._buckets.setdefault(news.kind, Bucket())
            mark = place.marks.get(news.kind, bucket.taken)
            bucket.hear(news, at=place.entered, mark=mark)
        now = self._clock()
        scarce = any(one.left(now) < one.most * SCARCE for one in self._buckets.values())
        if rates and scarce and self._beside and self._board is not None:
            self._board.news(
                self._model,
                [(kind, one.most, one.left(now), one.per_s) for kind, one in self._buckets.items()],
            )

    def _left(self, grown: float) -> None:
        self.in_flight -= 1
        if self._beside and self._board is not None:
            self._board.leave(self._model, self.in_flight, grown)
        self._call_next()
