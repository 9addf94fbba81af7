"""The half-price lane: turns of many runs as batches, and nothing paid for twice."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import anyio.to_thread
import pytest

from orchestrator.batches.lane import Lane, digest_of
from orchestrator.batches.nights import (
    Night,
    NightEvent,
    TurnsGathered,
    TurnsReadBack,
    TurnsSent,
    Wanted,
)
from orchestrator.batches.posting import LanePace
from orchestrator.batches.views import NightView
from orchestrator.models.anthropic_batches import AnthropicBatches
from orchestrator.records import ModelReply, ModelRequest
from orchestrator.testing import ScriptedModel, says
from orchestrator.transcript import encode_message
from tests.batch_server import Batch, BatchServer, Refusal, serve_batches
from tests.builders import a_request, a_text
from tests.model_clients import KEY

pytestmark = pytest.mark.asyncio
PACE = LanePace(age_s=30.0, poll_s=0.01, longest_poll_s=0.05)


def echo(body: dict[str, Any]) -> dict[str, Any]:
    """Answer with the last thing that was said."""
    text = body["messages"][-1]["content"][-1]["text"]
    return {"content": [{"type": "text", "text": f"heard {text}"}]}


@pytest.fixture
def service() -> Iterator[BatchServer]:
    """A service whose batches end as soon as they are looked at."""
    with serve_batches(answer=echo, ends_at=1) as running:
        yield running


@dataclass
class Process:
    """One process with a lane: what it records, and how it dies.

    Attributes:
        dies_at: the kind of event after which nothing is recorded any more.
        usual: what asks in the usual way.
    """

    view: NightView
    live: int = 1
    dies_at: type[NightEvent] | None = None
    usual: ScriptedModel = field(default_factory=lambda: ScriptedModel([]))
    events: list[NightEvent] = field(default_factory=list)
    died: anyio.Event = field(default_factory=anyio.Event)

    async def emit(self, event: NightEvent) -> None:
        """Record an event, unless the process is dead."""
        if self.died.is_set():
            await anyio.sleep_forever()
        self.view.apply(event)
        self.events.append(event)
        if self.dies_at is not None and isinstance(event, self.dies_at):
            self.died.set()
            await anyio.sleep_forever()


def a_view() -> NightView:
    """Build the view of a night without issues."""
    return NightView(Night("n-1", (), Wanted(), ()))


def a_turn(text: str) -> ModelRequest:
    """Build a request that says something."""
    return a_request(encode_message("user", [a_text(text)]))


@asynccontextmanager
async def running(
    service: BatchServer, process: Process, pace: LanePace = PACE
) -> AsyncIterator[Lane]:
    """Have a lane at work within the block."""
    batches = AnthropicBatches(key=KEY, base_url=service.url)
    lane = Lane(
        batches,
        emit=process.emit,
        sent=process.view.turns,
        live=lambda: process.live,
        pace=pace,
        clock=time.monotonic,
        wall=time.time,
    )
    try:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lane.serve)
                yield lane
                tasks.cancel_scope.cancel()
    finally:
        await batches.aclose()


async def ask(lane: Lane, process: Process, run: str, text: str) -> str:
    """Ask for one reply, and return its words."""
    reply = await lane.of_run(run, process.usual).reply(a_turn(text))
    return said(reply)


def said(reply: ModelReply) -> str:
    """Return the words of a reply."""
    return str(reply.blocks[0]["text"])


async def ask_all(lane: Lane, process: Process, *runs: str) -> dict[str, str]:
    """Ask for a reply of each run at once."""
    found: dict[str, str] = {}

    async def one(run: str) -> None:
        found[run] = await ask(lane, process, run, f"turn of {run}")

    async with anyio.create_task_group() as tasks:
        for run in runs:
            tasks.start_soon(one, run)
    return found


def kinds(process: Process) -> list[str]:
    """Return the kinds of what was recorded, in order."""
    return [type(one).__name__ for one in process.events]


async def test_turns_of_all_runs_go_as_one_batch(service: BatchServer) -> None:
    """What waits goes together, and each run gets its own answer, in whatever order they come."""
    runs = [f"run-{number}" for number in range(25)]
    process = Process(a_view(), live=25)
    async with running(service, process) as lane:
        found = await ask_all(lane, process, *runs)
    assert found == {run: f"heard turn of {run}" for run in runs}
    assert len(service.batches) == 1
    assert kinds(process) == ["TurnsGathered", "TurnsSent", "TurnsReadBack"]
    assert process.view.turns[1].succeeded == 25
    assert not process.usual.requests


async def test_a_reply_costs_half(service: BatchServer) -> None:
    """A reply of a batch says that it costs half the price."""
    process = Process(a_view())
    async with running(service, process) as lane:
        reply = await lane.of_run("r", process.usual).reply(a_turn("x"))
    assert reply.price_share == 0.5


async def test_a_turn_waits_for_others_but_not_for_ever(service: BatchServer) -> None:
    """Where other runs are at work the first request waits its time, then it is sent alone."""
    process = Process(a_view(), live=2)
    async with running(service, process, LanePace(age_s=0.05, poll_s=0.01)) as lane:
        assert await ask(lane, process, "a", "alone") == "heard alone"
    assert [len(one.requests) for one in service.batches.values()] == [1]


async def test_a_batch_is_no_larger_than_it_may_be(service: BatchServer) -> None:
    """More requests than one batch takes become several."""
    process = Process(a_view(), live=5)
    pace = LanePace(most=2, age_s=0.05, poll_s=0.01)
    async with running(service, process, pace) as lane:
        found = await ask_all(lane, process, *"abcde")
    assert len(found) == 5
    assert sorted(len(one.requests) for one in service.batches.values()) == [1, 2, 2]


async def test_what_came_to_nothing_is_sent_again(service: BatchServer) -> None:
    """An item that was overloaded, ran out, was cancelled or is missing is in the next batch."""
    for fate in ("overloaded", "expired", "canceled", "torn"):
        process = Process(a_view())
        digest = digest_of(f"run {fate}", a_turn(fate))
        service.fates = {f"{digest}-1": fate}
        async with running(service, process) as lane:
            assert await ask(lane, process, f"run {fate}", fate) == f"heard {fate}"
        assert [one.failed for one in process.view.turns.values()] == [1, 0]
        assert process.view.turns[2].items == (f"{digest}-2",)
        assert not process.usual.requests


async def test_what_fails_again_and_again_changes_lane(service: BatchServer) -> None:
    """After a few tries a request is made in the usual way."""
    service.fate = lambda *_: "expired"
    process = Process(a_view(), usual=ScriptedModel([says("the usual way")]))
    async with running(service, process) as lane:
        assert await ask(lane, process, "r", "x") == "the usual way"
    assert len(service.batches) == PACE.tries


async def test_what_the_service_will_never_take_changes_lane_at_once(service: BatchServer) -> None:
    """A request that is refused as it is, is made in the usual way: there the error is told."""
    service.fate = lambda *_: "not a valid request"
    process = Process(a_view(), usual=ScriptedModel([says("the usual way")]))
    async with running(service, process) as lane:
        assert await ask(lane, process, "r", "x") == "the usual way"
    assert len(service.batches) == 1


async def test_a_service_without_batches(service: BatchServer) -> None:
    """Where batches are not taken at all, work goes on in the usual way."""
    service.refuses = [Refusal(404, "not_found_error")]
    process = Process(a_view(), usual=ScriptedModel([says("the usual way")]))
    async with running(service, process) as lane:
        assert await ask(lane, process, "r", "x") == "the usual way"
    assert kinds(process) == ["TurnsGathered", "TurnsReadBack"]


async def test_a_busy_service_is_asked_again(service: BatchServer) -> None:
    """An overloaded service is given time, as it asks for; nothing is sent twice meanwhile."""
    wait = {"retry-after": "0.02"}
    busy = Refusal(429, "rate_limit_error", wait)
    service.refuses = [busy, Refusal(529, "overloaded_error"), busy]
    process = Process(a_view())
    async with running(service, process) as lane:
        assert await ask(lane, process, "r", "x") == "heard x"
    assert not service.refuses
    assert len(service.batches) == 1


@pytest.mark.parametrize("dies_at", [TurnsGathered, TurnsSent, TurnsReadBack])
async def test_a_killed_process_pays_for_nothing_twice(
    service: BatchServer, dies_at: type[NightEvent]
) -> None:
    """Whenever the process dies, the next one takes up the same batch and asks for nothing new."""
    process = Process(a_view(), live=3, dies_at=dies_at)
    with anyio.CancelScope() as killed:
        async with running(service, process) as lane, anyio.create_task_group() as tasks:
            tasks.start_soon(ask_all, lane, process, "a", "b", "c")
            await process.died.wait()
            killed.cancel()
    if dies_at is TurnsGathered:
        # It was sent, and its id never came to the journal.
        texts = {digest_of(run, a_turn(f"turn of {run}")): f"turn of {run}" for run in "abc"}
        items = [(one, texts[one.rpartition("-")[0]]) for one in process.view.turns[1].items]
        service.take(
            [
                {"custom_id": one, "params": json.loads(a_turn(text).whole_body())}
                for one, text in items
            ]
        )
    after = Process(process.view, live=3)
    async with running(service, after) as lane:
        found = await ask_all(lane, after, "a", "b", "c")
    assert found == {run: f"heard turn of {run}" for run in "abc"}
    assert len(service.batches) == 1
    assert len(service.asked) == 3
    assert after.view.turns[1].read is not None


async def test_a_strangers_batch_is_taken_for_ours_only_until_it_is_read(
    service: BatchServer,
) -> None:
    """A batch of the same size that holds none of our requests costs a try, never an answer."""
    process = Process(a_view())
    item = f"{digest_of('r', a_turn('x'))}-1"
    process.view.apply(TurnsGathered(1, (item,), ("r",), time.time()))
    theirs = {"custom_id": "theirs", "params": json.loads(a_turn("theirs").whole_body())}
    service.take([theirs])
    async with running(service, process) as lane:
        assert await ask(lane, process, "r", "x") == "heard x"
    assert process.view.turns[1].failed == 1
    assert process.view.turns[2].items[0].endswith("-2")


async def test_an_answer_that_got_lost_on_the_way_is_not_asked_for_again(
    service: BatchServer,
) -> None:
    """A connection that breaks after the batch was taken leads to that batch."""
    process = Process(a_view())

    def breaks(_: Batch) -> None:
        service.after_send = lambda _: None
        raise ConnectionResetError

    service.after_send = breaks
    async with running(service, process) as lane:
        assert await ask(lane, process, "r", "x") == "heard x"
    assert len(service.batches) == 1


async def test_what_was_paid_for_is_read_however_long_it_takes(service: BatchServer) -> None:
    """A service that does not hand its results out for a while is not asked for new ones."""
    service.unread = [Refusal(529, "overloaded_error"), Refusal(500, "api_error")] * 6
    process = Process(a_view())
    async with running(service, process) as lane:
        assert await ask(lane, process, "r", "x") == "heard x"
    assert not service.unread
    assert len(service.asked) == 1
    assert process.view.turns[1].succeeded == 1


async def test_results_that_are_gone_are_asked_for_anew(service: BatchServer) -> None:
    """What the service will never hand out, or not in a long time, is made again."""
    process = Process(a_view())
    service.unread = [Refusal(404, "not_found_error")]
    async with running(service, process) as lane:
        assert await ask(lane, process, "r", "x") == "heard x"
        service.unread = [Refusal(529, "overloaded_error")] * 4
    async with running(service, process, replace(PACE, bears_s=0.02)) as lane:
        assert await ask(lane, process, "r", "y") == "heard y"
    assert [one.failed for one in process.view.turns.values()][:3] == [1, 0, 1]
    assert len(service.batches) >= 4


async def test_nothing_is_sent_anew_while_nobody_tells_whether_it_was_taken(
    service: BatchServer,
) -> None:
    """A batch whose answer broke off is looked for until the service lists what it has."""
    process = Process(a_view())

    def breaks(_: Batch) -> None:
        service.after_send = lambda _: None
        service.unlisted = [Refusal(500, "api_error")] * 9
        raise ConnectionResetError

    service.after_send = breaks
    async with running(service, process) as lane:
        assert await ask(lane, process, "r", "x") == "heard x"
    assert not service.unlisted
    assert len(service.batches) == 1


async def test_a_closed_lane_sends_nothing_more(service: BatchServer) -> None:
    """What waits to be gathered when the lane is closed is asked for in the usual way."""
    process = Process(a_view(), live=9, usual=ScriptedModel([says("now"), says("too")]))
    async with running(service, process) as lane, anyio.create_task_group() as tasks:
        found: list[str] = []

        async def one() -> None:
            found.append(await ask(lane, process, "r", "x"))

        tasks.start_soon(one)
        await until(lambda: lane.is_waiting("r"))
        client = lane.of_run("r", process.usual)
        assert getattr(client, "ungoverned", None) is True, "a batch takes no place in a lane"
        lane.close()
        assert getattr(client, "ungoverned", None) is False
        await until(lambda: found == ["now"])
        assert await ask(lane, process, "s", "y") == "too"
    assert not service.batches


async def test_a_lane_that_is_called_off_changes_for_what_is_under_way(
    service: BatchServer,
) -> None:
    """Batches that are cut short hand their requests to the usual way."""
    service.ends_at = None
    service.fate = lambda *_: "canceled"
    process = Process(a_view(), usual=ScriptedModel([says("now")]))
    async with running(service, process) as lane, anyio.create_task_group() as tasks:
        found: list[str] = []

        async def one() -> None:
            found.append(await ask(lane, process, "r", "x"))

        tasks.start_soon(one)
        await until(lambda: "TurnsSent" in kinds(process))
        await lane.call_off()
        await until(lambda: found == ["now"])


async def test_what_is_being_sent_while_the_lane_is_called_off_is_called_off(
    service: BatchServer,
) -> None:
    """Its run changes lane as the others do, and does not wait for a batch of hours."""
    service.ends_at = None
    service.cancels = True
    process = Process(a_view(), usual=ScriptedModel([says("the usual way")]))
    is_there, go_on = threading.Event(), threading.Event()

    def held(_: Batch) -> None:
        is_there.set()
        go_on.wait(20)

    service.after_send = held
    async with running(service, process) as lane, anyio.create_task_group() as tasks:
        found: list[str] = []

        async def asking() -> None:
            found.append(await ask(lane, process, "r", "x"))

        tasks.start_soon(asking)
        await anyio.to_thread.run_sync(is_there.wait, 20)
        await lane.call_off()
        go_on.set()
    assert found == ["the usual way"]


async def test_a_run_that_is_stopped_while_it_waits_is_not_sent(service: BatchServer) -> None:
    """A request whose run is gone is in no batch, and the others are not held up."""
    process = Process(a_view(), live=3)
    async with running(service, process) as lane, anyio.create_task_group() as tasks:
        gone = anyio.CancelScope()

        async def one() -> None:
            with gone:
                await ask(lane, process, "gone", "x")

        tasks.start_soon(one)
        await until(lambda: lane.is_waiting("gone"))
        gone.cancel()
        await until(lambda: not lane.is_waiting("gone"))
        process.live = 1
        assert await ask(lane, process, "r", "y") == "heard y"
    (batch,) = service.batches.values()
    assert len(batch.requests) == 1


async def test_the_same_request_of_one_run_is_answered_from_what_is_there(
    service: BatchServer,
) -> None:
    """A run that is tried again in this process gets the answer that it never recorded."""
    process = Process(a_view())
    async with running(service, process) as lane:
        for most in (100, 200):
            request = ModelRequest("claude-opus-5-5", most, a_turn("x").head, a_turn("x").messages)
            reply = await lane.of_run("r", process.usual).reply(request)
            assert said(reply) == "heard x"
    assert len(service.asked) == 1


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    with anyio.fail_after(20):
        while not holds():  # noqa: ASYNC110 - what is looked at tells nobody
            await anyio.sleep(0.01)
