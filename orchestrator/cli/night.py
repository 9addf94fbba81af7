"""A batch from the command line: planned, begun or gone on with, shown, and told at its end."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import click

from orchestrator import config as configuration
from orchestrator.assembly.nightplans import NightWish, plan_night
from orchestrator.batches.nights import LaneName, Wanted
from orchestrator.batches.planning import NightPlan
from orchestrator.batches.until import moment
from orchestrator.batches.wanted import keys_of
from orchestrator.config import state_folder
from orchestrator.errors import ConfigError, RepositoryRefused
from orchestrator.records import Limits
from orchestrator.repository import locate
from orchestrator.settings import BatchSettings


@dataclass(frozen=True, slots=True)
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
    if order.dry_run:
        show(plan, wish, order)
        return 0
    raise ConfigError(f"a batch cannot be begun yet: {until}", hint="look at it with --dry-run")


def resume(batch: str, order: NightOrder) -> int:
    """Go on with a batch; return the exit code.

    Raises:
        OrchestratorError: there is none, or another process works on it.
    """
    raise ConfigError(f"{batch}, {order.lane}: a batch cannot be gone on with yet")


async def _planned(wish: NightWish, state: Path) -> NightPlan:
    return await plan_night(wish, state=state)


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
