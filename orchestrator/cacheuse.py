"""What the service's cache gave of what it could have given, and which marks pay.

Everything is told from the usage of replies and the time between requests; nothing is kept but
the last request's figures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from orchestrator.prefixes import difference
from orchestrator.prices import Price
from orchestrator.records import ModelReply, ModelRequest
from orchestrator.transcript import Life

LIFE_S: dict[Life, float] = {"5m": 300.0, "1h": 3600.0}
LEAST = 2048
"""Tokens below which nothing is said: the service keeps no shorter prefix, and counts roughly."""

SLACK = 0.05
"""Share of what was kept that may be missing before it is a miss."""

SLOW_SHARE = 0.8
"""Share of a mark's life after which a gap between two requests counts as slow."""

SAID = {
    "model_changed": "another model was asked",
    "system_changed": "the system prompt is not the same",
    "tools_changed": "the tools are not the same",
    "messages_changed": "an earlier message is not the same",
    "previous_message_not_found": "it does not know the request before",
    "unavailable": "it cannot tell why",
}

LEAST_TURNS = 5


def expected_turns(done: int, left: int | None) -> int:
    """Return how many turns are to come: half as many as were, for want of anything better."""
    guess = max(LEAST_TURNS, done // 2)
    return guess if left is None else max(min(guess, left), 0)


class CacheUse:
    """How one session's requests use the cache.

    Args:
        price: the model's, by which marks are chosen.
        clock: tells the time between requests.
        marks: how long the service is asked to keep what it is sent; ``auto`` chooses.
        diagnose: whether the service is asked why its cache missed.

    Attributes:
        kept: tokens that the cache should have of the last request; None where nothing is known.
        turn: which turn that asked for.
        readable: tokens that could have been read so far.
        read: tokens that were.
        slow: gaps that a short mark does not outlive, or hardly.
        requests: how many were answered.
        new: tokens that were written, of all of them.
    """

    def __init__(
        self,
        price: Price | None,
        clock: Callable[[], float],
        *,
        marks: Literal["auto", "5m", "1h"] = "auto",
        diagnose: bool = False,
    ) -> None:
        self._price = price
        self._clock = clock
        self._marks = marks
        self.diagnose = diagnose
        self.kept: int | None = None
        self.turn = 0
        self.readable = self.read = self.slow = self.requests = self.new = 0
        self._request: ModelRequest | None = None
        self._life: Life = "5m"
        self._sent = self._before = 0.0

    def sending(self, life: Life, turns: int) -> Life:
        """Take note that a request is about to be sent, and return how long its marks are to last.

        Args:
            life: of the session's marks so far; long ones stay long.
            turns: how many more requests are expected.
        """
        now = self._clock()
        gap = now - self._sent
        if self.requests and SLOW_SHARE * LIFE_S["5m"] <= gap < LIFE_S["1h"]:
            self.slow += 1
        cold = self.is_cold()
        self._before, self._sent = self._sent, now
        if self._marks != "auto":
            return self._marks
        return "1h" if life == "1h" or self._long_marks_pay(turns, cold=cold) else "5m"

    def is_cold(self) -> bool:
        """Tell whether the cache has forgotten the last request."""
        return bool(self.requests) and self._clock() - self._sent > LIFE_S[self._life]

    def switch(self, price: Price | None) -> None:
        """Choose marks by another model's prices from here on."""
        self._price = price

    def rewritten(self, share: float) -> None:
        """Take note that only this share of the last request is as it was."""
        if self.kept is not None:
            self.kept = int(self.kept * share)
        self._request = None

    def replied(self, turn: int, request: ModelRequest, reply: ModelReply) -> str:
        """Take note of a reply, and return what was missed and why; empty where nothing was.

        Args:
            turn: which.
            request: what was asked.
            reply: the answer.
        """
        usage = reply.usage
        missed = self._missed(turn, request, reply)
        written = usage.cache_write_tokens + usage.cache_write_1h_tokens
        if self.kept is not None:
            self.readable += max(self.kept, usage.cache_read_tokens)
            self.read += usage.cache_read_tokens
        self.new += written
        self.requests += 1
        self.kept = usage.cache_read_tokens + written
        self.turn, self._life, self._request = turn, request.life, request
        return missed

    def _missed(self, turn: int, request: ModelRequest, reply: ModelReply) -> str:
        kept, read = self.kept, reply.usage.cache_read_tokens
        if kept is None or kept < LEAST or read >= kept * (1 - SLACK) - LEAST / 2:
            return ""
        of = f"{read / 1000:.0f}k of {kept / 1000:.0f}k cached tokens"
        return f"turn {turn} read {of}: {self._reason(request, reply)}"

    def _reason(self, request: ModelRequest, reply: ModelReply) -> str:
        before = self._request
        if before is not None and before.model != request.model:
            return f"{request.model} was asked, and {before.model} before"
        changed = difference(before, request) if before is not None else ""
        if changed:
            return f"{changed} of the request is not what it was in turn {self.turn}"
        if self._sent - self._before > LIFE_S[self._life]:
            life = "an hour" if self._life == "1h" else "5 minutes"
            return f"more than {life} since turn {self.turn}"
        if reply.cache_miss:
            return f"the service says: {SAID.get(reply.cache_miss, reply.cache_miss)}"
        return "the service gives no reason, and the request is the same up to there"

    @property
    def share(self) -> float:
        """Return how much was read of what could have been; 1 where there was nothing to read."""
        return self.read / self.readable if self.readable else 1.0

    def _long_marks_pay(self, turns: int, *, cold: bool) -> bool:
        """Tell whether marks that last an hour are expected to cost less from here on."""
        price = self._price
        if price is None or not self.slow or not self.requests or self.kept is None:
            return False
        saved = self.slow / self.requests * turns * self.kept
        written = (self.kept if cold else 0) + self.new / self.requests * (turns + 1)
        return saved * (price.cache_write - price.cache_read) > written * (
            price.cache_write_1h - price.cache_write
        )
