"""How long runs were worked on, as the journal tells it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.events import Event, RunParked, RunResumed, RunStarted
from orchestrator.journals.history import worked_s
from orchestrator.journals.sqlite import SqliteJournal
from tests.builders import a_definition, a_reply_event, a_run, an_outcome

pytestmark = pytest.mark.asyncio


class Clock:
    """Gives one moment after the other."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time that the journal notes."""
    clock = Clock()
    monkeypatch.setattr("time.time", clock)
    return clock


@pytest.fixture
def journal(tmp_path: Path, clock: Clock) -> Iterator[SqliteJournal]:
    """A journal."""
    made = SqliteJournal(tmp_path / "journal.db", owner="here:boot:1:1")
    yield made
    made.close()


async def test_time_between_parking_and_going_on_is_no_work(
    journal: SqliteJournal, clock: Clock
) -> None:
    """A run that was parked over the weekend was worked on for minutes."""
    run = a_run()
    kept = await journal.begin(run)
    steps: list[tuple[float, Event]] = [
        (0, RunStarted(run, a_definition())),
        (60, a_reply_event(turn=1)),
        (30, RunParked(1, an_outcome(status="cancelled"))),
        (200_000, RunResumed(2, run)),
        (45, a_reply_event(turn=2)),
    ]
    for after, event in steps:
        clock.now += after
        await kept.append(event)
    assert await worked_s(journal.database, 10) == {run.run_id: 135.0}


async def test_the_newest_runs_are_told(journal: SqliteJournal, clock: Clock) -> None:
    """No more runs than asked for are looked at, the newest first."""
    for number in (1, 2, 3):
        clock.now += 1000
        run = a_run(run_id=f"{number}-a", repo=f"repo{number}")
        kept = await journal.begin(run)
        await kept.append(RunStarted(run, a_definition()))
        clock.now += 10 * number
        await kept.append(a_reply_event())
    assert await worked_s(journal.database, 2) == {"3-a": 30.0, "2-a": 20.0}
