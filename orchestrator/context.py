"""When a transcript is to be made shorter, and by what: decided by price, and by what must stay.

Leaving something out changes the bytes from there on, so all that follows is written to the
service's cache anew; what is left out is not read again on any later turn. Both have a price.
Everything here is a function of the transcript and of what its last reply took, so a resumed run
decides as it would have.
"""

from __future__ import annotations

import math
from dataclasses import field
from typing import Literal

from orchestrator.prices import Price
from orchestrator.values import frozen
from orchestrator.weighing import History, Result, recent

FLOOR_TOKENS = 24_000
"""Below this a transcript is left alone, unless that is much of the model's window."""

FLOOR_SHARE = 0.3
GROWTH = 1.2
"""A decision is due whenever the transcript has grown by this factor."""


REGROWTH = 2.0
"""By how much a transcript that was made shorter has to grow before it is looked at again."""

REREAD = 0.1
"""Share of what is left out that the model is taken to ask for again."""

REREAD_OUTPUT = 150
"""Tokens of the reply that asks for it."""

SUMMARY = 2_500
"""Tokens of a summary."""

LOST_TURNS = 6
"""Turns that a summary is taken to cost until the model has found its way again."""

COMPACT_SHARE = 0.4
"""Share of the window below which no summary is asked for, whatever it would save."""

LEAST_GAIN = 1.5
"""A change has to save this many readings of the whole prompt: the estimates are rough."""


TAIL_SHARE = 0.15
"""Share of the window that the turns which follow a summary may take."""

TAIL_MOST = 12
USUAL_ROOM = 200_000.0


@frozen
class Outlook:
    """What a decision depends on beside the transcript.

    Attributes:
        price: the model's; None where it has none, and only a full window counts.
        window: tokens of prompt and reply together; 0 where that is not known.
        reserve: tokens of the window that are kept for the reply.
        turns: how many more are expected.
        full: share of the window at which something has to be done.
        cold: whether the cache has nothing any more, so that changing it costs nothing.
        most: the most tokens that a request may have; a service has said so. 0 means nothing has.
    """

    price: Price | None
    window: int
    reserve: int
    turns: int
    full: float = 0.8
    cold: bool = False
    most: int = 0

    @property
    def room(self) -> float:
        """Return the most tokens that a prompt may have; infinite where that is not known."""
        known = [
            one for one in (self.window - self.reserve if self.window else 0, self.most) if one
        ]
        return min(known, default=math.inf)


@frozen
class Decision:
    """What is to be done with a transcript.

    Attributes:
        clear: results to leave out; with ``compact`` it is empty.
        gain: dollars that this is expected to save.
        tokens: how many tokens less the next request has.
        forced: whether it is done for want of room, not for the price.
    """

    kind: Literal["clear", "compact"]
    clear: tuple[Result, ...] = ()
    gain: float = 0.0
    tokens: float = 0.0
    forced: bool = False
    why: str = field(default="", compare=False)


def due(before: float, after: float, *, floor: float) -> bool:
    """Tell whether a transcript has grown enough since the last request to look at it again.

    Args:
        before: its size at the last request.
        after: its size now.
        floor: the size below which it is left alone.
    """
    return after >= floor and _step(after, floor) > _step(before, floor)


def _step(size: float, floor: float) -> int:
    return -1 if size < floor else int(math.log(size / floor, GROWTH))


def floor_tokens(outlook: Outlook, shortened: float = 0.0) -> float:
    """Return the tokens below which a transcript is left alone.

    Args:
        outlook: what it must fit.
        shortened: its tokens when it was last made shorter.
    """
    return max(min(FLOOR_TOKENS, FLOOR_SHARE * outlook.room), REGROWTH * shortened)


def decide(history: History, outlook: Outlook, *, clear: bool, compact: bool) -> Decision | None:
    """Return what to do with a transcript now; None to leave it as it is.

    Args:
        history: the transcript.
        outlook: what it costs and what it must fit.
        clear: whether results may be left out.
        compact: whether a summary may be asked for.
    """
    forced = history.tokens >= outlook.full * outlook.room
    found: list[Decision] = []
    if clear:
        found += [best_clearing(history, outlook)] if outlook.price is not None else []
        if forced:
            found.append(clearing_all(history))
    if compact and history.tokens >= COMPACT_SHARE * outlook.room:
        found.append(compacting(history, outlook))
    if not forced:
        price = outlook.price
        least = LEAST_GAIN * history.tokens * price.cache_read / 1e6 if price else math.inf
        worth = [one for one in found if one.gain > least and one.tokens > 0]
        return max(worth, key=lambda one: one.gain, default=None)
    enough = outlook.full * outlook.room * 0.75
    fits = [one for one in found if history.tokens - one.tokens <= enough]
    best = max(fits or found, key=lambda one: one.gain if fits else one.tokens, default=None)
    if best is None or best.tokens <= 0:
        return None
    return Decision(best.kind, best.clear, best.gain, best.tokens, forced=True)


