"""``orchestrate agents``: which agents there are, what each may do, and what is wrong in a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import argument, option

if TYPE_CHECKING:
    from orchestrator.definitions.definition import Checked
    from orchestrator.definitions.folder import Roster
    from orchestrator.records import AgentDefinition

REPO = option(
    "--repo", type=click.Path(path_type=Path), default=Path(), help="Any folder of the repository."
)
AGENTS = option(
    "--agents",
    type=click.Path(path_type=Path),
    help="A folder of agent files that wins over all others.",
)


@click.group()
def command() -> None:
    """List the agents, show one, check agent files."""


@command.command("list")
@REPO
@AGENTS
@option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_agents(repo: Path, agents: Path | None, as_json: bool) -> int:
    """List the agents an issue can go to, where each comes from, and the tools it really has."""
    found = _roster(repo, agents)
    rows = [_row(found, name) for name in sorted(found.agents)]
    if as_json:
        _print_json(rows)
        return 0
    from orchestrator.sinks.plain import line

    for row in rows:
        tools = ", ".join(row["tools"]) or "none: it cannot be run"
        click.echo(f"{line(row['name'], 40):<24} {line(row['from'], 30):<14} {line(tools, 100)}")
    for notice in found.notices:
        click.echo(f"note: {line(notice, 300)}", err=True)
    return 0


@command.command("show")
@argument("name")
@REPO
@AGENTS
@option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show_agent(name: str, repo: Path, agents: Path | None, as_json: bool) -> int:
    """Show agent NAME: where it comes from, what it may do, and what it is told."""
    from orchestrator.routing.route import known
    from orchestrator.sinks.plain import line, safe

    found = _roster(repo, agents)
    agent = found.agents[known(name, found.agents)]
    row = _row(found, name) | {"prompt": agent.prompt, "warnings": list(agent.warnings)}
    if as_json:
        _print_json(row)
        return 0
    for key in ("name", "from", "file", "description", "model", "effort", "max_turns"):
        if row[key]:
            click.echo(f"{key:<12} {line(str(row[key]), 2000)}")
    click.echo(f"{'tools':<12} {line(', '.join(row['tools']) or 'none: it cannot be run')}")
    for warning in agent.warnings:
        click.echo(f"{'warning':<12} {line(warning, 400)}")
    click.echo(f"\n{safe(agent.prompt)}")
    return 0


@command.command("check")
@argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, readable=False))
@option("--json", "as_json", is_flag=True, help="Print a JSON array, an object a file.")
def check_files(paths: tuple[Path, ...], as_json: bool) -> int:
    """Check agent files, and all below folders, as a compiler would.

    Ends with 0 if every file is an agent or does not mean to be one, with 1 if one is refused.
    """
    from orchestrator.definitions.folder import checked
    from orchestrator.definitions.modelled import with_model_remarks

    found = [with_model_remarks(one, {}) for path in paths for one in checked(path)]
    if as_json:
        _print_json([_told(one) for one in found])
    else:
        _show_checked(found)
    return 1 if any(one.status == "refused" for one in found) else 0


def _roster(repo: Path, agents: Path | None) -> Roster:
    import os

    from orchestrator.assembly.rosters import agents_here

    return agents_here(repo, os.environ, agents)


def _row(found: Roster, name: str) -> dict[str, Any]:
    from orchestrator.toolbox import permissions_of

    agent: AgentDefinition = found.agents[name]
    permissions = permissions_of(agent)
    tools = []
    for tool in permissions.names:
        rules = permissions.rules(tool)
        tools.append(f"{tool}({', '.join(rules)})" if rules else tool)
    return {
        "name": agent.name,
        "from": found.places[name],
        "file": agent.source,
        "description": agent.description,
        "model": agent.model,
        "effort": agent.effort,
        "max_turns": agent.max_turns,
        "tools": tools,
    }


def _told(one: Checked) -> dict[str, Any]:
    """Return what is told of a file; the keys and their order are what programs go by."""
    import dataclasses
    import hashlib

    agent = one.definition
    tools = None if agent is None or agent.tools is None else list(agent.tools)
    models = list(one.models)
    model = None if not models else (models[0] if len(models) == 1 else models)
    digest = hashlib.sha256(one.body.encode("utf-8", "surrogatepass")).hexdigest()
    return {
        "path": one.file,
        "status": one.status,
        "name": agent.name if agent else None,
        "description": agent.description if agent else None,
        "tools": tools,
        "model": model if agent else None,
        "warnings": [dataclasses.asdict(remark) for remark in one.remarks],
        "error": dataclasses.asdict(one.error) if one.error else None,
        "body_sha256": digest if agent else None,
    }


def _show_checked(found: Sequence[Checked]) -> None:
    from orchestrator.amounts import counted
    from orchestrator.sinks.plain import line

    for one in found:
        if one.error is not None:
            kind = "error" if one.status == "refused" else "skipped"
            told = one.error.told(one.file)
            place, _, said = told.partition(": ")
            click.echo(line(f"{place}: {kind}: {said}", 600))
            _show_place(one)
        for remark in one.remarks:
            place, _, said = remark.told(one.file).partition(": ")
            click.echo(line(f"{place}: warning: {said} [{remark.code}]", 600))
    counts = {name: sum(one.status == name for one in found) for name in STATUSES}
    told = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
    click.echo(f"{counted(len(found), 'file')}: {told}" if found else "no markdown files there")


STATUSES = ("ok", "repaired", "skipped", "refused")


def _show_place(one: Checked) -> None:
    """Show the line that is meant, and point at the column."""
    from orchestrator.sinks.plain import safe

    if one.error is None or not one.error.line or not one.error.column:
        return
    try:
        text = Path(one.file).read_bytes().decode("utf-8-sig", "replace")
    except OSError:
        return
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if one.error.line > len(lines):
        return
    column = one.error.column
    start = max(column - 60, 0)
    shown = lines[one.error.line - 1][start : start + 100].replace("\t", " ")
    click.echo(f"  {safe(shown, keep='')}\n  {' ' * (column - 1 - start)}^")


def _print_json(value: object) -> None:
    import json

    import orjson

    from orchestrator.sinks.plain import safe_json

    try:
        text = safe_json(orjson.dumps(value, option=orjson.OPT_INDENT_2))
    except TypeError:  # The name of a file that is not UTF-8: JSON can say it by an escape only.
        text = json.dumps(value, indent=2)
    sys.stdout.write(text + "\n")
