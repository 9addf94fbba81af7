"""When a night is over, also in the two nights of the year whose clocks are set."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from orchestrator.batches.until import moment
from orchestrator.errors import ConfigError

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 11, 29, 12, 0, tzinfo=UTC).timestamp()


def shown(at: float, zone: ZoneInfo = BERLIN) -> str:
    """Return what the clock shows, with its distance from UTC."""
    return datetime.fromtimestamp(at, zone).isoformat()


@pytest.mark.parametrize(
    ("now", "said", "then"),
    [
        ("2026-11-29T22:00+01:00", "06:00", "2026-11-30T06:00:00+01:00"),
        ("2026-11-29T05:59+01:00", "6:00", "2026-11-29T06:00:00+01:00"),
        ("2026-11-29T06:00+01:00", "06:00", "2026-11-30T06:00:00+01:00"),
        ("2026-12-31T23:00+01:00", "06:00", "2027-01-01T06:00:00+01:00"),
        # Clocks go forward: the night has an hour less.
        ("2026-03-28T22:00+01:00", "06:00", "2026-03-29T06:00:00+02:00"),
        ("2026-03-28T22:00+01:00", "02:30", "2026-03-29T03:30:00+02:00"),
        ("2026-03-29T03:30+02:00", "02:30", "2026-03-30T02:30:00+02:00"),
        # Clocks go back: half past two comes twice.
        ("2026-10-24T22:00+02:00", "06:00", "2026-10-25T06:00:00+01:00"),
        ("2026-10-24T22:00+02:00", "02:30", "2026-10-25T02:30:00+02:00"),
        ("2026-10-25T02:30+02:00", "02:30", "2026-10-25T02:30:00+01:00"),
        ("2026-10-25T02:30+01:00", "02:30", "2026-10-26T02:30:00+01:00"),
    ],
)
def test_a_time_of_day_is_the_next_one(now: str, said: str, then: str) -> None:
    """A time of day is the next moment at which a clock shows it."""
    at = moment(said, datetime.fromisoformat(now).timestamp(), zone=BERLIN)
    assert shown(at) == then


@pytest.mark.parametrize(
    ("said", "seconds"), [("+8h", 28800), ("8h", 28800), ("+90m", 5400), ("+1h30m", 5400)]
)
def test_a_time_from_now(said: str, seconds: int) -> None:
    """Hours and minutes count from now."""
    assert moment(said, NOON) == NOON + seconds


def test_dates_and_times() -> None:
    """A date and time is meant by this clock, unless it says which it is."""
    assert shown(moment("2026-11-30T06:00", NOON, zone=BERLIN)) == "2026-11-30T06:00:00+01:00"
    assert moment("2026-11-30T06:00Z", NOON) == datetime(2026, 11, 30, 6, tzinfo=UTC).timestamp()


def test_the_clock_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a zone the machine's own clock is meant, with its own rules."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        now = datetime(2026, 3, 28, 21, 0, tzinfo=UTC).timestamp()
        assert shown(moment("06:00", now)) == "2026-03-29T06:00:00+02:00"
        assert shown(moment("2026-03-29T06:00", now)) == "2026-03-29T06:00:00+02:00"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("said", ["24:00", "6", "six", "", "+", "-8h", "6:5", "2026-13-01T06:00"])
def test_what_is_no_moment_is_told(said: str) -> None:
    """What cannot be read is refused, with forms that can."""
    with pytest.raises(ConfigError, match="is no"):
        moment(said, NOON)


@pytest.mark.parametrize("said", ["2026-11-29T11:59Z", "+0h"])
def test_the_past_is_told(said: str) -> None:
    """A moment that has passed is refused."""
    with pytest.raises(ConfigError, match="has passed"):
        moment(said, NOON)