def best_clearing(history: History, outlook: Outlook) -> Decision:
    """Return the set of results whose leaving out saves most; maybe the empty one.

    All that follows the first result left out is written anew, whatever else is left out behind it.
    So for each place where to begin, the best set is every result behind it that saves by itself.
    """
    price = outlook.price
    if price is None:
        return Decision("clear")
    read, write = price.cache_read, price.cache_write
    known = len(history.messages) - history.new
    behind = _suffixes(history)
    best, best_at = 0.0, len(history.results)
    saved = 0.0
    for at in range(len(history.results) - 1, -1, -1):
        one = history.results[at]
        gain = worth(one, history, outlook)
        if gain <= 0 or one.message >= known:
            continue
        saved += gain
        rewritten = 0.0 if outlook.cold else (write - read) * behind[one.message]
        if saved - rewritten > best:
            best, best_at = saved - rewritten, at
    chosen = tuple(
        one
        for one in history.results[best_at:]
        if one.message < known and worth(one, history, outlook) > 0
    )
    return Decision("clear", chosen, best / 1e6, sum(one.saved for one in chosen))


def worth(result: Result, history: History, outlook: Outlook) -> float:
    """Return what leaving one result out saves by itself, in millionths of a dollar.

    That all behind it is written anew is paid for once, whatever else is left out.
    """
    price = outlook.price
    if price is None or result.needed or result.saved <= 0:
        return 0.0
    read, write = price.cache_read, price.cache_write
    saves = result.saved * (write + read * outlook.turns)
    again = result.saved * (write + read * outlook.turns / 2)
    again += history.tokens * read + REREAD_OUTPUT * price.output
    return saves - REREAD * again


def _suffixes(history: History) -> list[float]:
    """Return, for each message, the tokens from it on that the cache knows."""
    known = len(history.messages) - history.new
    behind = [0.0] * (len(history.messages) + 1)
    for index in range(known - 1, -1, -1):
        behind[index] = behind[index + 1] + history.messages[index]
    return behind


def clearing_all(history: History) -> Decision:
    """Return the leaving out of everything that may be, for want of room."""
    last = recent(history.results)
    chosen = tuple(one for one in history.results if one.saved > 0 and one.message < last)
    chosen = tuple(one for one in chosen if not one.needed) or chosen
    return Decision("clear", chosen, 0.0, sum(one.saved for one in chosen))


def compacting(history: History, outlook: Outlook) -> Decision:
    """Return the price of having a summary stand for older turns."""
    tail = sum(history.messages[-tail_length(history, outlook) :] or [0.0])
    first = history.messages[0] if history.messages else 0.0
    after = history.head + first + SUMMARY + tail
    tokens = history.tokens - after
    price = outlook.price
    if price is None or tokens <= 0:
        return Decision("compact", gain=0.0, tokens=max(tokens, 0.0))
    read, write = price.cache_read, price.cache_write
    again = write if outlook.cold else read
    asked = again * history.tokens + price.output * SUMMARY
    lost = LOST_TURNS * (read * after + 2 * REREAD_OUTPUT * price.output)
    lost += REREAD * write * history.tokens
    then = read * history.head + write * (after - history.head) + read * after * outlook.turns
    stays = again * history.tokens + read * history.tokens * outlook.turns
    return Decision("compact", gain=(stays - asked - lost - then) / 1e6, tokens=tokens)


def tail_length(history: History, outlook: Outlook) -> int:
    """Return how many of the latest messages follow a summary: whole turns, the first a reply's."""
    room = outlook.room if math.isfinite(outlook.room) else USUAL_ROOM
    best, spent = 0, 0.0
    for count in range(1, min(len(history.messages), TAIL_MOST + 1)):
        spent += history.messages[-count]
        if spent > TAIL_SHARE * room:
            break
        if history.replies[-count] and not history.replies[-count - 1]:
            best = count
    return best
