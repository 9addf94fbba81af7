"""A batch from the command line: planned, begun or gone on with, shown, and told at its end."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import click

from orchestrator import config as configuration
from orchestrator.assembly.nightplans import NightWish, plan_night
from orchestrator.assembly.nights import Nights
from orchestrator.batches.nights import LaneName, Night, Wanted
from orchestrator.batches.planning import NightPlan, NotPlanned
from orchestrator.batches.report import NightReport
from orchestrator.batches.shift import Shift
from orchestrator.batches.until import moment
from orchestrator.batches.wanted import keys_of
from orchestrator.batches.words import dollars, seconds, usd_range
from orchestrator.cli.again import placed
from orchestrator.cli.ending import EXIT
from orchestrator.cli.nightplan import summed
from orchestrator.cli.nightreport import rendered, report_of
from orchestrator.cli.nightshow import COLUMNS, SPARE, NightShow
from orchestrator.cli.running import may_colour
from orchestrator.cli.stopping import INTERRUPTED
from orchestrator.config import state_folder
from orchestrator.errors import ConfigError, RepositoryRefused
from orchestrator.records import Limits
from orchestrator.repository import locate
from orchestrator.settings import BatchSettings
from orchestrator.sinks.plain import line
from orchestrator.tuning import tune_process
from orchestrator.values import frozen

Opening = Callable[[Nights], AbstractAsyncContextManager[Shift]]


@frozen
class NightOrder:
    """What the command line asks for; None leaves it to the settings."""

    labels: tuple[str, ...] = ()
    issues: str | None = None
    agent: str | None = None
    model: str | None = None
    side_by_side: bool = False
    limit_usd: float | None = None
    per_issue_usd: float | None = None
    parallel: int | None = None
    until: str | None = None
    lane: LaneName | None = None
    dry_run: bool = False
    repos: tuple[Path, ...] = ()
    as_json: bool = False
    log_file: Path | None = None
    state: Path | None = None
    config: Path | None = None
    agents: Path | None = None
    sandbox: str | None = None

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> NightOrder:
        """Take up click's options."""
        return cls(**options)

    def state_folder(self) -> Path:
        """Return where runs are kept."""
        return (self.state or state_folder(os.environ)).absolute()


def begin(order: NightOrder) -> int:
    """Plan a batch, and work on it unless that was all; return the exit code.

    Raises:
        OrchestratorError: it cannot be planned or begun.
    """
    wish, until = wish_of(order, time.time())
    plan = anyio.run(_planned, wish, order.state_folder())
    if order.dry_run or not plan.plan:
        show(plan, wish, order)
        nobody = not plan.plan and all(one.is_missing or one.is_broken for one in plan.not_planned)
        return ConfigError.exit_code if nobody and plan.not_planned else 0
    for told in summed(plan, ceiling_usd=wish.ceiling.usd, parallel=wish.parallel):
        click.echo(told, err=True)
    for left in plan.not_planned:
        click.echo(f"{line(left.issue, 40)} is not planned: {line(left.why, 200)}", err=True)
    night = Night(
        night="",
        sites=plan.sites,
        wanted=wish.wanted,
        plan=plan.plan,
        ceiling=wish.ceiling,
        per_issue=wish.per_issue,
        parallel=wish.parallel,
        until=until,
        lane=wish.lane,
    )
    unread = [one for one in plan.not_planned if one.is_missing or one.is_broken]
    return work(order, lambda nights: nights.begun(night), unread)


async def _planned(wish: NightWish, state: Path) -> NightPlan:
    return await plan_night(wish, state=state)


def resume(batch: str, order: NightOrder) -> int:
    """Go on with a batch; return the exit code.

    Raises:
        OrchestratorError: there is none, or another process works on it.
    """
    until = moment(order.until, time.time()) if order.until else None
    usd, per_issue = order.limit_usd, order.per_issue_usd
    return work(
        order,
        lambda nights: nights.resumed(
            batch,
            ceiling=None if usd is None else Limits(usd=usd),
            per_issue=None if per_issue is None else Limits(usd=per_issue),
            parallel=order.parallel,
            until=until,
            lane=order.lane,
        ),
    )


# -- at work -------------------------------------------------------------------------------


def work(order: NightOrder, opened: Opening, unread: Sequence[NotPlanned] = ()) -> int:
    """Work on a batch to its end, or until it is stopped; show it, and tell at the end.

    Args:
        order: what the command line asks for.
        opened: begins the batch, or goes on with it.
        unread: what was meant and is not in it, since it is not there or broken.
    """
    with ExitStack() as stack:
        log = None
        if order.log_file is not None:
            from orchestrator.sinks.log import LogSink

            file = stack.enter_context(order.log_file.open("a", encoding="utf-8"))
            log = LogSink(file)
        table = None
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            from orchestrator.sinks.table import LiveTable

            table = LiveTable(
                sys.stderr, colour=may_colour(sys.stderr), columns=COLUMNS, spare=SPARE
            )
        shown = NightShow(sys.stderr, table=table, log=log)
        batch, was_stopped = anyio.run(_work, order, opened, shown)
    found = report_of(batch, order.state_folder())
    code = exit_code(found, was_stopped=was_stopped) or int(bool(unread))
    _tell(found, code, order.config)
    if order.as_json:
        sys.stdout.write(rendered(found, "json"))
    else:
        click.echo("\n".join([*ending(found), *map(_not_planned, unread)]))
    return code


