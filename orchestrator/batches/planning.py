"""The plan of a night: its issues in their order, with who gets them and what they may take."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.batches.forecast import Forecast, foretold
from orchestrator.batches.nights import Expected, IssueId, Planned, Site
from orchestrator.batches.order import Order, Waiting
from orchestrator.values import frozen


@frozen
class Considered:
    """What is known of an issue before a night.

    Attributes:
        agent: who is expected to get it; empty leaves it to a person.
        reason: why it is that agent.
    """

    waiting: Waiting
    agent: str
    reason: str
    expected: Expected


@frozen
class NotPlanned:
    """An issue that was meant, and is not in the plan.

    Attributes:
        is_missing: the tracker knows of none.
        is_broken: it cannot be read, or names an agent that there is not.
    """

    repo: str
    issue: str
    title: str
    why: str
    is_missing: bool = False
    is_broken: bool = False


@frozen
class NightPlan:
    """What a night would do.

    Attributes:
        plan: in the order in which issues are begun; those that cannot be begun come last.
        hindered: issues of the plan that cannot be begun as things are, and why.
        not_planned: what was meant, and is not in the plan.
    """

    sites: tuple[Site, ...]
    plan: tuple[Planned, ...]
    forecast: Forecast
    hindered: Mapping[IssueId, str]
    not_planned: tuple[NotPlanned, ...] = ()


def plan_of(
    order: Order,
    known: Mapping[IssueId, Considered],
    open_outside: Mapping[IssueId, str],
) -> tuple[tuple[Planned, ...], dict[IssueId, str]]:
    """Return the plan, and what of it cannot be begun and why.

    Args:
        order: of all issues.
        known: what is known of each.
        open_outside: issues that wait for one that is not in the night and is not done; its key.
    """
    hindered = _hindered(order, known, open_outside)
    circling = [one for circle in order.circles for one in circle]
    ids = [*(one.id for one in order.turns), *circling, *order.stuck]
    free = [one for one in ids if one not in hindered]
    return tuple(_planned(known[one], order) for one in [*free, *hindered]), hindered


def _planned(one: Considered, order: Order) -> Planned:
    issue, id_ = one.waiting.issue, one.waiting.id
    return Planned(
        repo=id_[0],
        issue=issue.key,
        title=issue.title,
        agent=one.agent,
        reason=one.reason,
        expected=one.expected,
        blocked_by=order.blockers.get(id_, ()),
        apart_from=tuple(order.apart.get(id_, {})),
        priority=issue.priority,
        url=issue.url,
    )


def _hindered(
    order: Order, known: Mapping[IssueId, Considered], open_outside: Mapping[IssueId, str]
) -> dict[IssueId, str]:
    """Return what cannot be begun, and why, in the order of the plan."""
    found: dict[IssueId, str] = {}
    for one in order.turns:
        blocker = next(
            (key for key in order.blockers.get(one.id, ()) if (one.repo, key) in found), ""
        )
        if one.id in open_outside:
            found[one.id] = f"it waits for {open_outside[one.id]}, which is not done"
        elif blocker:
            found[one.id] = f"it waits for {blocker}, which cannot be begun"
        elif not known[one.id].agent:
            found[one.id] = "no agent fits it: name one with --agent, or set routing.default"
    for circle in order.circles:
        keys = " waits for ".join(key for _, key in (*circle, circle[0]))
        found.update(dict.fromkeys(circle, f"a circle: {keys}"))
    for one_id, (_, key) in order.stuck.items():
        found[one_id] = f"it waits for {key}, which is in a circle or waits for one"
    return found


def night_plan(  # noqa: PLR0913 - what a plan is made of
    sites: tuple[Site, ...],
    order: Order,
    known: Mapping[IssueId, Considered],
    *,
    open_outside: Mapping[IssueId, str],
    not_planned: tuple[NotPlanned, ...],
    parallel: int,
    ceiling_usd: float | None,
    minutes_left: float | None,
) -> NightPlan:
    """Return the plan of a night with its forecast.

    Args:
        sites: its repositories.
        order: of its issues.
        known: what is known of each.
        open_outside: issues that wait for one that is not in the night and is not done; its key.
        not_planned: what was meant, and is not in the night.
        parallel: how many are worked on at once.
        ceiling_usd: dollars that it may cost; None has no limit.
        minutes_left: until it has to end; None has no end.
    """
    plan, hindered = plan_of(order, known, open_outside)
    forecast = foretold(
        plan,
        parallel=parallel,
        ceiling_usd=ceiling_usd,
        minutes_left=minutes_left,
        never=hindered,
    )
    return NightPlan(sites, plan, forecast, hindered, not_planned)
