"""What the cache gave is watched: a miss is told with its reason, and marks last as long as pays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.cacheuse import CacheUse, expected_turns
from orchestrator.prices import with_cache_rates
from orchestrator.records import ModelReply, ModelRequest, Usage
from orchestrator.transcript import Life, encode_message, text_block
from tests.builders import a_request

PRICE = with_cache_rates(4, 20)


class Session:
    """Requests that grow, one after the other, on a clock of their own."""

    def __init__(self, **more: object) -> None:
        self.now = 0.0
        self.use = CacheUse(PRICE, lambda: self.now, **more)  # type: ignore[arg-type]
        self.request = a_request(encode_message("user", [text_block("0")]))
        self.turn = 0
        self.life: Life = "5m"
        self.size = 40_000

    def next(
        self,
        *,
        after: float = 10.0,
        read: int | None = None,
        said: str = "",
        turns: int = 20,
        request: ModelRequest | None = None,
    ) -> str:
        """Ask after some seconds, and have the cache give so much; return what is told."""
        self.now += after
        self.turn += 1
        self.life = self.use.sending(self.life, turns)
        message = encode_message("user", [text_block(str(self.turn))])
        before = request or self.request
        self.request = replace(before, messages=(*before.messages, message), life=self.life)
        kept = self.size if self.turn > 1 else 0
        given = kept if read is None else read
        self.size = max(kept, self.size) + 1000
        usage = Usage(cache_read_tokens=given, cache_write_tokens=self.size - given)
        reply = ModelReply((), "tool_use", usage, cache_miss=said)
        return self.use.replied(self.turn, self.request, reply)


def test_nothing_is_told_while_all_is_read() -> None:
    """A session that reads what it wrote has nothing to tell, and all of what can be read."""
    session = Session()
    assert [session.next() for _ in range(10)] == [""] * 10
    assert session.use.share == 1.0


def test_a_gap_is_the_reason() -> None:
    """What is read too late is missed for the time that passed."""
    session = Session()
    session.next()
    session.next()
    told = session.next(after=301.0, read=0)
    assert told == "turn 3 read 0k of 42k cached tokens: more than 5 minutes since turn 2"
    assert session.use.share < 1


def test_the_service_says_why() -> None:
    """What the service says of a miss is told in words; a word that is new is told as it is."""
    session = Session()
    session.next()
    told = session.next(read=3000, said="tools_changed")
    assert told == (
        "turn 2 read 3k of 41k cached tokens: the service says: the tools are not the same"
    )
    assert session.next(read=0, said="moon_changed").endswith("the service says: moon_changed")


def test_a_change_of_ours_is_named() -> None:
    """Where our own request is not what it was, the part that changed is the reason."""
    session = Session()
    session.next()
    other = replace(session.request, messages=(encode_message("user", [text_block("x")]),))
    told = session.next(read=0, request=other)
    assert told.endswith("message 1 of the request is not what it was in turn 1")
    session.next()
    told = session.next(read=0, request=replace(session.request, model="claude-haiku-5-5"))
    assert told.endswith("claude-haiku-5-5 was asked, and claude-opus-5-5 before")


def test_without_a_reason_that_is_said() -> None:
    """A miss for which there is no reason is told as one."""
    session = Session()
    session.next()
    assert "gives no reason" in session.next(read=0)


def test_what_we_rewrote_is_no_miss() -> None:
    """After old results were left out only the part before them can be read."""
    session = Session()
    session.next()
    session.use.rewritten(0.25)
    assert session.next(read=10_000) == ""


def test_small_prompts_are_not_told_of() -> None:
    """A service that counts no cache, or too little of it, is not complained of."""
    session = Session()
    session.size = 1000
    session.next()
    session.size = 1000
    assert session.next(read=0) == ""


def test_short_marks_where_turns_are_quick() -> None:
    """Quick turns never pay for marks that last an hour."""
    session = Session()
    for _ in range(50):
        session.next(after=30.0)
    assert session.life == "5m"


@pytest.mark.parametrize("gap", [280.0, 400.0])
def test_long_marks_where_turns_are_slow(gap: float) -> None:
    """Gaps that a short mark does not outlive, or hardly, make marks last an hour, and they stay."""
    session = Session()
    for _ in range(6):
        session.next(after=gap, read=None if gap < 300 else 0)
    assert session.life == "1h"
    session.next(after=10.0)
    assert session.life == "1h"
    assert session.next(after=1000.0) == "", "an hour has not passed"
    assert session.next(after=3601.0, read=0).endswith("more than an hour since turn 8")


def test_one_long_night_is_no_reason() -> None:
    """A gap that not even an hour's mark outlives says nothing for such marks."""
    session = Session()
    for _ in range(5):
        session.next(after=5000.0, read=0)
    assert session.life == "5m"


@pytest.mark.parametrize("seed", range(20))
def test_the_choice_of_marks_is_by_price(seed: int) -> None:
    """Long marks are chosen exactly where they are expected to cost less, counted turn by turn."""
    kept, new, turns, slow, of = (
        10_000 + 5_000 * seed,
        500 + 400 * (seed % 5),
        1 + seed,
        1 + seed % 3,
        20,
    )
    use = CacheUse(PRICE, lambda: 0.0)
    use.kept, use.new, use.requests, use.slow = kept, new * of, of, slow
    often = slow / of
    short = (turns + 1) * new * PRICE.cache_write + often * turns * kept * (
        PRICE.cache_write - PRICE.cache_read
    )
    long = (turns + 1) * new * PRICE.cache_write_1h
    assert (use.sending("5m", turns) == "1h") == (long < short)


def test_marks_can_be_said() -> None:
    """Who knows that all turns are slow, as a lane of batches does, says so."""
    assert Session(marks="1h").use.sending("5m", 10) == "1h"
    assert Session(marks="5m").use.sending("1h", 10) == "5m"


def test_turns_to_come() -> None:
    """Half as many as were are expected, and no more than are left."""
    assert [expected_turns(2, None), expected_turns(40, None)] == [5, 20]
    assert [expected_turns(40, 3), expected_turns(40, -1)] == [3, 0]