async def _work(order: NightOrder, opened: Opening, shown: NightShow) -> tuple[str, bool]:
    """Work on a batch; return its id, and whether a person stopped it."""
    tune_process()
    nights = Nights(
        state=order.state_folder(),
        heard=shown.hear,
        looks=shown.look,
        agents=order.agents,
        sandbox_backend=order.sandbox,
    )
    stopped = False
    async with nights, opened(nights) as shift, anyio.create_task_group() as tasks:
        with shown.drawing():
            tasks.start_soon(shown.keep_up)
            stopped = await until_stopped_twice(shift, shown.say)
            tasks.cancel_scope.cancel()
    return shown.batch, stopped


async def until_stopped_twice(shift: Shift, tell: Callable[[str], None]) -> bool:
    """Work to the end; Ctrl-C finishes turns in flight, a second one parks at once, a third kills.

    Returns:
        Whether it was stopped.
    """
    times = 0
    async with anyio.create_task_group() as tasks:

        async def listen(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            nonlocal times
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
                task_status.started()
                async for _ in received:
                    times += 1
                    if times == 1:
                        tell("stopping: turns in flight are finished; once more stops now")
                        shift.stop()
                    elif times == 2:
                        tell("stopping now: what runs is parked")
                        shift.stop_now()
                    else:
                        os._exit(INTERRUPTED)

        await tasks.start(listen)
        await shift.work()
        tasks.cancel_scope.cancel()
    return times > 0


def exit_code(found: NightReport, *, was_stopped: bool) -> int:
    """Return the exit code of a batch.

    That is 0 all done, 130 stopped, 5 nothing but faults of machine or service, 4 the ceiling
    ended it, else 1.
    """
    if all(one.fate == "done" for one in found.issues):
        return 0
    if was_stopped:
        return INTERRUPTED
    if all(one.fate == "infrastructure" for one in found.issues):
        return EXIT["unavailable"]
    return EXIT["limit_reached"] if found.stopped_by == "ceiling" or found.hit_ceiling else 1


def ending(found: NightReport) -> list[str]:
    """Return the lines that tell how a batch ended."""
    totals, ceiling = found.totals, found.ceiling_usd
    of = f" of {dollars(ceiling)}" if ceiling is not None else ""
    lines = [
        f"batch {found.night}: {found.counted}",
        f"  dollars   {dollars(totals.usd)}{of}; expected {usd_range(found.forecast)}",
        f"  turns     {totals.turns}, {seconds(totals.wall_s)}",
    ]
    lines += [f"  note      {line(note, 200)}" for note in found.notes]
    for one in found.issues:
        where = one.pull_request or one.branch
        told = where if one.fate == "done" else one.why
        outcome = f"{line(one.issue, 40):<10} {one.outcome}, {dollars(one.usd)}"
        lines.append(f"  {outcome}{f': {line(told, 200)}' if told else ''}")
    if found.standing != "complete":
        lines.append(f"  go on     {placed(f'orchestrate batch resume {found.night}')}")
    report = f"orchestrate batch report {found.night} --output night.html"
    lines.append(f"  report    {placed(report)}")
    return lines


def _not_planned(one: NotPlanned) -> str:
    return f"  {line(one.issue, 40):<10} not planned: {line(one.why, 200)}"


def _tell(found: NightReport, code: int, explicit: Path | None) -> None:
    """Tell whoever the user's settings name that the batch has ended; a failure is a notice."""
    user = configuration.user_file(os.environ)
    on_end = configuration.load(user=user, repository=None, explicit=explicit).batch.on_end
    if not on_end.command and not on_end.webhook:
        return
    from orchestrator.batches.onend import post, run_command, told_json

    data, limit = told_json(found, code), on_end.timeout_s
    failures = []
    if on_end.command:
        failures.append(run_command(on_end.command, data, os.environ, timeout_s=limit))
    if on_end.webhook:
        failures.append(post(on_end.webhook, data, timeout_s=limit))
    for failure in failures:
        if failure:
            click.echo(f"notice: {line(failure, 300)}", err=True)


# -- what is asked for ---------------------------------------------------------------------


def wish_of(order: NightOrder, now: float) -> tuple[NightWish, float | None]:
    """Return what is asked for, with the settings where the command line says nothing; its end."""
    repos = order.repos or (Path(),)
    settings = _settings(repos[0], order.config)
    said = order.until if order.until is not None else settings.until
    until = moment(said, now) if said else None
    given = order.limit_usd, order.per_issue_usd
    usd, per_issue = (
        mine if mine is not None else theirs
        for mine, theirs in zip(given, (settings.usd, settings.per_issue_usd), strict=True)
    )
    wanted = Wanted(
        labels=order.labels,
        issues=keys_of(order.issues) if order.issues is not None else (),
        agent=order.agent,
        model=order.model,
        side_by_side=order.side_by_side,
    )
    return NightWish(
        repos=repos,
        wanted=wanted,
        config=order.config,
        agents=order.agents,
        ceiling=Limits(usd=usd),
        per_issue=Limits(usd=per_issue),
        parallel=order.parallel or max(settings.parallel, 1),
        minutes_left=None if until is None else (until - now) / 60,
        lane=order.lane or settings.lane,
    ), until


def _settings(repo: Path, explicit: Path | None) -> BatchSettings:
    try:
        top = locate(repo.absolute()).top
    except RepositoryRefused:
        top = None  # the plan says so, with the reason
    user = configuration.user_file(os.environ)
    return configuration.load(user=user, repository=top, explicit=explicit).batch


def show(plan: NightPlan, wish: NightWish, order: NightOrder) -> None:
    """Print a plan."""
    from orchestrator.cli.nightplan import print_plan_json, show_plan

    if order.as_json:
        print_plan_json(plan, ceiling_usd=wish.ceiling.usd, parallel=wish.parallel)
        return
    if not plan.plan:
        click.echo("nothing to do")
    show_plan(plan, ceiling_usd=wish.ceiling.usd, parallel=wish.parallel)
