"""``orchestrate batch``: many issues in one go, under one ceiling; and what became of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.amounts import AMOUNT
from orchestrator.cli.options import WRITTEN, argument, option

Body = Callable[..., int]
Decorator = Callable[[Body], Body]


STATE = option("--state", type=click.Path(path_type=Path), help="Where runs are kept.")
REPO = option(
    "--repo",
    "repos",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Any folder of the repository; again for several.",
)
SHOWING = (
    option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout."),
    option(
        "--log-file",
        type=WRITTEN,
        help="Write every event as a line of JSON.",
    ),
)
LIMITS = (
    option("--limit-usd", type=AMOUNT, help="Dollars that all of it may cost."),
    option("--per-issue-usd", type=AMOUNT, help="Dollars that one issue may cost."),
    option("--parallel", type=click.IntRange(min=1, max=200), help="Issues worked on at once."),
    option("--until", help="When it is over: 06:00, +8h, or a date and time."),
    option(
        "--lane",
        type=click.Choice(["now", "batches", "auto"]),
        help="batches: half the price, slow; auto: batches while there is time.",
    ),
)

MEANS = (
    option(
        "--agents",
        type=click.Path(path_type=Path),
        help="A folder of agent files that wins over all others.",
    ),
    option(
        "--sandbox",
        type=click.Choice(["auto", "bubblewrap", "landlock", "container", "external", "none"]),
        help="The walls. none: no walls, commands run as you; external: all this runs in yours.",
    ),
)


def options(*given: Decorator) -> Decorator:
    """Give a command several options, in order."""

    def decorate(command: Body) -> Body:
        for one in reversed(given):
            command = one(command)
        return command

    return decorate


@click.group(invoke_without_command=True)
@option("--label", "labels", multiple=True, help="Issues that carry it; again for several.")
@option("--issues", help="Their keys: 1,4-9 or SHOP-12,SHOP-14-20.")
@option("--agent", help="Name the agent instead of routing.")
@option("--model", help="Alias or id; or replay:FILE, which plays recorded replies.")
@option(
    "--side-by-side", is_flag=True, help="Work at once on issues that name the same files, too."
)
@options(*LIMITS)
@option("--dry-run", is_flag=True, help="Print the plan and what it may cost; begin nothing.")
@REPO
@options(*SHOWING)
@STATE
@option(
    "--config",
    type=click.Path(path_type=Path),
    help="A settings file that wins over the others.",
)
@options(*MEANS)
@click.pass_context
def command(context: click.Context, /, **given: Any) -> int:
    """Work on many issues under one ceiling, each in a workspace of its own.

    Which ones: --issues, --label, or else tracker.labels. A failed issue stops no other. Ctrl-C
    finishes the turns in flight and stops; once more stops at once; `batch resume` goes on with
    either. Ends with 0 when all are done, 1 when some are not, 4 when the ceiling ended it.
    """
    if context.invoked_subcommand is not None:
        return 0
    from orchestrator.cli import night

    return night.begin(night.NightOrder.from_options(given))


@command.command("resume")
@argument("batch", required=False, default="")
@options(*LIMITS)
@options(*MEANS)
@options(*SHOWING)
@STATE
def resume(**given: Any) -> int:
    """Go on with BATCH, or the latest that is not finished: nothing that ended is done again."""
    from orchestrator.cli import night

    batch = given.pop("batch")
    return night.resume(batch, night.NightOrder.from_options(given))


@command.command("report")
@argument("batch", required=False, default="")
@option("--html", "form", flag_value="html", help="One page that needs nothing beside it.")
@option("--md", "form", flag_value="md", help="Markdown; the default on a terminal.")
@option("--json", "form", flag_value="json", help="All of it as data.")
@option(
    "--output",
    type=WRITTEN,
    help="A file; its ending can say the form.",
)
@STATE
def report(batch: str, form: str | None, output: Path | None, state: Path | None) -> int:
    """Tell what became of each issue of BATCH, or of the latest one."""
    from orchestrator.cli import nightreport

    return nightreport.write(batch, form, output, state)


@command.command("list")
@option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@STATE
def list_batches(as_json: bool, state: Path | None) -> int:
    """List all batches, newest first."""
    from orchestrator.cli import nightreport

    return nightreport.list_all(as_json=as_json, state=state)
