"""What a run's requests must cost at least, whatever marks they bear, and what of them was cached.

A transcript only grows, so what one request sends, the next one sends again. Whatever is new in a
request is paid in full each time, or written to the cache once and read on every later request: the
cheaper of the two, token by token, is the least that the bytes sent can cost.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Prices:
    """Dollars per million tokens; the cache's as shares of the input's."""

    input: float = 5.0
    output: float = 25.0
    read: float = 0.1
    write: float = 1.25


@dataclass(frozen=True)
class Asked:
    """One request of a conversation, in order: tokens, as the service counted."""

    prompt: int
    read: int
    output: int


def could_be_read(requests: Sequence[Asked]) -> int:
    """Return the tokens that an earlier request of the conversation has sent already."""
    return sum(min(before.prompt, after.prompt) for before, after in itertools.pairwise(requests))


def read_share(requests: Sequence[Asked]) -> float:
    """Return how much was read of what could have been; 1 where nothing could."""
    could = could_be_read(requests)
    return sum(one.read for one in requests[1:]) / could if could else 1.0


def least_usd(requests: Sequence[Asked], prices: Prices) -> float:
    """Return the least that these bytes and replies can cost."""
    total, sent = 0.0, 0
    for number, one in enumerate(requests):
        new = max(one.prompt - sent, 0)
        later = sum(after.prompt >= one.prompt for after in requests[number + 1 :])
        once = prices.write + later * prices.read
        always = 1.0 + later * 1.0
        total += new * min(once, always) * prices.input + one.output * prices.output
        # What became shorter is sent anew from where it differs, and nothing tells where that is.
        sent = one.prompt
    return total / 1e6
