"""How a run's end is printed, and the exit code that it gives."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import orjson

from orchestrator.amounts import counted
from orchestrator.cli.again import placed
from orchestrator.delivery import evidence_line, finding_line, gate_line, review_line
from orchestrator.records import Outcome
from orchestrator.sinks.plain import line, safe, safe_json

EXIT = {
    "done": 0,
    "gate_failed": 1,
    "failed": 1,
    "needs_human": 3,
    "limit_reached": 4,
    "unavailable": 5,
    "cancelled": 130,
}


def show_end(outcome: Outcome, *, as_json: bool, report: Path | None, stages: bool = False) -> int:
    """Print how a run ended and return the exit code."""
    if as_json:
        told = dataclasses.replace(outcome, hint=placed(outcome.hint))
        text = safe_json(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    else:
        text = "\n".join(ending_lines(outcome, report, stages=stages))
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    return EXIT[outcome.status]


def ending_lines(outcome: Outcome, report: Path | None, *, stages: bool = False) -> list[str]:
    """Return the lines that tell how a run ended.

    Args:
        outcome: how it did.
        report: where its report is.
        stages: whether the evidence for each stage is told.
    """
    lines = [f"{outcome.status}: issue {outcome.issue}, run {outcome.run}"]
    if outcome.scripted:
        lines.append("  scripted  the replies were played from a file; no model was asked")
    if outcome.summary:
        lines += [f"  {one}" for one in safe(outcome.summary).splitlines()[:20]]
    if outcome.error:
        lines.append(f"  problem   {line(outcome.error, 300)}")
    if outcome.hint:
        lines.append(f"  next      {line(placed(outcome.hint), 600)}")
    places = (
        ("branch", outcome.branch),
        ("pushed", outcome.pushed),
        ("request", outcome.pull_request),
    )
    lines += [f"  {name:<9} {line(place, 300)}" for name, place in places if place]
    if outcome.diff.files:
        lines.append(f"  change    {outcome.diff}")
    lines += [f"  gate      {line(gate_line(one), 200)}" for one in outcome.verdicts]
    lines += _review_lines(outcome)
    lines += [f"  note      {line(one, 200)}" for one in outcome.notes]
    usage = outcome.usage
    used = counted(outcome.turns, "turn")
    if not outcome.scripted:
        used += f", {usage.prompt_tokens} tokens in ({usage.cache_read_tokens} cached,"
        used += f" {usage.cache_read_share:.0%})"
        used += f", {usage.output_tokens} out, ${outcome.cost_usd:.4f}"
    lines.append(f"  used      {used}")
    if stages:
        lines += [f"  stage     {line(evidence_line(one), 200)}" for one in outcome.evidence]
    if report is not None:
        lines.append(f"  report    {report}")
    return lines


def _review_lines(outcome: Outcome) -> list[str]:
    lines = []
    for one in outcome.reviews:
        lines.append(f"  review    {line(review_line(one), 200)}")
        lines += [f"            {line(finding_line(each), 200)}" for each in one.findings]
    return lines
