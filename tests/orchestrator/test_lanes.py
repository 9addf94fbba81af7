"""A model's lane: places, pauses, rates; whose turn it is; and how little it costs when it is free."""

from __future__ import annotations

import math

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.amounts import RateNews, Usage
from orchestrator.errors import ModelError, ModelOverloaded
from orchestrator.events import Signal, Waiting
from orchestrator.governor import Governor
from orchestrator.lanes import Bucket, Lane, Pass

MODEL = "claude-opus-5-5"


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


class Entered:
    """Runs that ask for places, and which of them have one, in order."""

    def __init__(self, lane: Lane, tasks: anyio.abc.TaskGroup) -> None:
        self.lane = lane
        self.tasks = tasks
        self.order: list[str] = []
        self.places: list[Pass] = []
        self.told: list[Signal] = []
        self.refused: list[ModelError] = []

    def ask(self, run: str, tokens: int = 0, longest_s: float = 300.0) -> anyio.CancelScope:
        """Have a run ask for a place; the scope gives it up."""
        scope = anyio.CancelScope()

        async def one() -> None:
            with scope:
                try:
                    place = await self.lane.enter(run, tokens, self.told.append, longest_s)
                except ModelOverloaded as error:
                    self.refused.append(error)
                    return
                self.order.append(run)
                self.places.append(place)

        self.tasks.start_soon(one)
        return scope

    def reply(self, rates: tuple[RateNews, ...] = ()) -> None:
        """Let the oldest request have its reply."""
        self.places.pop(0).replied(rates, Usage(output_tokens=100))


pytestmark = pytest.mark.asyncio
settled = anyio.wait_all_tasks_blocked


def a_lane(most: int = 0, clock: Time | None = None) -> Lane:
    """Build a lane that no other process uses."""
    return Governor(concurrency=most, clock=clock or Time()).lane(MODEL)


async def test_as_many_as_there_are_places() -> None:
    """No more requests are under way than may be; who waits is told, and goes on when one ends."""
    async with anyio.create_task_group() as tasks:
        seen = Entered(a_lane(2), tasks)
        for run in "abc":
            seen.ask(run)
        await settled()
        assert (seen.order, seen.lane.in_flight) == (["a", "b"], 2)
        assert [type(one) for one in seen.told] == [Waiting]
        seen.reply()
        await settled()
        assert seen.order == ["a", "b", "c"]
        assert seen.lane.in_flight == 2


async def test_runs_take_turns_however_much_one_of_them_asks() -> None:
    """A run with many requests does not keep another waiting for all of them."""
    async with anyio.create_task_group() as tasks:
        seen = Entered(a_lane(1), tasks)
        seen.ask("first")
        await settled()
        for _ in range(3):
            seen.ask("greedy")
            await settled()
        seen.ask("modest")
        await settled()
        for _ in range(5):
            seen.reply()
            await settled()
    assert seen.order == ["first", "greedy", "modest", "greedy", "greedy"]
    assert seen.lane.in_flight == 0


async def test_a_request_that_is_given_up_is_not_waited_for() -> None:
    """Cancelling who is next lets the one behind it go on."""
    async with anyio.create_task_group() as tasks:
        seen = Entered(a_lane(1), tasks)
        seen.ask("a")
        await settled()
        scope = seen.ask("b")
        await settled()
        seen.ask("c")
        await settled()
        scope.cancel()
        await settled()
        seen.reply()
        await settled()
    assert seen.order == ["a", "c"]


async def test_a_pause_is_for_all_runs() -> None:
    """After a 429 with retry-after no run asks until it is over; a longer one is not waited for."""
    clock = Time()
    lane = a_lane(clock=clock)
    place = await lane.enter("a", 0, lambda _: None, 300.0)
    place.failed(ModelOverloaded("slow down", retryable=True, retry_after=30.0))
    async with anyio.create_task_group() as tasks:
        seen = Entered(lane, tasks)
        seen.ask("b", longest_s=10.0)
        waiting = seen.ask("c")
        await settled()
        assert seen.order == []
        (refused,) = seen.refused
        assert refused.retry_after == 30.0
        assert [one.seconds for one in seen.told if isinstance(one, Waiting)] == [30.0]
        waiting.cancel()
        clock.now += 30.0
        seen.ask("d")
        await settled()
        assert seen.order == ["d"]


async def test_a_refusal_halves_and_replies_grow() -> None:
    """One storm of refusals halves what is under way, once; rounds of replies bring it back."""
    clock = Time()
    lane = a_lane(clock=clock)
    places = [await lane.enter(str(n), 0, lambda _: None, 300.0) for n in range(16)]
    clock.now += 1.0
    for place in places:
        place.failed(ModelOverloaded("overloaded", retryable=True))
    assert lane.places == 8.0
    rounds = 0
    while lane.places < 16:
        rounds += 1
        clock.now += 1.0
        now = [await lane.enter(str(n), 0, lambda _: None, 300.0) for n in range(int(lane.places))]
        for place in now:
            place.replied((), Usage(output_tokens=1))
    assert rounds < 10
    place = await lane.enter("a", 0, lambda _: None, 300.0)
    clock.now += 1.0
    place.failed(ModelError("a broken stream", retryable=True))
    assert lane.places >= 16, "only a service that has too much to do has less asked of it"


async def test_the_setting_is_never_passed() -> None:
    """However many replies come, no more are under way than the setting says."""
    lane = a_lane(3)
    for _ in range(100):
        (await lane.enter("a", 0, lambda _: None, 300.0)).replied((), Usage())
    assert lane.places == 3.0


async def test_requests_of_a_minute() -> None:
    """Where the service says that no request is left, the next one waits for the minute to fill."""
    clock = Time()
    lane = a_lane(clock=clock)
    place = await lane.enter("a", 0, lambda _: None, 300.0)
    place.replied((RateNews("requests", 60, 1, 59.0),), Usage())
    (await lane.enter("a", 0, lambda _: None, 300.0)).failed()
    async with anyio.create_task_group() as tasks:
        seen = Entered(lane, tasks)
        waiting = seen.ask("b")
        await settled()
        assert seen.order == []
        (told,) = [one for one in seen.told if isinstance(one, Waiting)]
        assert told.seconds == pytest.approx(1.0)
        assert "requests of this minute" in told.reason
        waiting.cancel()
        clock.now += 1.1
        seen.ask("c")
        await settled()
        assert seen.order == ["c"]


@given(
    most=st.integers(1, 10_000),
    left=st.integers(0, 10_000),
    full_s=st.floats(0, 120),
    needs=st.lists(st.floats(0, 20_000), max_size=20),
)
async def test_what_is_not_there_is_not_taken(
    most: int, left: int, full_s: float, needs: list[float]
) -> None:
    """Whoever waits as long as it is told finds what it needs, or the bucket full."""
    bucket, now = Bucket(), 10.0
    bucket.hear(RateNews("tokens", most, min(left, most), full_s), at=now, mark=0.0)
    for need in needs:
        wait = bucket.wait_s(need, now)
        assert 0 <= wait < math.inf
        now += wait
        assert bucket.left(now) >= min(need, most) * (1 - 1e-6) - 1e-6
        bucket.take(need, now)


async def test_news_of_an_older_request_does_not_count() -> None:
    """Replies come in any order; what was said of the latest request counts."""
    bucket = Bucket()
    bucket.take(5.0, 10.0)
    bucket.hear(RateNews("tokens", 1000, 100, 60.0), at=10.0, mark=5.0)
    bucket.hear(RateNews("tokens", 1000, 900, 60.0), at=9.0, mark=4.0)
    assert bucket.left(10.0) == pytest.approx(100.0)
