"""What became of batches: the report in three forms, and the list of all of them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import anyio
import click
import orjson

from orchestrator.batches.book import decode_events, decode_night
from orchestrator.batches.report import NightReport, reported
from orchestrator.batches.views import NightView
from orchestrator.batches.words import counted, dollars
from orchestrator.config import state_folder
from orchestrator.errors import ConfigError, NoSuchRun
from orchestrator.journals.nights import NightRow, SqliteNights
from orchestrator.journals.owners import owner_of
from orchestrator.journals.sqlite import SqliteJournal
from orchestrator.records import Outcome
from orchestrator.sinks.plain import line, safe, safe_json

FORMS = {".html": "html", ".htm": "html", ".md": "md", ".markdown": "md", ".json": "json"}
T = TypeVar("T")


def write(batch: str, form: str | None, output: Path | None, state: Path | None) -> int:
    """Write the report of a batch to a file or to stdout; return the exit code.

    Raises:
        OrchestratorError: there is no such batch, or the file cannot be written.
    """
    found = report_of(batch, state)
    chosen = form or (FORMS.get(output.suffix.lower(), "html") if output is not None else "md")
    text = rendered(found, chosen)
    if output is None or str(output) == "-":
        # A page is for a browser, which is not hurt by what a terminal would act on.
        sys.stdout.write(text if chosen != "md" else safe(text))
        sys.stdout.flush()
        return 0
    partial = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(output)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise ConfigError(f"--output: {output} cannot be written: {error.strerror}") from None
    click.echo(str(output))
    return 0


def rendered(found: NightReport, form: str) -> str:
    """Return a report as ``html``, ``md`` or ``json``."""
    if form == "html":
        from orchestrator.batches.page import page

        return page(found)
    if form == "md":
        from orchestrator.batches.markdown import markdown

        return markdown(found)
    text = orjson.dumps(found, option=orjson.OPT_INDENT_2)
    return safe_json(text) + "\n"


def report_of(batch: str, state: Path | None) -> NightReport:
    """Return the report of a batch, or of the latest.

    Raises:
        NoSuchRun: there is none.
    """

    async def read(journal: SqliteJournal, nights: SqliteNights) -> NightReport:
        row = await nights.row(batch) if batch else next(iter(await nights.rows()), None)
        if row is None:
            raise NoSuchRun("there is no batch yet", hint="orchestrate batch --label NAME")
        events = decode_events(await nights.events(row.night))
        night = decode_night(row.record)
        view = NightView(night, events)
        runs = {run for one in view.issues.values() for run in (one.run, *one.runs) if run}
        outcomes: dict[str, Outcome] = {}
        for run in runs:
            outcome = await journal.outcome(run)
            if outcome is not None:
                outcomes[run] = outcome
        return reported(night, events, outcomes, now=time.time(), is_worked_on=row.is_worked_on)

    return _with_journal(state, read)


def list_all(*, as_json: bool, state: Path | None) -> int:
    """Print all batches, newest first; return the exit code."""

    async def read(_: SqliteJournal, nights: SqliteNights) -> list[tuple[NightRow, NightView]]:
        return [
            (
                row,
                NightView(decode_night(row.record), decode_events(await nights.events(row.night))),
            )
            for row in await nights.rows()
        ]

    try:
        found = _with_journal(state, read)
    except NoSuchRun:
        found = []
    if as_json:
        rows = [
            {
                "batch": row.night,
                "state": standing(row),
                "began": row.began,
                "counts": view.counts(),
                "usd": view.settled_usd,
                "ceiling_usd": view.night.ceiling.usd,
            }
            for row, view in found
        ]
        sys.stdout.write(safe_json(orjson.dumps(rows, option=orjson.OPT_INDENT_2)) + "\n")
        return 0
    if not found:
        click.echo("no batches yet")
    for row, view in found:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(row.began))
        about = f"{counted(view.counts())}; {dollars(view.settled_usd)}"
        click.echo(f"{line(row.night, 40):<20} {standing(row):<9} {when}  {about}")
    return 0


def standing(row: NightRow) -> str:
    """Return how a batch stands: one whose process is gone can be gone on with."""
    return "cut off" if row.state == "running" and not row.is_worked_on else row.state


def _with_journal(
    state: Path | None, read: Callable[[SqliteJournal, SqliteNights], Awaitable[T]]
) -> T:
    folder = (state or state_folder(os.environ)).absolute()
    path = folder / "journal.db"
    if not path.is_file():
        raise NoSuchRun(f"no batches in {folder}", hint="name another folder with --state")
    owner = owner_of(os.getpid())
    journal = SqliteJournal(path, owner=owner)
    try:
        return anyio.run(read, journal, SqliteNights(journal.database, owner=owner))
    finally:
        journal.close()
