"""``orchestrate watch``: work on labelled issues, and go on with what is said of them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import click

from orchestrator.cli.ending import EXIT
from orchestrator.cli.options import WRITTEN, option
from orchestrator.cli.stopping import INTERRUPTED, until_stopped
from orchestrator.config import state_folder
from orchestrator.ports import EventSink
from orchestrator.records import Outcome
from orchestrator.sinks.plain import line

if TYPE_CHECKING:
    from orchestrator.watching import Watcher


@click.command()
@option(
    "--repo", type=click.Path(path_type=Path), default=Path(), help="Any folder of the repository."
)
@option("--once", is_flag=True, help="Look once, work on all that waits, and end.")
@option("--model", help="Alias or id; or replay:FILE, which plays recorded replies.")
@option("--state", type=click.Path(path_type=Path), help="Where runs are kept.")
@option(
    "--config", type=click.Path(path_type=Path), help="A settings file that wins over the others."
)
@option("--log-file", type=WRITTEN, help="Write every event as a line of JSON.")
def command(**options: Any) -> int:
    """Work on open issues that carry the labels of `tracker.labels`, until it is stopped.

    An issue that is closed meanwhile is given up; one that loses its label is stopped, and kept.
    Comments and failed checks on pull requests are worked on too. Ctrl-C and SIGTERM park what
    runs; the next start goes on with it. A second Ctrl-C ends at once, and loses nothing either.
    """
    with ExitStack() as stack:
        sinks: list[EventSink] = []
        if options["log_file"] is not None:
            from orchestrator.sinks.log import LogSink

            file = stack.enter_context(options["log_file"].open("a", encoding="utf-8"))
            sinks.append(LogSink(file))
        return anyio.run(_watch, options, sinks)


def tell(text: str) -> None:
    """Print a line with the time."""
    click.echo(f"{time.strftime('%H:%M:%S')} {line(text, 400)}", err=True)


async def _watch(options: Mapping[str, Any], sinks: list[EventSink]) -> int:
    from orchestrator.assembly.watch import Watch
    from orchestrator.tuning import tune_process

    tune_process()
    state = (options["state"] or state_folder(os.environ)).absolute()
    made = Watch(
        options["config"], repo=options["repo"], state=state, sinks=sinks, model=options["model"]
    )
    try:
        return await _watched(made.watcher(tell), once=options["once"])
    finally:
        with anyio.CancelScope(shield=True):
            await made.aclose()


async def _watched(watcher: Watcher, *, once: bool) -> int:
    """Watch until it is stopped, or once; return the exit code."""
    if not once:
        await until_stopped(watcher.watch, tell)
        return 0
    found: dict[str, Outcome] = {}

    async def look() -> None:
        found.update(await watcher.once())

    if not await until_stopped(look, tell):
        return INTERRUPTED
    codes = [EXIT[one.status] for one in found.values()]
    return max([*codes, EXIT["unavailable"] if watcher.has_failed else 0])
