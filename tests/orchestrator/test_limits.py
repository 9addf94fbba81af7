"""What a run may still use up: reserved before a request, settled after its reply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts import RUN
from orchestrator.amounts import Reached
from orchestrator.limits import LEAST_OUTPUT, USUAL_OUTPUT, Ledger
from orchestrator.prices import Price, with_cache_rates
from orchestrator.records import Limits, ModelRequest, Usage
from tests.builders import a_request

OPUS = with_cache_rates(4, 20)


def a_ledger(
    price: Price | None = OPUS, *, max_output: int = 128_000, elapsed: float = 0.0, **limits: Any
) -> Ledger:
    """Build the account of a run with these limits."""
    return Ledger(Limits(**limits), price, max_output=max_output, elapsed_s=lambda: elapsed)


def sized(size: int) -> ModelRequest:
    """Build a request of so many bytes."""
    return a_request(b"x" * (size - 1), head=b"")


def book(ledger: Ledger, size: int, usage: Usage) -> None:
    """Settle a reply at its price."""
    ledger.settle(size, usage, ledger.cost(usage))


def test_without_a_dollar_limit_nothing_is_reserved() -> None:
    """A run without a dollar limit may always ask for the most that the model can answer."""
    for ledger in (a_ledger(), a_ledger(price=None)):
        reservation = ledger.reserve(sized(10**6))
        assert reservation is not None
        assert (reservation.usd, reservation.max_tokens) == (0.0, 128_000)


def test_a_reservation_covers_the_input_and_the_usual_output() -> None:
    """Reserved is the input at the price of writing it to the cache, and a usual reply."""
    reservation = a_ledger(usd=100).reserve(sized(3_000_000))
    assert reservation is not None
    assert reservation.usd == pytest.approx(5.0 + USUAL_OUTPUT * 20 / 1e6)
    assert reservation.max_tokens == 128_000


def test_the_usual_output_is_learnt() -> None:
    """Once a reply was longer than usual, as much is reserved for the next."""
    ledger = a_ledger(usd=100)
    before = ledger.reserve(sized(3000))
    book(ledger, 3000, Usage(input_tokens=1000, output_tokens=50_000))
    after = ledger.reserve(sized(3000))
    assert before is not None
    assert after is not None
    assert after.usd - before.usd > (50_000 - USUAL_OUTPUT - 1000) * 20 / 1e6


def test_what_was_sent_before_is_read_from_the_cache() -> None:
    """Bytes that were sent in the last request are reserved at the price of reading them."""
    ledger = a_ledger(usd=100)
    fresh = ledger.input_usd(sized(300_000))
    book(ledger, 300_000, Usage(cache_write_tokens=100_000))
    assert ledger.input_usd(sized(300_000)) == pytest.approx(fresh * 0.1 / 1.25)


def test_the_runs_own_ratio_of_bytes_to_tokens_is_used() -> None:
    """From the first reply on, the run's own text says how many tokens its bytes are."""
    ledger = a_ledger(usd=100)
    book(ledger, 1000, Usage(input_tokens=500))
    assert ledger.input_usd(sized(3000)) == pytest.approx((500 * 0.4 + 1000 * 5.0) / 1e6)


def test_the_reply_is_cut_to_what_is_left() -> None:
    """A request may ask for no more output than the rest of the money pays."""
    reservation = a_ledger(usd=0.1).reserve(sized(3))
    assert reservation is not None
    assert reservation.max_tokens == int((0.1 - 5 / 1e6) / (20 / 1e6))


def test_a_reply_too_short_to_be_of_use_is_not_asked_for() -> None:
    """When not even a short reply can be paid for, there is no reservation."""
    just = LEAST_OUTPUT * 20 / 1e6
    assert a_ledger(usd=just - 1e-6).reserve(sized(3)) is None
    assert a_ledger(usd=just + 1e-5).reserve(sized(3)) is not None
    assert a_ledger(usd=0).reserve(sized(3)) is None


def test_a_dear_input_is_not_sent_because_its_output_is_free() -> None:
    """A request whose input alone passes the limit is not sent, whatever its output costs."""
    assert a_ledger(with_cache_rates(10, 0), usd=1.0).reserve(sized(3_000_000)) is None


