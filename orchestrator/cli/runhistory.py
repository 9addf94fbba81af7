"""``orchestrate runs``: give one up, clear up what ended ones left, export one, replay one."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestrator.cli.options import WRITTEN, argument, option

if TYPE_CHECKING:
    from orchestrator.assembly.history import History
    from orchestrator.clearing import Cleared
    from orchestrator.journals.sqlite import SqliteJournal
    from orchestrator.replaying import Replayed

T = TypeVar("T")
REPO = option(
    "--repo", type=click.Path(path_type=Path), default=Path(), help="Any folder of the repository."
)
STATE = option("--state", type=click.Path(path_type=Path), help="Where runs are kept.")
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
JSON = option("--json", "as_json", is_flag=True, help="Print one JSON object.")
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


class Age(click.ParamType[float]):
    """A length of time: a number with its unit, like 7d or 12h; 0 alone needs none."""

    name = "age"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", str(value).strip())
        if match is None or (not match[2] and float(match[1])):
            self.fail(f"{value!r} is no length of time: 90m, 12h, 7d, 2w", param, ctx)
        return float(match[1]) * UNITS[match[2] or "s"]


@click.command("abandon")
@argument("run")
@REPO
@STATE
@CONFIG
@SANDBOX
@option(
    "--take-over",
    is_flag=True,
    help="Take it from a process that is there, and was silent for a minute.",
)
@JSON
def abandon(run: str, *, take_over: bool, as_json: bool, **options: Any) -> int:
    """Give up the unfinished run RUN; what it has done is kept under a rescue ref.

    Its issue can be begun anew then. Where the work cannot be kept, nothing is given up.
    """

    async def work(history: History) -> int:
        done = await history.abandon(run, take_over=take_over)
        if as_json:
            _print_json({"rescue": done.rescue, "commit": done.commit})
        elif done.rescue:
            click.echo(f"given up; its work is kept: git branch NAME {done.rescue}")
        else:
            click.echo("given up; there was no work that is not in a branch")
        return 0

    return _with_history(options, work)


@click.command("gc")
@option(
    "--older-than",
    "older_s",
    type=Age(),
    default="7d",
    show_default=True,
    help="How long ago a run has to have ended.",
)
@option("--dry-run", "dry", is_flag=True, help="Only say what would be removed.")
@STATE
@SANDBOX
@JSON
def collect(
    older_s: float, *, dry: bool, state: Path | None, sandbox: str | None, as_json: bool
) -> int:
    """Remove what ended runs of all repositories left: workspaces, refs, set-ups of long ago.

    Unfinished runs are left alone. Work that no branch or tag holds is kept under
    refs/orchestrate/rescue/ first; where that cannot be done it stays, and is told. Journal and
    reports stay. A run that was cleared up can no longer be forked.
    """
    import anyio

    from orchestrator.assembly.leftovers import Leftovers

    async def work() -> list[Cleared]:
        with closing(journal_of(state)) as journal:
            made = Leftovers(state_of(state), journal, sandbox=sandbox)
            return await made.clear(older_s=older_s, dry=dry)

    found = anyio.run(work)
    freed = sum(one.freed for one in found)
    if as_json:
        import dataclasses

        rows = [dataclasses.asdict(one) for one in found]
        _print_json({"dry_run": dry, "freed": freed, "cleared": rows})
    else:
        for one in found:
            click.echo(_told(one, dry=dry))
        click.echo(f"{'would free' if dry else 'freed'} {freed:,} bytes")
    return 1 if any(one.kept for one in found) else 0


def _told(one: Cleared, *, dry: bool) -> str:
    from orchestrator.sinks.plain import line

    if one.kept:
        return f"{one.what}: kept, {line(one.kept, 200)}"
    text = f"{one.what}: {'would free' if dry else 'freed'} {one.freed:,} bytes"
    return (
        f"{text}; {line(one.rescue, 200) if dry else f'work kept as {one.rescue}'}"
        if (one.rescue)
        else text
    )


@click.command("export")
@argument("run")
@option("--output", type=WRITTEN, help="A file; else standard output.")
@STATE
def export(run: str, *, output: Path | None, state: Path | None) -> int:
    """Write run RUN as lines of JSON: an event a line, as the journal has it.

    Keys and tokens of known form are left out; what a terminal would act on is escaped. The file
    can be played: --model replay:FILE. The form of the lines: docs/operations.md.
    """
    import anyio

    from orchestrator.assembly.exports import exported
    from orchestrator.sinks.plain import safe_json

    with closing(journal_of(state)) as journal:
        text = "".join(f"{safe_json(one)}\n" for one in anyio.run(exported, journal, run))
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")
    return 0


@click.command("replay")
@argument("run")
@REPO
@STATE
@CONFIG
@SANDBOX
@JSON
def replay(run: str, *, as_json: bool, **options: Any) -> int:
    """Make the recorded calls of run RUN again, and tell what differs.

    The real tools run in a fresh workspace, without network; no model is asked and nothing is kept.
    Exit code 0: all results are the same; 1: some are not.
    """

    async def work(history: History) -> int:
        done = await history.replay(run)
        if as_json:
            import dataclasses

            _print_json(dataclasses.asdict(done))
        else:
            _show_replayed(done)
        return 1 if done.differences or done.stopped else 0

    return _with_history(options, work)


def _show_replayed(done: Replayed) -> None:
    from orchestrator.amounts import counted
    from orchestrator.sinks.plain import line

    for one in done.differences:
        click.echo(f"turn {one.turn} {one.tool} {line(one.about, 80)}")
        for each in one.lines:
            click.echo(f"    {line(each, 160)}")
    if done.stopped:
        click.echo(f"stopped: {line(done.stopped, 200)}")
    many = len(done.differences)
    what = (
        "all results are the same"
        if not many
        else f"{counted(many, 'result')} differ{'s' if many == 1 else ''}"
    )
    click.echo(f"{counted(done.turns, 'turn')}, {counted(done.calls, 'call')}: {what}")


def _with_history(options: dict[str, Any], work: Callable[[History], Awaitable[T]]) -> T:
    """Do something with the runs of a repository."""
    import anyio

    from orchestrator.assembly.runtime import Orchestrator

    journal_of(options["state"]).close()  # there has to be one

    async def opened() -> T:
        made = Orchestrator.from_config(
            options["config"],
            repo=options["repo"],
            state=state_of(options["state"]),
            sandbox_backend=options["sandbox"],
        )
        async with made as orchestrator:
            return await work(orchestrator.history())

    return anyio.run(opened)


def _print_json(shown: object) -> None:
    import orjson

    from orchestrator.sinks.plain import safe_json

    sys.stdout.write(safe_json(orjson.dumps(shown, option=orjson.OPT_INDENT_2)) + "\n")


def state_of(state: Path | None) -> Path:
    """Return the state directory that is meant."""
    from orchestrator.config import state_folder

    return (state or state_folder(os.environ)).absolute()


def journal_of(state: Path | None) -> SqliteJournal:
    """Open the journal of a state directory.

    Raises:
        NoSuchRun: there is none.
    """
    from orchestrator.errors import NoSuchRun
    from orchestrator.journals.owners import owner_of
    from orchestrator.journals.sqlite import SqliteJournal

    path = state_of(state) / "journal.db"
    if not path.is_file():
        raise NoSuchRun(f"no runs in {path.parent}", hint="name another folder with --state")
    return SqliteJournal(path, owner=owner_of(os.getpid()))
