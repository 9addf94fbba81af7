"""``orchestrate issue``: work on an issue, or go on with its unfinished run."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.amounts import AMOUNT
from orchestrator.cli.options import WRITTEN, argument, option


@click.command()
@argument("key")
@option(
    "--repo", type=click.Path(path_type=Path), default=Path(), help="Any folder of the repository."
)
@option("--agent", help="Name the agent instead of routing.")
@option("--model", help="Alias or id; or replay:FILE, which plays recorded replies.")
@option("--limit-usd", type=AMOUNT, help="Dollars this run may cost.")
@option("--limit-turns", type=click.IntRange(min=1), help="Turns this run may take.")
@option("--limit-tokens", type=click.IntRange(min=1), help="Tokens this run may use.")
@option("--limit-minutes", type=AMOUNT, help="Minutes it may take from now.")
@option("--new", is_flag=True, help="Give up the issue's unfinished run and start anew.")
@option("--json", "as_json", is_flag=True, help="Print one Outcome object on stdout, nothing else.")
@option("--state", type=click.Path(path_type=Path), help="Where runs are kept.")
@option(
    "--config",
    type=click.Path(path_type=Path),
    help="A settings file that wins over the others.",
)
@option(
    "--agents",
    type=click.Path(path_type=Path),
    help="A folder of agent files that wins over all others.",
)
@option(
    "--sandbox",
    type=click.Choice(["auto", "bubblewrap", "landlock", "container", "external", "none"]),
    help="The walls. none: no walls, commands run as you; external: all this runs in yours.",
)
@option("--log-file", type=WRITTEN, help="Write every event as a line of JSON.")
def command(**options: object) -> int:
    """Work on issue KEY, or go on with its unfinished run.

    The issue is issues/KEY-title.md in the repository. The result is a branch feature/KEY-title;
    your checkout, index and current branch stay as they are.
    """
    from orchestrator.cli import running

    return running.run(running.Order.from_options(options))
