"""``orchestrate runs``: list runs, show one, go on with one."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.amounts import AMOUNT
from orchestrator.cli.options import argument, option
from orchestrator.cli.runhistory import abandon, collect, export, journal_of, replay, state_of

if TYPE_CHECKING:
    from orchestrator.journals.sqlite import RunRow
    from orchestrator.records import Outcome

STATE = option("--state", type=click.Path(path_type=Path), help="Where runs are kept.")
REPO = option(
    "--repo", type=click.Path(path_type=Path), default=Path(), help="Any folder of the repository."
)
AS_JSON = option(
    "--json", "as_json", is_flag=True, help="Print one Outcome object on stdout, nothing else."
)
CONFIG = option(
    "--config",
    type=click.Path(path_type=Path),
    help="A settings file that wins over the others.",
)
SANDBOX = option(
    "--sandbox",
    type=click.Choice(["auto", "bubblewrap", "landlock", "container", "external", "none"]),
    help="The walls. none: no walls, commands run as you; external: all this runs in yours.",
)


@click.group()
def command() -> None:
    """List runs, show one, go on with one, fork, export or replay one, give one up, clear up."""


command.add_command(abandon)
command.add_command(collect)
command.add_command(export)
command.add_command(replay)


@command.command("list")
@STATE
@option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_runs(state: Path | None, as_json: bool) -> None:
    """List all runs, newest first."""
    rows = _rows(state)
    if as_json:
        import orjson

        shown = [
            {
                "run": row.run,
                "issue": row.issue,
                "title": row.record.issue.title,
                "agent": row.record.route.agent,
                "state": row.state,
                "repo": row.repo,
                "started": row.started,
                "changed": row.changed,
            }
            for row in rows
        ]
        from orchestrator.sinks.plain import safe_json

        sys.stdout.write(safe_json(orjson.dumps(shown, option=orjson.OPT_INDENT_2)) + "\n")
        return
    from orchestrator.sinks.plain import line

    if not rows:
        click.echo("no runs yet")
    for row in rows:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(row.changed))
        about = line(f"{row.issue} {row.record.issue.title}", 50)
        click.echo(f"{row.run:<16} {row.state:<13} {when}  {row.record.route.agent:<18} {about}")


@command.command("show")
@argument("run")
@STATE
@option("--json", "as_json", is_flag=True, help="Print the Outcome object.")
def show_run(run: str, state: Path | None, as_json: bool) -> int:
    """Show how run RUN stands; the beginning of its id is enough."""
    import anyio

    from orchestrator.cli.ending import show_end
    from orchestrator.sinks.plain import line

    journal = journal_of(state)
    row = anyio.run(journal.row, run)
    outcome = anyio.run(journal.outcome, row.run)
    forks = [one.run for one in anyio.run(journal.forks, row.run)]
    if as_json:
        _show_json(row, outcome, forks)
        return 0
    if outcome is None:
        click.echo(f"{row.run}: {row.state}, issue {line(row.record.issue.title)}")
        _show_family(row, forks)
        return 0
    folder = state_of(state) / "runs" / row.run / "report.md"
    report = folder if folder.is_file() else None
    show_end(outcome, as_json=False, report=report, stages=True)
    _show_family(row, forks)
    return 0


def _show_json(row: RunRow, outcome: Outcome | None, forks: list[str]) -> None:
    """Print the Outcome, where there is one, with the run's forks and what it is a fork of."""
    import orjson

    from orchestrator.sinks.plain import safe_json

    shown = {"run": row.run, "state": row.state}
    if outcome is not None:
        shown = orjson.loads(orjson.dumps(outcome)) | {"state": row.state}
    family = {"forks": forks, "forked_from": row.parent, "forked_at": row.record.forked_at}
    sys.stdout.write(safe_json(orjson.dumps(shown | family, option=orjson.OPT_INDENT_2)) + "\n")


def _show_family(row: RunRow, forks: list[str]) -> None:
    if row.parent:
        click.echo(f"  fork of   {row.parent} at turn {row.record.forked_at}")
    if forks:
        click.echo(f"  forks     {', '.join(forks)}")


@command.command("resume")
@argument("run")
@REPO
@option("--model", help="Another model from here on.")
@option("--limit-usd", type=AMOUNT, help="Dollars the whole run may cost.")
@option("--limit-turns", type=click.IntRange(min=1), help="Turns the whole run may take.")
@option("--limit-tokens", type=click.IntRange(min=1), help="Tokens the whole run may use.")
@option("--limit-minutes", type=AMOUNT, help="Minutes it may take from now.")
@option(
    "--take-over",
    is_flag=True,
    help="Take it from a process that is there, and was silent for a minute.",
)
@AS_JSON
@STATE
@CONFIG
@SANDBOX
def resume_run(**options: object) -> int:
    """Go on with run RUN: nothing that was paid for is asked again."""
    from orchestrator.cli import running

    return running.run(running.Order.from_options(options))


@command.command("fork")
@argument("run")
@option("--at", type=click.IntRange(min=0), required=True, help="The turn to go on after.")
@REPO
@option("--model", help="Another model from there on.")
@option("--limit-usd", type=AMOUNT, help="Dollars the fork may cost.")
@option("--limit-turns", type=click.IntRange(min=1), help="Turns of the fork, the copied ones too.")
@option("--limit-tokens", type=click.IntRange(min=1), help="Tokens the fork may use.")
@option("--limit-minutes", type=AMOUNT, help="Minutes the fork may take.")
@AS_JSON
@STATE
@CONFIG
@SANDBOX
def fork_run(**options: object) -> int:
    """Begin a run where run RUN stood after a turn; RUN stays as it is.

    The turns up to there are copied: nothing of them is asked or paid for again, and the workspace
    is as it was. The fork has a branch of its own; go on with it by `orchestrate runs resume`.
    """
    from orchestrator.cli import running

    return running.run(running.Order.from_options(options))


def _rows(state: Path | None) -> list[RunRow]:
    import anyio

    if not (state_of(state) / "journal.db").is_file():
        return []
    return anyio.run(journal_of(state).rows)