@dataclass(frozen=True)
class Exchange:
    """One request and its reply: what was added, and how much of it was as it had been estimated."""

    added: int
    prompt_tokens: int
    cached_share: float
    output_share: float
    lost: bool


EXCHANGES = st.lists(
    st.builds(
        Exchange,
        added=st.integers(1, 400_000),
        prompt_tokens=st.integers(0, 500_000),
        cached_share=st.floats(0, 1),
        output_share=st.floats(0, 1),
        lost=st.booleans(),
    ),
    max_size=30,
)


@given(
    exchanges=EXCHANGES,
    usd=st.floats(0, 20),
    prices=st.tuples(st.floats(0, 20), st.floats(0.01, 100)),
    max_output=st.integers(1, 128_000),
)
def test_a_cap_is_passed_by_no_more_than_one_misjudged_input(
    exchanges: list[Exchange], usd: float, prices: tuple[float, float], max_output: int
) -> None:
    """However requests and replies go, the cap holds but for what one input cost more than estimated."""
    ledger = a_ledger(with_cache_rates(*prices), max_output=max_output, usd=usd)
    size = 0
    misjudged = 0.0
    for exchange in exchanges:
        size += exchange.added
        request = sized(size)
        reservation = None if ledger.reached() else ledger.reserve(request)
        if reservation is None:
            break
        assert 0 < reservation.max_tokens <= max_output
        assert reservation.usd <= usd - ledger.spent_usd + 1e-9
        estimated = ledger.input_usd(request)
        if exchange.lost:
            ledger.lose(estimated)
            continue
        cached = int(exchange.prompt_tokens * exchange.cached_share)
        given_in = Usage(
            cache_read_tokens=cached, cache_write_tokens=exchange.prompt_tokens - cached
        )
        written = Usage(output_tokens=int(reservation.max_tokens * exchange.output_share))
        misjudged = max(ledger.cost(given_in) - estimated, 0.0)
        book(ledger, size, given_in + written)
        if ledger.spent_usd > usd:
            break
    assert ledger.spent_usd <= usd + misjudged + 1e-9


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 10**5)), max_size=10))
def test_the_account_adds_up(replies: list[tuple[int, int]]) -> None:
    """Spent are all replies and all losses; turns are replies only."""
    ledger = a_ledger(usd=10.0)
    for size, tokens in replies:
        book(ledger, size, Usage(input_tokens=tokens))
        ledger.lose(0.5)
    total = sum(tokens for _, tokens in replies)
    assert ledger.turns == len(replies)
    assert ledger.usage == Usage(input_tokens=total)
    assert ledger.spent_usd == pytest.approx(total * 4 / 1e6 + 0.5 * len(replies))


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"turns": 2}, None),
        ({"turns": 1}, Reached("turns", RUN, "the limit of 1 turn")),
        ({"usd": 4.5}, None),
        ({"usd": 4.0}, Reached("usd", RUN, "the limit of $4")),
        ({"wall_s": 601, "elapsed": 600}, None),
        ({"wall_s": 600, "elapsed": 600}, Reached("wall_s", RUN, "the limit of 10 minutes")),
        ({}, None),
    ],
)
def test_a_limit_that_is_reached_is_named(limits: dict[str, Any], said: Reached | None) -> None:
    """After a turn for four dollars, the limit that this reaches is named, and no other."""
    ledger = a_ledger(**limits)
    book(ledger, 10, Usage(input_tokens=1_000_000))
    assert ledger.reached() == said


def test_the_model_is_told_once_when_money_or_time_run_out() -> None:
    """At four fifths of the money, and of the time, the model is told to come to an end, once each."""
    ledger = a_ledger(usd=5.0, wall_s=100, elapsed=90)
    book(ledger, 10, Usage(input_tokens=1_000_000))
    assert "80% of this run's money" in ledger.notice()
    assert "90% of this run's time" in ledger.notice()
    assert ledger.notice() == ""


def test_the_model_is_told_of_its_last_turns() -> None:
    """When three turns are left, and when one is, the model is told."""
    ledger = a_ledger(turns=5)
    told = []
    for _ in range(5):
        book(ledger, 10, Usage())
        told.append(ledger.notice().partition(" of ")[0])
    assert told == ["", "3", "", "1", ""]
