"""What issues are expected to take, in dollars and minutes, and whether a night can pay for it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from orchestrator.batches.nights import Expected, IssueId, Planned
from orchestrator.prices import Price
from orchestrator.values import frozen

TURNS = (5.0, 14.0, 45.0)
"""Turns of a run that nothing is known of: low, usual, high."""
TOKENS_READ, TOKENS_WRITTEN, TOKENS_OUT = 30_000, 1_800, 800
"""Tokens of such a turn: read from the cache, written to it, answered."""
TURN_USD = 0.05
"""Dollars of such a turn where the model has no price."""
TURN_MINUTES, GATE_MINUTES = 0.25, 1.0
LANE_MINUTES = 6.0
"""Minutes that a turn waits in a batch, where runs of the past say nothing of it."""

LOW, HIGH = 0.1, 0.9
"""The quantiles that a range is made of."""
PRIOR_WEIGHT = 1.5
"""How many runs just like it what is assumed beforehand counts for."""
SAME_REPO, SAME_AGENT, SAME_MODEL, SAME_SIZE, LABELS = 3.0, 3.0, 2.0, 1.5, 2.0
NEAR = 0.1
"""Runs that say less than this are not counted among those that a forecast is learnt from."""
ALIKE = 0.3
"""How far issues of a night are wrong in the same direction."""
SIZES = (400, 2_000, 8_000)
"""Bounds, in characters, between short, usual, long and very long issues."""


@frozen
class Past:
    """A run that has ended, as far as forecasts ask.

    Attributes:
        size: characters of the issue's title and body.
        share: of the normal price that its replies were paid at, on average.
    """

    repo: str
    agent: str
    model: str
    labels: frozenset[str]
    size: int
    usd: float
    minutes: float
    turns: int
    share: float = 1.0


@frozen
class Case:
    """An issue whose run is to be foretold.

    Attributes:
        price: of its model; None where nobody knows it.
        most_usd: the run's own limit; ``most_minutes`` and ``most_turns`` likewise.
        share: of the normal price that its replies will cost.
    """

    repo: str
    agent: str
    model: str
    labels: frozenset[str]
    size: int
    price: Price | None = None
    most_usd: float | None = None
    most_minutes: float | None = None
    most_turns: int | None = None
    share: float = 1.0


def expected(case: Case, past: Sequence[Past]) -> Expected:
    """Return what an issue is expected to take: runs like it, and less of what is assumed.

    Expected values are means without the extremes, so that sums of them are honest; ranges are the
    tenth and the ninetieth of a hundred.
    """
    weighted = [(one, _likeness(case, one)) for one in past]
    guess = _assumed(case)
    usd = _quantities(
        [(one.usd / one.share * case.share, weight) for one, weight in weighted],
        guess.usd_low, guess.usd, guess.usd_high, case.most_usd,
    )  # fmt: skip
    minutes = _quantities(
        [(one.minutes, weight) for one, weight in weighted if one.share == case.share],
        guess.minutes_low, guess.minutes, guess.minutes_high, case.most_minutes,
    )  # fmt: skip
    low, mean, high = usd
    soon, usual, late = minutes
    return Expected(
        mean, low, high, usual, soon, late, from_runs=sum(weight >= NEAR for _, weight in weighted)
    )


def _likeness(case: Case, one: Past) -> float:
    """Return how much a run of the past says of a case; 1 for one that is just like it."""
    factors = (
        (one.repo == case.repo, SAME_REPO),
        (one.agent == case.agent, SAME_AGENT),
        (one.model == case.model, SAME_MODEL),
        (size_class(one.size) == size_class(case.size), SAME_SIZE),
    )
    weight = math.prod(1.0 if same else 1 / factor for same, factor in factors)
    union = one.labels | case.labels
    overlap = len(one.labels & case.labels) / len(union) if union else 1.0
    return weight * math.pow(LABELS, overlap - 1)


def size_class(size: int) -> int:
    """Return which kind of length a text has, 0 the shortest."""
    return sum(size >= bound for bound in SIZES)


def _assumed(case: Case) -> Expected:
    """Return what is assumed where nothing is known: usual turns, and what a turn costs."""
    price = case.price
    turn_usd = TURN_USD
    if price is not None:
        turn_usd = (
            TOKENS_READ * price.cache_read
            + TOKENS_WRITTEN * price.cache_write
            + TOKENS_OUT * price.output
        ) / 1e6
    turn_usd *= case.share
    a_turn = TURN_MINUTES if case.share == 1 else LANE_MINUTES
    longer = (0.8, 0.9, 1.0, 1.2)[size_class(case.size)]
    most = case.most_turns or math.inf
    low, usual, high = (min(turns * longer, most) for turns in TURNS)
    return Expected(
        usual * turn_usd, low * turn_usd, high * turn_usd,
        usual * a_turn + GATE_MINUTES, low * a_turn + GATE_MINUTES, high * a_turn + GATE_MINUTES,
    )  # fmt: skip


def _quantities(
    seen: Sequence[tuple[float, float]], low: float, usual: float, high: float, most: float | None
) -> tuple[float, float, float]:
    """Return low, mean and high of what was seen and what is assumed, under a limit."""
    third = PRIOR_WEIGHT / 4
    values = [*seen, (low, third), (usual, 2 * third), (high, third)]
    limit = math.inf if most is None else most
    sample = sorted((min(value, limit), weight) for value, weight in values)
    least, highest = quantile(sample, LOW), quantile(sample, HIGH)
    total = sum(weight for _, weight in sample)
    mean = sum(min(max(value, least), highest) * weight for value, weight in sample) / total
    return least, mean, highest


def quantile(sample: Sequence[tuple[float, float]], part: float) -> float:
    """Return a quantile of values with weights, between neighbours in proportion.

    Args:
        sample: values and weights, in order of values; at least one.
        part: from 0 to 1.
    """
    total = sum(weight for _, weight in sample)
    at, middles = 0.0, []
    for value, weight in sample:
        middles.append(((at + weight / 2) / total, value))
        at += weight
    before = middles[0]
    for middle in middles:
        if middle[0] >= part:
            span = middle[0] - before[0]
            share = (part - before[0]) / span if span > 0 else 1.0
            return before[1] + (middle[1] - before[1]) * max(min(share, 1.0), 0.0)
        before = middle
    return middles[-1][1]


LeftOut = Literal["ceiling", "until", "blocked"]


# -- the whole night -----------------------------------------------------------------------


@frozen
class Forecast:
    """What a night is expected to take.

    Attributes:
        expected: of all that the ceiling and the end let begin, together; minutes from the first
            beginning to the last end.
        wanted_usd: dollars of all issues, also of those that are left out.
        fits: the ceiling and the end are expected to be enough for all that can be begun;
            ``surely_fits`` in a bad night too.
        left_out: what is not expected to begin, and why.
    """

    expected: Expected
    wanted_usd: float
    fits: bool
    surely_fits: bool
    left_out: Mapping[IssueId, LeftOut]


def foretold(
    plan: Sequence[Planned],
    *,
    parallel: int,
    ceiling_usd: float | None = None,
    minutes_left: float | None = None,
    never: Collection[IssueId] = (),
) -> Forecast:
    """Foretell a night: what it takes, and what its ceiling and its end leave out.

    Args:
        plan: in the order in which issues are begun.
        parallel: how many are worked on at once.
        ceiling_usd: dollars that the night may cost; None has no limit.
        minutes_left: until it has to end; None has no end.
        never: what cannot be begun whatever it costs; with what waits for it, it costs nothing.
    """
    blocked = _waiting_for(never, plan)
    plan = [one for one in plan if one.id not in blocked]
    left_out: dict[IssueId, LeftOut] = dict.fromkeys(over_ceiling(plan, ceiling_usd), "ceiling")
    began = [one for one in plan if one.id not in left_out]
    ends = ends_of(began, parallel)
    if minutes_left is not None:
        late = {one.id for one in began if ends[one.id] > minutes_left}
        left_out.update(dict.fromkeys(_waiting_for(late, began), "until"))
        began = [one for one in began if one.id not in left_out]
    everything, total = together(plan, parallel), together(began, parallel)
    return Forecast(
        total,
        wanted_usd=everything.usd,
        fits=not left_out,
        surely_fits=not left_out
        and (ceiling_usd is None or everything.usd_high <= ceiling_usd)
        and (minutes_left is None or everything.minutes_high <= minutes_left),
        left_out={**dict.fromkeys(blocked, "blocked"), **left_out},
    )


def together(plan: Sequence[Planned], parallel: int) -> Expected:
    """Return what issues are expected to take together.

    Dollars add up; their range is narrower than the sum of ranges, as not everything goes wrong at
    once, and wider than if nothing had to do with each other. Minutes are those of the clock.
    """
    usd = [one.expected for one in plan]
    mean = sum((one.usd for one in usd), 0.0)
    runs = min((one.from_runs for one in usd), default=0)
    slow = [replace(one, expected=_with_minutes(one, one.expected.minutes_high)) for one in plan]
    fast = [replace(one, expected=_with_minutes(one, one.expected.minutes_low)) for one in plan]
    usual, worst, best = (
        max(ends_of(each, parallel).values(), default=0.0) for each in (plan, slow, fast)
    )
    alike = math.sqrt(ALIKE)
    return Expected(
        mean,
        max(mean - _spread([one.usd - one.usd_low for one in usd]), 0.0),
        mean + _spread([one.usd_high - one.usd for one in usd]),
        usual,
        usual - (usual - best) * alike if len(plan) > 1 else best,
        usual + (worst - usual) * alike if len(plan) > 1 else worst,
        from_runs=runs,
    )


def _with_minutes(one: Planned, minutes: float) -> Expected:
    return replace(one.expected, minutes=minutes)


def _spread(sides: Iterable[float]) -> float:
    """Return how far a sum may be off, from how far its parts may be."""
    parts = [max(one, 0.0) for one in sides]
    apart = sum(one * one for one in parts)
    return math.sqrt((1 - ALIKE) * apart + ALIKE * sum(parts) ** 2)


def over_ceiling(plan: Sequence[Planned], ceiling_usd: float | None) -> list[IssueId]:
    """Return the issues that the money is not expected to reach for, and what waits for them."""
    if ceiling_usd is None:
        return []
    left, out = ceiling_usd, set[IssueId]()
    for one in plan:
        waits = any((one.repo, key) in out for key in one.blocked_by)
        if waits or one.expected.usd > left:
            out.add(one.id)
        else:
            left -= one.expected.usd
    return [one.id for one in plan if one.id in out]


def _waiting_for(late: Collection[IssueId], plan: Sequence[Planned]) -> set[IssueId]:
    found = set(late)
    for one in plan:  # blockers come first, so once through is enough
        if any((one.repo, key) in found for key in one.blocked_by):
            found.add(one.id)
    return found


def ends_of(plan: Sequence[Planned], parallel: int) -> dict[IssueId, float]:
    """Return after how many minutes each issue is expected to end.

    Issues are begun in order, each when there is room, its blockers have ended, and nothing runs
    that it is kept apart from.
    """
    inside = {one.id for one in plan}
    blockers = {one.id: {(one.repo, key) for key in one.blocked_by} & inside for one in plan}
    apart = {one.id: {(one.repo, key) for key in one.apart_from} for one in plan}
    ends: dict[IssueId, float] = {}
    working: dict[IssueId, float] = {}
    waiting, now = list(plan), 0.0
    while waiting or working:
        left = []
        for one in waiting:
            others = apart[one.id]
            if (
                len(working) < max(parallel, 1)
                and blockers[one.id] <= ends.keys()
                and not any(each in others for each in working)
            ):
                working[one.id] = now + one.expected.minutes
            else:
                left.append(one)
        waiting = left
        if not working:  # what waits for itself never begins
            break
        first = min(working, key=lambda one: working[one])
        now = ends[first] = working.pop(first)
    return ends | {one.id: math.inf for one in waiting}
