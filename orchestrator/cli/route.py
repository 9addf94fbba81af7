"""``orchestrate route``: who would get an issue, and why. Nothing is begun."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import argument, option

if TYPE_CHECKING:
    from orchestrator.assembly.routes import IssueRouting
    from orchestrator.records import Issue
    from orchestrator.routing.route import Decision

Given = str | float
"""An issue's id, as a file has it."""

SHOWN = 10
"""Agents that are told of each issue."""


@click.command()
@argument("target")
@option("--explain", is_flag=True, help="Show which rules and words decided.")
@option("--json", "as_json", is_flag=True, help="Print a JSON array, an object an issue.")
@option(
    "--agents", type=click.Path(path_type=Path), help="Route among the agents of this folder alone."
)
@option(
    "--routes",
    type=click.Path(path_type=Path),
    help="A file with labels:, paths:, assignees:, default: instead of the settings' routing.",
)
@option(
    "--repo", type=click.Path(path_type=Path), default=Path(), help="Any folder of the repository."
)
@option(
    "--config", type=click.Path(path_type=Path), help="A settings file that wins over the others."
)
def command(  # noqa: PLR0913 - one for each option
    *,
    target: str,
    explain: bool,
    as_json: bool,
    agents: Path | None,
    routes: Path | None,
    repo: Path,
    config: Path | None,
) -> int:
    """Tell which agent would get TARGET, and why; nothing is begun.

    TARGET is an issue's key, or a file (.md, .yaml, .json) with one issue or many. Ends with 0 when
    every issue was answered, also by "a person", and with 1 when one names an agent that is not
    there.
    """
    import anyio

    from orchestrator.assembly.routes import open_routing

    async def answers() -> list[tuple[Given, Decision | str]]:
        async with open_routing(
            target, repo=repo, agents=agents, routes=routes, config=config, environment=os.environ
        ) as opened:
            return [
                (given, await _decided(opened.routing, issue)) for given, issue in opened.issues
            ]

    found = anyio.run(answers)
    if as_json:
        _print_json([_row(given, decision, explain=explain) for given, decision in found])
    else:
        _show(found, explain=explain)
    return 1 if any(isinstance(decision, str) for _, decision in found) else 0


async def _decided(routing: IssueRouting, issue: Issue) -> Decision | str:
    from orchestrator.errors import ConfigError

    try:
        return await routing.decide(issue)
    except ConfigError as error:
        return f"{error}; {error.hint}" if error.hint else str(error)


def _row(given: Given, decision: Decision | str, *, explain: bool) -> dict[str, Any]:
    if isinstance(decision, str):
        empty: dict[str, Any] = {"agent": None, "reason": "none", "score": 0.0, "ranked": []}
        return {"id": given} | empty | {"error": decision}
    row: dict[str, Any] = {
        "id": given,
        "agent": decision.agent,
        "reason": decision.reason,
        "score": decision.score,
        "ranked": [{"agent": name, "score": score} for name, score in decision.ranked[:SHOWN]],
    }
    if decision.detail:
        row["detail"] = decision.detail
    if decision.choice is not None:
        choice = decision.choice
        row["model"] = {
            "model": choice.model,
            "answer": choice.answer or None,
            "why": choice.why,
            "offline": choice.offline or None,
            "cost_usd": choice.cost_usd,
        }
    if explain and decision.text is not None:
        row["explained"] = _explained(decision)
    return row


def _explained(decision: Decision) -> dict[str, Any]:
    text = decision.text
    if text is None:
        return {}
    asks = list(text.asks.items())[:6]
    return {
        "nobody": text.nobody,
        "asks": [
            {"trade": trade, "evidence": value, "words": list(text.words[trade][:12])}
            for trade, value in asks
        ],
        "agents": [
            {"agent": name, "score": score, "words": text.told(name)[:12]}
            for name, score in text.shares[:3]
        ],
    }


def _show(found: Sequence[tuple[Given, Decision | str]], *, explain: bool) -> None:
    from orchestrator.sinks.plain import line

    for given, decision in found:
        if isinstance(decision, str):
            click.echo(f"{line(str(given), 24):<12} {'error':<24} {line(decision, 300)}")
            continue
        agent = decision.agent or "a person"
        why = f"{decision.reason}{': ' if decision.detail else ''}{decision.detail}"
        score = f"{decision.score:.2f}"
        click.echo(f"{line(str(given), 24):<12} {line(agent, 40):<24} {score}  {line(why, 200)}")
        if explain:
            for told in _reasons(decision):
                click.echo(f"{'':<12} {line(told, 300)}")


def _reasons(decision: Decision) -> list[str]:
    told = []
    choice = decision.choice
    if choice is not None:
        said = choice.answer or f"no answer that counts ({choice.why})"
        told.append(f"{choice.model} said {said}; the words say {choice.offline or 'a person'}")
    explained = _explained(decision)
    if not explained:
        return told
    told += [
        f"asks for {one['trade']} ({one['evidence']:g}): {', '.join(one['words'])}"
        for one in explained["asks"]
    ]
    told += [
        f"{one['score']:.2f} {one['agent']}: {', '.join(one['words']) or 'no word in common'}"
        for one in explained["agents"]
    ]
    return [*told, f"{explained['nobody']:.2f} nobody"]


def _print_json(value: object) -> None:
    import orjson

    sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")
    sys.stdout.buffer.flush()
