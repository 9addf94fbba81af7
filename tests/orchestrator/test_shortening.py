"""Long work with a small window: it goes on, and a resume at any point asks in the same bytes."""

from __future__ import annotations

import pytest

from orchestrator.contextevents import Compacted, ResultsCleared, told
from orchestrator.events import AUTHOR, Event, ModelReplied
from orchestrator.modelevents import RequestFailed, RequestIntended
from orchestrator.settings import ContextSettings
from tests.orchestrator.small_window import Reader, Work

pytestmark = pytest.mark.asyncio

ONLY_SUMMARIES = ContextSettings(clear=False)


async def test_results_are_left_out_by_price() -> None:
    """In a wide window long work is made shorter because it pays, and costs less for it."""
    work, whole = (
        Work(Reader(90, 10**9), known_window=10**6, settings=settings, page=9000)
        for settings in (ContextSettings(), ContextSettings(clear=False, compact=False))
    )
    assert (await work.run()).kind == (await whole.run()).kind == "finished"
    cleared = work.all(ResultsCleared)
    assert cleared and not whole.all(ResultsCleared)
    assert "expected to save $" in told(cleared[0])
    spent, never = (sum(one.cost_usd for one in each.all(ModelReplied)) for each in (work, whole))
    assert spent < never * 0.8
    assert work.reader.asked[-1][2].messages[0] == whole.reader.asked[-1][2].messages[0]


async def test_work_that_does_not_fit_the_window_ends_well() -> None:
    """The window is never passed where it is known: what is old is left out in time."""
    work = Work(Reader(150, 30_000), known_window=32_000)
    assert (await work.run()).kind == "finished"
    assert work.reader.refused == 0
    assert work.all(ResultsCleared) or work.all(Compacted)


async def test_summaries_alone_will_do() -> None:
    """A summary is asked for over the same prefix, and stands for the older turns from there on."""
    work = Work(Reader(120, 30_000), known_window=32_000, settings=ONLY_SUMMARIES)
    assert (await work.run()).kind == "finished"
    summaries = work.all(Compacted)
    assert summaries and all(one.asked for one in summaries)
    assert not work.reader.refused
    asked = [turn for turn, summary, _ in work.reader.asked if summary]
    assert len(asked) == len(summaries)
    turn = asked[0]
    before = next(r for t, s, r in work.reader.asked if t == turn - 1 and not s)
    usage = next(e.usage for e in work.all(ModelReplied) if e.session == f"{AUTHOR}/summary")
    size = (len(before.head) + sum(map(len, before.messages))) // 3
    assert usage.cache_read_tokens >= 0.97 * size, "the summary is asked over what is cached"
    after = next(r for t, s, r in work.reader.asked if t == turn and not s)
    assert b"Read all pages" in after.messages[0] and b"The plan, after" in after.messages[0]
    assert after.messages[1].startswith(b'{"role":"assistant"')


@pytest.mark.parametrize("named", [True, False])
async def test_a_window_that_nobody_knew(*, named: bool) -> None:
    """A request that is refused as too long is made shorter and sent again; the limit is learnt."""
    work = Work(Reader(120, 30_000, told=named), known_window=0)
    assert (await work.run()).kind == "finished"
    assert work.reader.refused
    assert len(work.all(RequestFailed)) == work.reader.refused
    assert work.reader.refused < 12


async def test_a_reply_that_fills_the_window() -> None:
    """A reply that was cut because the window was full is no end: less is sent, and it goes on."""
    work = Work(Reader(40, 10**9, full_at=(30,)), known_window=0, page=6000)
    assert (await work.run()).kind == "finished"
    assert "the model's window was full" in [one.why for one in work.all(ResultsCleared)]


async def test_what_cannot_be_made_shorter_fails() -> None:
    """An issue that is longer than the window ends in a failure that says what to do."""
    work = Work(Reader(3, 1000), known_window=0)
    ending = await work.run()
    assert ending.kind == "failed" and "too long" in ending.error
    assert "smaller" in ending.hint


@pytest.mark.parametrize(
    "settings", [ContextSettings(), ONLY_SUMMARIES], ids=["clearing", "summaries"]
)
async def test_a_resume_at_any_point_asks_in_the_same_bytes(settings: ContextSettings) -> None:
    """Wherever the journal ends, going on from there gives the requests of an undisturbed run."""
    quiet = Work(Reader(60, 30_000), known_window=32_000, settings=settings, page=4000)
    assert (await quiet.run()).kind == "finished"
    shorter = quiet.all(ResultsCleared) + quiet.all(Compacted)
    assert shorter
    expected = {(turn, s): request.body() for turn, s, request in quiet.reader.asked}
    assert len(expected) == len(quiet.reader.asked)
    turns = {one.turn for one in shorter}
    events: list[Event] = []
    for batch in quiet.batches[:-1]:
        events += batch
        last = batch[-1]
        near = isinstance(last, ModelReplied | RequestIntended) and (
            last.turn in turns or last.turn + 1 in turns
        )
        if not near and len(events) % 16:
            continue
        given = sum(isinstance(e, ModelReplied) and e.session == AUTHOR for e in events)
        reader = Reader(60, 30_000, replies=given)
        resumed = Work(
            reader, known_window=32_000, settings=settings, page=4000, events=list(events)
        )
        assert (await resumed.run()).kind == "finished"
        asked = {(turn, s): request.body() for turn, s, request in reader.asked}
        assert asked == {key: expected[key] for key in asked}, f"after {len(events)} events"
        replied = [e for e in events if isinstance(e, ModelReplied)]
        assert len(asked) == len(expected) - len(replied), "no reply is asked for twice"


async def test_the_cost_of_a_turn_does_not_grow() -> None:
    """What is looked at per turn is a number of times that does not grow with the turns."""
    work = Work(Reader(300, 10**9), known_window=10**6, page=600)
    assert (await work.run()).kind == "finished"
    assert work.session is not None
    transcript = work.session.transcript
    size = len(transcript.head) + sum(len(one) + 1 for one in transcript.messages)
    assert transcript.size() == size, "counted as it grows"
