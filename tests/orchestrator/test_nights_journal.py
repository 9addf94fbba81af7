"""Nights in the journal: kept in order, once, and by one process at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.batches.book import NightBook, decode_events, decode_night, encode_night
from orchestrator.batches.nights import (
    Expected,
    Fate,
    IssueBegun,
    IssueEnded,
    IssuePassedOver,
    IssueTriedAgain,
    Night,
    NightBegun,
    NightEnded,
    NightEvent,
    NightStopping,
    Planned,
    Site,
    TurnsGathered,
    TurnsReadBack,
    TurnsSent,
    Wanted,
)
from orchestrator.batches.views import NightView
from orchestrator.errors import JournalError, LeaseLost, NoSuchRun
from orchestrator.journals.database import Database
from orchestrator.journals.nights import SqliteNights
from orchestrator.journals.owners import owner_of
from orchestrator.records import Limits

pytestmark = pytest.mark.asyncio
REPO = "/r/.git"


def a_night(*keys: str, night: str = "n-1") -> Night:
    """Build a night over issues of one repository."""
    plan = tuple(
        Planned(REPO, key, f"Wish {key}", "builder", "it fits", Expected(0.5, 0.2, 0.9, 4))
        for key in keys
    )
    wanted = Wanted(labels=("nightly",))
    return Night(night, (Site(REPO, "/r"),), wanted, plan, Limits(usd=5.0), until=1e9, began=1.0)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty journal."""
    made = Database(tmp_path / "journal.db")
    yield made
    made.close()


def nights(database: Database, owner: str | None = None) -> SqliteNights:
    """Return the nights, as this process or another sees them."""
    return SqliteNights(database, owner=owner or owner_of(os.getpid()))


def every_event() -> list[NightEvent]:
    """Return one event of each kind, in an order that happens."""
    night = a_night("1", "2", "3")
    return [
        NightBegun(1, night, 1.0),
        IssueBegun(REPO, "1", 1, "1-aa", 2.0, before_usd=0.25),
        IssueTriedAgain(REPO, "1", 1, Fate("infrastructure", run="1-aa", usd=0.1), 5.0, 3.0),
        TurnsGathered(1, ("x-1", "y-1"), ("1-aa", "2-bb"), 3.5),
        TurnsSent(1, "msgbatch_1", 3.6),
        TurnsReadBack(1, 1, 1, 4.0),
        IssueBegun(REPO, "1", 2, "1-aa", 8.0),
        IssueEnded(REPO, "1", 2, Fate("done", status="done", run="1-aa", usd=0.3, turns=4), 9.0),
        IssuePassedOver(REPO, "3", 1, Fate("passed_over", why="blocked", said="2 failed"), 9.5),
        NightStopping(1, "ceiling", 10.0),
        NightEnded(1, complete=False, at=11.0),
    ]


async def test_events_come_back_as_they_were(database: Database) -> None:
    """Every kind of event survives the journal, and the view folds to the same."""
    night = a_night("1", "2", "3")
    kept = await nights(database).begin(night.night, encode_night(night))
    book = NightBook(kept, NightView(night))
    for event in every_event():
        await book.emit(event)
    row = await nights(database).row("n-")
    assert decode_night(row.record) == night
    assert row.state == "open"
    events = decode_events(await nights(database).events(row.night))
    assert events == every_event()
    again = NightView(night, events)
    assert again.counts() == book.view.counts() == {"done": 1, "waiting": 1, "passed_over": 1}
    one = again.issues[REPO, "1"]
    assert (one.usd, one.attempt, len(one.tries)) == (0.3, 2, 1)
    assert one.before == {"1-aa": 0.25}
    assert [view.planned.issue for view in again.unfinished()] == ["2", "3"]
    assert again.turns[1].batch == "msgbatch_1"
    assert again.waiting_turns() == 0


async def test_nothing_is_recorded_twice(database: Database) -> None:
    """A key that is there is refused, and nothing of that call is kept."""
    night = a_night("1")
    kept = await nights(database).begin(night.night, encode_night(night))
    book = NightBook(kept, NightView(night))
    begun = IssueBegun(REPO, "1", 1, "1-aa", 2.0)
    await book.emit(begun)
    with pytest.raises(JournalError, match="recorded already"):
        await book.emit(NightStopping(1, "until", 3.0), begun)
    assert decode_events(await kept.events()) == [begun]
    assert book.view.stopping == ""


async def test_who_was_taken_over_is_refused(database: Database) -> None:
    """A process that wakes up after another took the night over can record nothing."""
    night = a_night("1")
    dead = owner_of(os.getpid()).rpartition(":")[0] + ":1"
    first = await nights(database, dead).begin(night.night, encode_night(night))
    second = await nights(database).take_over(night.night)
    assert second.epoch == 2
    with pytest.raises(LeaseLost):
        await NightBook(first, NightView(night)).emit(NightStopping(1, "stopped", 1.0))
    await NightBook(second, NightView(night)).emit(NightEnded(2, complete=True, at=2.0))
    assert (await nights(database).row("n-1")).state == "ended"


async def test_a_night_that_is_worked_on_is_left_alone(database: Database) -> None:
    """While its process lives, nobody takes a night over."""
    night = a_night("1")
    await nights(database).begin(night.night, encode_night(night))
    other = nights(database, "elsewhere:1:2:3")
    with pytest.raises(LeaseLost, match="another process"):
        await other.take_over(night.night)


async def test_a_night_is_named_by_a_beginning_that_is_its_alone(database: Database) -> None:
    """A prefix that several have, or none, is refused with what to do."""
    for name in ("n-10", "n-11"):
        night = a_night("1", night=name)
        await nights(database).begin(name, encode_night(night))
    assert (await nights(database).row("n-10")).night == "n-10"
    assert [one.night for one in await nights(database).rows()] == ["n-11", "n-10"]
    for name in ("n-1", "x", ""):
        with pytest.raises(NoSuchRun):
            await nights(database).row(name)


async def test_what_nobody_can_read_is_told(database: Database) -> None:
    """Damaged records raise an error of ours, not a traceback."""
    kept = await nights(database).begin("n-9", b"{}")
    await kept.append([("k", "Unknown", b"{}")])
    with pytest.raises(JournalError):
        decode_night((await nights(database).row("n-9")).record)
    with pytest.raises(JournalError, match="cannot be read"):
        decode_events(await kept.events())


async def test_whoever_looks_on_stops_nothing(database: Database) -> None:
    """A listener that raises changes nothing."""
    night = a_night("1")
    kept = await nights(database).begin(night.night, encode_night(night))

    async def broken(_: NightEvent, __: NightView) -> None:
        raise RuntimeError("no")

    book = NightBook(kept, NightView(night), broken)
    await book.emit(IssueBegun(REPO, "1", 1, "1-aa", 2.0))
    assert book.view.issues[REPO, "1"].standing == "working"
