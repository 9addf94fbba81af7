"""How long to wait for a service: what its headers say, within bounds of ours."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime

import anyio

from orchestrator.values import frozen

SECONDARY_S = 60.0
"""What GitHub asks to wait for at the least where a secondary limit names no time."""
LONGEST_BACKOFF_S = 30.0


@frozen
class Patience:
    """How long one request may take, all in all.

    Attributes:
        retries: further attempts after one that failed for a passing reason.
        backoff_s: seconds before the first of them; doubles each time.
        longest_wait_s: what all waiting for one request may come to.
        attempt_s: how long one attempt may take.
        wall: seconds since 1970, for limits that end at a time of day.
        sleep: waits.
        spread: between 0 and 1, so that many do not come back at once.
    """

    retries: int = 4
    backoff_s: float = 1.0
    longest_wait_s: float = 300.0
    attempt_s: float = 60.0
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    spread: Callable[[], float] = random.random

    def backoff(self, attempt: int) -> float:
        """Return the seconds before a further attempt; the first one is 0."""
        most = min(self.backoff_s * 2.0**attempt, LONGEST_BACKOFF_S)
        return most * (0.5 + self.spread() / 2)


def asked_wait(status: int, headers: Mapping[str, str], said: str, now: float) -> float | None:
    """Return how long a service wants to be left alone; None means it is not about its limits.

    Args:
        status: of the answer.
        headers: of the answer, their names in small letters.
        said: the answer's message.
        now: seconds since 1970.
    """
    after = retry_after(headers, now)
    spent = headers.get("x-ratelimit-remaining") == "0" or headers.get("ratelimit-remaining") == "0"
    about = "rate limit" in said.lower() or "ratelimited" in said.lower()
    if status == 429 or (status in {400, 403} and (about or spent)):
        if after is not None:
            return after
        reset = _reset(headers, now) if spent or not about else None
        return SECONDARY_S if reset is None else reset
    if status == 503:
        return after
    # Jira and others name a time with a refusal that has nothing to do with limits: only 403.
    return after if status == 403 else None


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds of ``retry-after``, a number or a date; nonsense counts as nothing."""
    text = headers.get("retry-after", "")
    seconds = _number(text)
    if seconds is None and text:
        try:
            seconds = max(parsedate_to_datetime(text).timestamp() - now, 0.0)
        except (ValueError, TypeError, OverflowError):
            return None
    return seconds


RESETS = ("x-ratelimit-reset", "ratelimit-reset", "x-ratelimit-requests-reset")


def _reset(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds until a limit is lifted, by the service's clock where it tells it."""
    with suppress(KeyError, ValueError, TypeError, OverflowError):
        now = parsedate_to_datetime(headers["date"]).timestamp()
    for name in RESETS:
        text = headers.get(name, "")
        at = _number(text)
        if at is None and text:
            try:
                at = datetime.fromisoformat(text).timestamp()
            except (ValueError, OverflowError):
                continue
        if at is None:
            continue
        if at > 1e11:  # in milliseconds
            at /= 1000
        # One second more, for both clocks show whole seconds.
        return max(at - now, 0.0) + 1.0
    return None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
