"""How the plan of a night is printed: who gets which issue, what it may take, whether it fits."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import click

from orchestrator.amounts import counted
from orchestrator.batches.forecast import LeftOut
from orchestrator.batches.nights import Planned
from orchestrator.batches.planning import NightPlan
from orchestrator.batches.words import dollars, minutes_range, usd_range
from orchestrator.sinks.plain import line, safe_json

NOT_BEGUN: dict[LeftOut, str] = {
    "ceiling": "for the ceiling",
    "until": "for the end",
    "blocked": "cannot be",
}
MANY = 8
ASKED_FOR = "command line"
"""Why an agent is named that the user named; nobody has to be told."""
LEFT_OUT = {
    "ceiling": "the ceiling is not expected to reach for it",
    "until": "it is not expected to end before the night does",
}


def show_plan(plan: NightPlan, *, ceiling_usd: float | None, parallel: int) -> None:
    """Print a plan as a table with its sum."""
    several = len(plan.sites) > 1
    click.echo(f"{'issue':<14} {'agent':<20} {'dollars':<26} {'minutes':<24} title")
    for one in plan.plan:
        key = line(one.issue, 40)
        title = f"{one.repo}: {one.title}" if several else one.title
        amounts = f"{usd_range(one.expected):<26} {minutes_range(one.expected):<24}"
        click.echo(f"{key:<14} {line(one.agent or '-', 20):<20} {amounts} {line(title, 60)}")
        for told in _beside(one, plan):
            click.echo(f"{'':<14} {line(told, 160)}")
    for left in plan.not_planned:
        click.echo(f"{line(left.issue, 40):<14} not planned: {line(left.why, 160)}")
    click.echo("")
    for told in summed(plan, ceiling_usd=ceiling_usd, parallel=parallel):
        click.echo(told)


def _beside(one: Planned, plan: NightPlan) -> list[str]:
    """Return what else is told of an issue: why its agent, and what it waits for."""
    told = [one.reason] if one.agent and one.reason != ASKED_FOR else []
    if one.id in plan.hindered:
        told.append(f"cannot be begun: {plan.hindered[one.id]}")
    elif one.id in plan.forecast.left_out:
        told.append(f"left out: {LEFT_OUT[plan.forecast.left_out[one.id]]}")
    if one.blocked_by:
        told.append(f"after {_some(one.blocked_by)}")
    if one.apart_from:
        told.append(f"not beside {_some(one.apart_from)}: they name the same files")
    return told


def _some(keys: Sequence[str]) -> str:
    """Return the first of many keys."""
    shown = ", ".join(keys[:MANY])
    return shown if len(keys) <= MANY else f"{shown} and {len(keys) - MANY} more"


def summed(plan: NightPlan, *, ceiling_usd: float | None, parallel: int) -> list[str]:
    """Return what a night is expected to take, and whether that fits, in two or three lines."""
    forecast, expected = plan.forecast, plan.forecast.expected
    begun = len(plan.plan) - len(forecast.left_out)
    amounts = f"{usd_range(expected)}, {minutes_range(expected)}"
    lines = [f"{begun} of {counted(len(plan.plan), 'issue')}, {parallel} at once: {amounts}"]
    runs = expected.from_runs
    lines.append(
        f"learnt from {counted(runs, 'run')}"
        if runs
        else "no run of the past is known: these are guesses, and their range is wide"
    )
    if forecast.left_out:
        counts = Counter(forecast.left_out.values())
        told = ", ".join(
            f"{counts[why]} {words}" for why, words in NOT_BEGUN.items() if counts[why]
        )
        lines.append(f"not expected to be begun: {told}")
    lines.append(_fits(plan, ceiling_usd))
    return lines


def _fits(plan: NightPlan, ceiling_usd: float | None) -> str:
    """Say whether a ceiling is expected to be enough."""
    forecast = plan.forecast
    if ceiling_usd is None:
        return "there is no ceiling: set one with --limit-usd"
    said = f"the ceiling of {dollars(ceiling_usd)}"
    if "ceiling" in forecast.left_out.values():
        return f"does not fit {said}: all that can be begun take {dollars(forecast.wanted_usd)}"
    if forecast.expected.usd_high <= ceiling_usd:
        return f"fits {said}, also in a bad night"
    return f"fits {said}, unless the night goes badly"


def print_plan_json(plan: NightPlan, *, ceiling_usd: float | None, parallel: int) -> None:
    """Print a plan as one JSON object."""
    import orjson

    forecast = plan.forecast
    data: dict[str, Any] = {
        "form": 1,
        "sites": plan.sites,
        "parallel": parallel,
        "ceiling_usd": ceiling_usd,
        "expected": forecast.expected,
        "wanted_usd": forecast.wanted_usd,
        "fits": forecast.fits,
        "surely_fits": forecast.surely_fits,
        "issues": [_row(one, plan) for one in plan.plan],
        "not_planned": plan.not_planned,
    }
    text = orjson.dumps(data, option=orjson.OPT_INDENT_2)
    sys.stdout.write(safe_json(text) + "\n")


def _row(one: Planned, plan: NightPlan) -> dict[str, Any]:
    import dataclasses

    left_out = plan.forecast.left_out.get(one.id, "")
    return dataclasses.asdict(one) | {
        "left_out": left_out or None,
        "hindered": plan.hindered.get(one.id),
    }
