"""What a night would do: issues of trackers, routed by rules and words, foretold from past runs.

No model is asked, and nothing is changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import Path

import anyio

from orchestrator import config as configuration
from orchestrator import prices
from orchestrator.assembly.clients import REPLAY
from orchestrator.assembly.rosters import agents_here
from orchestrator.assembly.routes import IssueRouting
from orchestrator.assembly.sharing import sound
from orchestrator.assembly.tracking import close_all, tracker_of
from orchestrator.batches.forecast import Case, Past, expected
from orchestrator.batches.nights import IssueId, LaneName, Site, Wanted
from orchestrator.batches.order import Waiting, ordered
from orchestrator.batches.planning import Considered, NightPlan, NotPlanned, night_plan
from orchestrator.errors import (
    ConfigError,
    DefinitionError,
    IssueNotFound,
    OrchestratorError,
    TrackerError,
)
from orchestrator.journals.history import worked_s
from orchestrator.journals.owners import owner_of
from orchestrator.journals.sqlite import RunRow, SqliteJournal
from orchestrator.ports import IssueKeys, IssueQueue, IssueTracker, UnreadableIssues
from orchestrator.records import CLOSED, AgentDefinition, Issue, Limits, Outcome
from orchestrator.repository import Repository, locate
from orchestrator.settings import Config
from orchestrator.values import frozen

MOST = 500
"""Issues that a label may bring into one night."""
AT_ONCE = 6
"""Questions to one tracker at a time."""
LEARNT_FROM = 400
"""Runs of the past, the newest, that forecasts look at."""
TAUGHT_BY = frozenset({"done", "gate_failed", "needs_human"})
"""How runs end that teach: what was interrupted, or hit a limit, tells only a part of its cost."""
HALF = 0.5
LEAST_SHARE = 0.4


@frozen
class NightWish:
    """What is asked of a night.

    Attributes:
        repos: any folder of each repository.
        config: a settings file that wins over the others.
        minutes_left: until it has to end; None has no end.
    """

    repos: tuple[Path, ...]
    wanted: Wanted
    config: Path | None = None
    agents: Path | None = None
    ceiling: Limits = field(default_factory=Limits)
    per_issue: Limits = field(default_factory=Limits)
    parallel: int = 4
    minutes_left: float | None = None
    lane: LaneName = "now"


@frozen
class _Here:
    """One repository with all that is read of it."""

    repository: Repository
    config: Config
    tracker: IssueTracker
    agents: Mapping[str, AgentDefinition]
    site: Site


async def plan_night(
    wish: NightWish,
    *,
    state: Path,
    environment: Mapping[str, str] | None = None,
    trackers: Mapping[str, IssueTracker] | None = None,
) -> NightPlan:
    """Return what a night would do.

    Args:
        wish: what is asked of it.
        state: the state directory, whose past runs are learnt from.
        environment: holds credentials, and says where the user's settings are.
        trackers: where issues are, by the repository's id; others are made from the settings.

    Raises:
        OrchestratorError: something of it cannot be read, or no issue is meant.
    """
    given = os.environ if environment is None else environment
    sound(wish.ceiling)
    sound(wish.per_issue)
    past = await _remembered(state)
    known: dict[IssueId, Considered] = {}
    outside: dict[IssueId, str] = {}
    not_planned: list[NotPlanned] = []
    sites = []
    for folder in wish.repos:
        here = _opened(folder, wish, given, trackers or {})
        try:
            found = await _found(here, wish, not_planned, past)
            sites.append(here.site)
            for one in await _considered(here, found, wish, not_planned, past):
                known[one.waiting.id] = one
            outside |= await _open_outside(here, found)
        finally:
            if not trackers or here.site.repo not in trackers:
                await close_all(here.tracker)
    order = ordered([one.waiting for one in known.values()], side_by_side=wish.wanted.side_by_side)
    return night_plan(
        tuple(sites),
        order,
        known,
        open_outside=outside,
        not_planned=tuple(not_planned),
        parallel=wish.parallel,
        ceiling_usd=wish.ceiling.usd,
        minutes_left=wish.minutes_left,
    )


def _opened(
    folder: Path,
    wish: NightWish,
    environment: Mapping[str, str],
    trackers: Mapping[str, IssueTracker],
) -> _Here:
    repository = locate(folder.absolute())
    config = configuration.load(
        user=configuration.user_file(environment), repository=repository.top, explicit=wish.config
    )
    agents = agents_here(folder, environment, wish.agents).agents
    tracker = trackers.get(repository.id) or tracker_of(repository, config, environment)
    top = str(repository.top or folder.absolute())
    site = Site(repository.id, top, str(wish.config.absolute()) if wish.config else "")
    return _Here(repository, config, tracker, agents, site)


# -- issues --------------------------------------------------------------------------------


async def _found(
    here: _Here, wish: NightWish, not_planned: list[NotPlanned], past: Sequence[_Run]
) -> list[Issue]:
    """Return the issues that are meant and open, the oldest first where the tracker tells."""
    keys = await _keys(here, wish.wanted)
    got: dict[str, Issue | OrchestratorError] = {}

    async def fetch(key: str, room: anyio.CapacityLimiter) -> None:
        async with room:
            try:
                got[key] = await here.tracker.fetch(key)
            except (IssueNotFound, DefinitionError) as error:
                got[key] = error
            except TrackerError as error:
                if not isinstance(here.tracker, UnreadableIssues):
                    raise  # a service that fails would fail for the others too
                got[key] = error

    room = anyio.CapacityLimiter(AT_ONCE)
    try:
        async with anyio.create_task_group() as tasks:
            for key in keys:
                tasks.start_soon(fetch, key, room)
    except BaseExceptionGroup as group:
        raise _first(group) from None
    found = []
    for key in keys:
        issue = got[key]
        if isinstance(issue, OrchestratorError):
            not_planned.append(_left(here, key, issue))
        elif why := _why_not(here, issue, wish.wanted, past):
            not_planned.append(NotPlanned(here.site.repo, key, issue.title, why))
        else:
            found.append(issue)
    return found


def _left(here: _Here, key: str, error: OrchestratorError, title: str = "") -> NotPlanned:
    """Return an issue that an error keeps out of the night."""
    hint = f" ({error.hint})" if error.hint and not isinstance(error, IssueNotFound) else ""
    is_missing = isinstance(error, IssueNotFound)
    return NotPlanned(
        here.site.repo, key, title, f"{error}{hint}", is_missing, is_broken=not is_missing
    )


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def _keys(here: _Here, wanted: Wanted) -> list[str]:
    """Return the one key of each issue that is meant."""
    tracker, config = here.tracker, here.config
    if wanted.issues:
        own = [tracker.key_of(one) if isinstance(tracker, IssueKeys) else one.lstrip("#")
               for one in wanted.issues]  # fmt: skip
        return list(dict.fromkeys(own))
    labels = wanted.labels or config.tracker.labels
    if not labels:
        raise ConfigError(
            "every open issue would be worked on: no label and no issue is named",
            hint="name them with --label or --issues, or set tracker.labels",
        )
    if not isinstance(tracker, IssueQueue):
        raise ConfigError(
            f"tracker.kind: {config.tracker.kind} cannot tell which issues carry a label",
            hint="name the issues with --issues",
        )
    waiting = [one.key for one in await tracker.candidates(labels, MOST)]
    unreadable = await tracker.unreadable() if isinstance(tracker, UnreadableIssues) else ()
    return list(dict.fromkeys([*waiting, *unreadable]))


def _why_not(here: _Here, issue: Issue, wanted: Wanted, past: Sequence[_Run]) -> str:
    """Say why an issue is not worked on though it was meant; mostly nothing."""
    if issue.state.lower() in CLOSED:
        return f"it is {issue.state}"
    missing = [one for one in wanted.labels if one not in issue.labels]
    if wanted.issues and missing:
        return f"it does not carry {', '.join(missing)}"
    last = next(
        (one for one in past if one.past.repo == here.site.repo and one.issue == issue.key), None
    )
    if last is not None and last.state == "done" and not here.config.delivery.push:
        return f"it is done already: run {last.run}"
    return ""


async def _open_outside(here: _Here, issues: Sequence[Issue]) -> dict[IssueId, str]:
    """Return the issues that wait for one which is not meant and not done, and its key."""
    inside = {one.key for one in issues}
    found: dict[IssueId, str] = {}
    known: dict[str, bool] = {}
    for issue in issues:
        for said in issue.blocked_by:
            key = said.lstrip("#")
            if key in inside:
                continue
            if key not in known:
                try:
                    known[key] = (await here.tracker.fetch(key)).state.lower() not in CLOSED
                except OrchestratorError:
                    known[key] = True  # nobody can tell that it is done
            if known[key]:
                found.setdefault((here.site.repo, issue.key), key)
    return found


# -- who gets them, and what they take -----------------------------------------------------


async def _considered(
    here: _Here,
    issues: Iterable[Issue],
    wish: NightWish,
    not_planned: list[NotPlanned],
    past: Sequence[_Run],
) -> list[Considered]:
    routing = IssueRouting(here.agents, here.config.routing, tracker=here.tracker)
    found = []
    learnt = [
        one.past for one in past if one.state in TAUGHT_BY and one.past.turns and not one.scripted
    ]
    ages = bool(wish.wanted.labels or not wish.wanted.issues)
    for age, issue in enumerate(issues):
        try:
            decision = await routing.decide(issue, wish.wanted.agent)
            agent = decision.agent or ""
            case = _case(here, issue, agent, wish)
        except ConfigError as error:
            if wish.wanted.agent is not None or wish.wanted.model is not None:
                raise  # the name that is wrong is that of the whole night
            not_planned.append(_left(here, issue.key, error, issue.title))
            continue
        reason = f"{decision.reason}: {decision.detail}" if decision.detail else decision.reason
        waiting = Waiting(issue, here.site.repo, agent, age if ages else 0)
        foretold = expected(case, learnt)
        found.append(Considered(waiting, agent, reason, foretold))
    return found


def _case(here: _Here, issue: Issue, agent: str, wish: NightWish) -> Case:
    config, definition = here.config, here.agents.get(agent)
    own = definition.model if definition is not None else None
    name = prices.named(wish.wanted.model or own, config.model.default)
    if name.startswith(REPLAY):
        model = prices.Model(name, prices.with_cache_rates(0, 0))
    else:
        model = prices.resolve(name, config.extra_models())
    limits, per_issue = config.run_limits(), wish.per_issue
    turns = [
        one
        for one in (limits.turns, per_issue.turns, definition.max_turns if definition else None)
        if one is not None
    ]
    usd = [one for one in (per_issue.usd or limits.usd, wish.ceiling.usd) if one is not None]
    return Case(
        repo=here.site.repo,
        agent=agent,
        model=model.id,
        labels=frozenset(issue.labels),
        size=len(issue.title) + len(issue.body),
        price=model.price,
        most_usd=min(usd, default=None),
        most_minutes=None if limits.wall_s is None else limits.wall_s / 60,
        most_turns=min(turns, default=None),
        share=1.0 if wish.lane == "now" else HALF,
    )


@frozen
class _Run:
    """A run of the past, the newest first."""

    run: str
    issue: str
    state: str
    past: Past
    scripted: bool


async def _remembered(state: Path) -> list[_Run]:
    """Return the runs of the past, the newest first."""
    path = state / "journal.db"
    if not path.is_file():
        return []

    journal = SqliteJournal(path, owner=owner_of(os.getpid()))
    try:
        rows = (await journal.rows())[:LEARNT_FROM]
        outcomes = [(row, await journal.outcome(row.run)) for row in rows]
        worked = await worked_s(journal.database, LEARNT_FROM)
    finally:
        journal.close()
    return [
        _run(row, outcome, worked.get(row.run, 0.0))
        for row, outcome in outcomes
        if outcome is not None
    ]


def _run(row: RunRow, outcome: Outcome, worked: float) -> _Run:
    issue = row.record.issue
    past = Past(
        repo=row.repo,
        agent=outcome.agent,
        model=outcome.model,
        labels=frozenset(issue.labels),
        size=len(issue.title) + len(issue.body),
        usd=outcome.cost_usd,
        minutes=worked / 60,
        turns=outcome.turns,
        share=_share(outcome),
    )
    return _Run(row.run, row.issue, row.state, past, outcome.scripted)


def _share(outcome: Outcome) -> float:
    """Return the share of the normal price that a run was paid at, in halves."""
    try:
        price = prices.resolve(outcome.model, {}).price
    except ConfigError:
        return 1.0
    normal = price.cost(outcome.usage) if price is not None else 0.0
    return HALF if normal and outcome.cost_usd < (1 + HALF) / 2 * normal else 1.0
