"""The moment at which a night is over, as people write it."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from orchestrator.errors import ConfigError

CLOCK = re.compile(r"(?P<hour>\d{1,2}):(?P<minute>\d{2})")
AFTER = re.compile(r"\+?(?:(?P<hours>\d{1,4})h)?(?:(?P<minutes>\d{1,5})m(?:in)?)?")
HINT = "like 06:00, +8h, +90m or 2026-11-30T06:00"
DAYS = 3
"""Days that are looked at for the next such moment; the one after a skipped hour is among them."""


def moment(said: str, now: float, *, zone: tzinfo | None = None) -> float:
    """Return the moment that is meant, in seconds since 1970.

    ``06:00`` is the next time that a clock on the wall shows it. In the night when clocks go
    forward, a time that is left out is the moment by the old clock; when they go back, a time that
    comes twice is the one that comes next.

    Args:
        said: a time of day, a time from now, or a date and time of ISO 8601.
        now: seconds since 1970.
        zone: whose clock is meant; None is this machine's.

    Raises:
        ConfigError: it is none of these, or has passed.
    """
    said = said.strip()
    clock = CLOCK.fullmatch(said)
    if clock is not None:
        return _next(int(clock["hour"]), int(clock["minute"]), now, zone, said)
    after = AFTER.fullmatch(said)
    if after is not None and (after["hours"] or after["minutes"]):
        seconds = int(after["hours"] or 0) * 3600 + int(after["minutes"] or 0) * 60
        return _later(now + seconds, now, said)
    return _later(_iso(said, zone), now, said)


def _next(hour: int, minute: int, now: float, zone: tzinfo | None, said: str) -> float:
    try:
        wanted = time(hour, minute)
    except ValueError:
        raise ConfigError(f"--until: {said} is no time of day", hint=HINT) from None
    today = datetime.fromtimestamp(now, zone).date()
    for days in range(DAYS):
        day = today + timedelta(days=days)
        found = [one for one in _on(day, wanted, zone) if one > now]
        if found:
            return found[0]
    raise ConfigError(f"--until: {said} never comes", hint=HINT)


def _on(day: date, wanted: time, zone: tzinfo | None) -> list[float]:
    """Return when a clock shows a time on a day: mostly once, twice when clocks go back.

    On a day that leaves it out, it is the moment at which a clock that was not set would show it.
    """
    both = [datetime.combine(day, wanted, zone).replace(fold=fold).timestamp() for fold in (0, 1)]
    shown = [one for one in both if _clock(one, zone) == (day, wanted)]
    return sorted(set(shown or both[:1]))


def _clock(at: float, zone: tzinfo | None) -> tuple[date, time]:
    local = datetime.fromtimestamp(at, zone)
    return local.date(), local.time().replace(tzinfo=None, fold=0)


def _iso(said: str, zone: tzinfo | None) -> float:
    try:
        given = datetime.fromisoformat(said)
    except ValueError:
        raise ConfigError(f"--until: {said!r} is no moment", hint=HINT) from None
    if given.tzinfo is None and zone is not None:
        given = given.replace(tzinfo=zone)
    return given.timestamp()


def _later(at: float, now: float, said: str) -> float:
    if at <= now:
        when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        raise ConfigError(f"--until: {said} has passed ({when})", hint=HINT)
    return at
