"""What a night is expected to take: learnt from runs, honest where nothing is known."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.batches.forecast import (
    Case,
    Past,
    ends_of,
    expected,
    foretold,
    quantile,
    together,
)
from orchestrator.batches.nights import Expected, Planned
from orchestrator.prices import with_cache_rates

CASE = Case("shop", "web", "opus", frozenset({"bug"}), 900, price=with_cache_rates(5, 25))
RUN = Past("shop", "web", "opus", frozenset({"bug"}), 900, usd=2.0, minutes=20.0, turns=30)


def planned(key: str, usd: float = 1.0, minutes: float = 10.0, **changes: Any) -> Planned:
    """Build an issue of a plan."""
    half = Expected(usd, usd / 2, usd * 2, minutes, minutes / 2, minutes * 2, from_runs=3)
    return replace(Planned("shop", key, expected=half), **changes)


def test_what_nothing_is_known_of_has_a_wide_range() -> None:
    """Without past runs the model's price and usual turns decide, and the range says so."""
    found = expected(CASE, [])
    assert found.from_runs == 0
    assert 0.2 < found.usd < 2
    assert found.usd_high / found.usd_low > 5
    assert expected(replace(CASE, price=with_cache_rates(10, 50)), []).usd == pytest.approx(
        2 * found.usd
    )
    assert expected(replace(CASE, size=20_000), []).usd > found.usd
    assert expected(replace(CASE, price=None), []).usd > 0


def test_runs_like_it_decide_soon() -> None:
    """With runs of the past the expectation comes near them, and the range narrows."""
    few = expected(CASE, [RUN] * 3)
    many = expected(CASE, [RUN] * 40)
    assert abs(many.usd - 2.0) < abs(few.usd - 2.0) < abs(expected(CASE, []).usd - 2.0)
    assert many.usd == pytest.approx(2.0, rel=0.1)
    assert many.minutes == pytest.approx(20.0, rel=0.1)
    assert many.usd_high - many.usd_low < few.usd_high - few.usd_low
    assert many.from_runs == 40


def test_runs_unlike_it_count_less() -> None:
    """Runs of the same agent and repository outvote more runs of others."""
    others = [replace(RUN, repo="other", agent="db", model="haiku", usd=30.0)] * 10
    assert expected(CASE, [RUN] * 10 + others).usd < 8
    assert expected(replace(CASE, repo="other", agent="db"), [RUN] * 10 + others).usd > 15
    assert expected(CASE, [RUN] * 10 + others).from_runs == 10
    labelled = [replace(RUN, labels=frozenset({"epic"}), size=9_000, usd=10.0)] * 10
    assert expected(CASE, [RUN] * 10 + labelled).usd < 6


def test_one_run_that_ran_away_does_not_move_the_rest() -> None:
    """An extreme run changes the expectation little."""
    usual = expected(CASE, [RUN] * 30).usd
    assert expected(CASE, [*[RUN] * 30, replace(RUN, usd=500.0)]).usd < 1.5 * usual


def test_no_run_is_expected_to_pass_its_own_limit() -> None:
    """A run's own limits bound what is expected of it, range and all."""
    found = expected(replace(CASE, most_usd=0.5, most_minutes=5), [RUN] * 5)
    assert found.usd_high <= 0.5
    assert found.minutes_high <= 5
    assert expected(replace(CASE, most_turns=5), []).usd < expected(CASE, []).usd / 2


def test_half_the_price_is_half_the_dollars() -> None:
    """Runs are learnt from at the normal price, whatever lane they had."""
    cheap = replace(CASE, share=0.5)
    assert expected(cheap, [RUN] * 40).usd == pytest.approx(1.0, rel=0.1)
    both = [replace(RUN, usd=1.0, share=0.5, minutes=200.0)] * 20 + [RUN] * 20
    assert expected(cheap, both).usd == pytest.approx(1.0, rel=0.1)
    assert expected(cheap, both).minutes > 100
    assert expected(CASE, both).minutes == pytest.approx(20.0, rel=0.2)


def test_forecasts_are_borne_out() -> None:
    """Of runs drawn like those of the past about one in ten is above and below the range."""
    dice = random.Random(4)

    def drawn() -> Past:
        return replace(RUN, usd=dice.lognormvariate(0.3, 0.8))

    found = expected(CASE, [drawn() for _ in range(200)])
    later = [drawn().usd for _ in range(2000)]
    below = sum(one < found.usd_low for one in later) / len(later)
    above = sum(one > found.usd_high for one in later) / len(later)
    assert 0.05 < below < 0.16
    assert 0.05 < above < 0.16
    assert found.usd == pytest.approx(sum(later) / len(later), rel=0.2)


def test_quantiles_of_weighted_values() -> None:
    """Weights move a quantile as that many values would."""
    assert quantile([(1.0, 1.0)], 0.9) == 1.0
    assert quantile([(1.0, 1.0), (3.0, 1.0)], 0.5) == 2.0
    assert quantile([(1.0, 9.0), (3.0, 1.0)], 0.5) < 1.3
    assert quantile([(1.0, 0.0), (3.0, 0.0001)], 0.5) == pytest.approx(3.0)


def test_a_nights_range_is_narrower_than_the_sum_of_ranges() -> None:
    """Not everything goes wrong at once, and things have something to do with each other."""
    plan = [planned(str(number)) for number in range(1, 41)]
    found = together(plan, 4)
    assert found.usd == pytest.approx(40)
    assert 40 + 40**0.5 < found.usd_high < 80
    assert 20 < found.usd_low < 40
    assert found.minutes == pytest.approx(100)
    assert found.minutes_low < 100 < found.minutes_high
    assert together([], 4).usd == 0


def test_the_clock_knows_of_blockers_files_and_room() -> None:
    """Issues are begun in order where there is room, after blockers, not beside the same files."""
    ends = ends_of(
        [
            planned("1"),
            planned("2", apart_from=("1",)),
            planned("3", blocked_by=("2",)),
            planned("4"),
        ],
        2,
    )
    assert ends == {("shop", "1"): 10, ("shop", "4"): 10, ("shop", "2"): 20, ("shop", "3"): 30}


def test_the_ceiling_leaves_out_what_it_cannot_pay_and_what_waits_for_it() -> None:
    """What does not fit is named; a cheaper one further on may still fit."""
    plan = [planned("1", 4), planned("2", 9), planned("3", 2, blocked_by=("2",)), planned("4", 3)]
    found = foretold(plan, parallel=1, ceiling_usd=10)
    assert found.left_out == {("shop", "2"): "ceiling", ("shop", "3"): "ceiling"}
    assert not found.fits
    assert found.expected.usd == 7
    assert found.wanted_usd == 18
    assert foretold(plan, parallel=1, ceiling_usd=18).fits
    assert not foretold(plan, parallel=1, ceiling_usd=18).surely_fits
    assert foretold(plan, parallel=1, ceiling_usd=40).surely_fits
    assert foretold(plan, parallel=1).surely_fits


def test_the_end_leaves_out_what_would_come_after_it() -> None:
    """What is not expected to end before the night does is named."""
    plan = [planned("1"), planned("2"), planned("3", blocked_by=("2",)), planned("4")]
    found = foretold(plan, parallel=1, minutes_left=15)
    assert found.left_out == dict.fromkeys([("shop", "2"), ("shop", "3"), ("shop", "4")], "until")
    assert foretold(plan, parallel=4, minutes_left=25).fits
