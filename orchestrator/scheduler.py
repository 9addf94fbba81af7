"""Runs of issues: fetched, routed, begun once, taken up again, and always ended in an outcome."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import anyio
import anyio.abc

from orchestrator.broadcast import Broadcast
from orchestrator.errors import (
    ConfigError,
    IssueNotReady,
    IssueTaken,
    JournalError,
    NoSuchRun,
    OrchestratorError,
    only,
)
from orchestrator.events import Event, Notice, RunParked, RunResumed, RunStarted, Signal
from orchestrator.ports import Claims, EventSink, IssueKeys, IssueTracker, RunJournal
from orchestrator.pullrequests import Continued
from orchestrator.records import (
    CLOSED,
    PARKED,
    AgentDefinition,
    Issue,
    Limits,
    Outcome,
    Route,
    Run,
)
from orchestrator.runner import Runner

DONE_BEFORE = "this run was done before, and nothing was done now; --new runs the issue again"


class OwnedJournal(RunJournal, Protocol):
    """The journal of a run that this process owns."""

    run: str
    epoch: int


class Journal(Protocol):
    """The journal of all runs, as far as the scheduler needs it."""

    async def begin(self, run: Run) -> OwnedJournal: ...
    async def take_over(self, run: str) -> OwnedJournal: ...
    async def unfinished(self, repo: str, issue: str) -> str | None: ...
    async def done(self, repo: str, issue: str) -> tuple[Run, Outcome] | None: ...
    async def last(self, repo: str, issue: str) -> Run | None: ...
    async def attempts(self, repo: str, issue: str) -> int: ...
    async def abandon(self, run: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for on one run; None leaves it to the configuration.

    Attributes:
        new: whether an unfinished run of the issue is given up for a new attempt.
        again: whether an issue whose run has ended otherwise than done is begun anew.
    """

    agent: str | None = None
    model: str | None = None
    limit_usd: float | None = None
    limit_turns: int | None = None
    new: bool = False
    again: bool = True


@dataclass(frozen=True, slots=True)
class Place:
    """Where work starts from, and what it becomes.

    Attributes:
        base_ref: the user's branch, by its full name; empty where HEAD is on none.
        continues: the pull request whose feedback is the task, if it is that.
    """

    base: str
    base_ref: str
    branch: str
    continues: Continued | None = None


class Plans(Protocol):
    """What the scheduler has to be told of agents, models and repositories."""

    repo: str

    def roster(self) -> Mapping[str, AgentDefinition]:
        """Return the agents."""
        ...

    async def route(self, issue: Issue, wanted: str | None, tracker: IssueTracker) -> Route:
        """Choose the agent; the tracker may tell who had issues like it."""
        ...

    def model_for(self, agent: AgentDefinition, wanted: str | None) -> tuple[str, bool]:
        """Return the model's id, and whether its replies are scripted."""
        ...

    def limits(self, wish: Wish, before: Limits | None) -> Limits:
        """Return a run's limits."""
        ...

    def require_price(self, run: Run) -> None:
        """Refuse a run whose dollar limit cannot be kept."""
        ...

    async def place(self, issue: Issue) -> Place:
        """Return where the work starts from, and what it becomes."""
        ...

    async def going_on(self, issue: Issue, last: Run | None) -> tuple[Place | None, str]:
        """Return where work goes on with feedback, or None and what a person should know."""
        ...

    async def ready(self) -> None:
        """Prove what every run needs, before one is begun."""
        ...

    def runner(
        self,
        run: Run,
        agent: AgentDefinition,
        journal: RunJournal,
        emit: Callable[..., Awaitable[None]],
        show: Callable[[Signal], None],
    ) -> Runner:
        """Return what does the run."""
        ...

    async def holds(self, name: str) -> bool:
        """Tell whether the repository still has a commit, by its id or a ref."""
        ...

    async def finished(self, run: Run, outcome: Outcome) -> None:
        """Keep the report, and drop what is no longer needed."""
        ...


class Scheduler:
    """Begins runs, takes them up again, and sees to it that each ends in an outcome.

    Args:
        tracker: where issues come from.
        journal: where runs are kept.
        plans: agents, models, repository.
        sinks: are told of events and signals.
        claims: marks issues as taken; None where nobody else works on them.
    """

    def __init__(
        self,
        *,
        tracker: IssueTracker,
        journal: Journal,
        plans: Plans,
        sinks: Sequence[EventSink] = (),
        claims: Claims | None = None,
    ) -> None:
        self._claims = claims
        self._tracker = tracker
        self._journal = journal
        self._plans = plans
        self._sinks = tuple(sinks)

    async def run_issue(self, key: str, wish: Wish) -> Outcome:
        """Work on an issue: begin a run, or go on with its unfinished one.

        Raises:
            OrchestratorError: the run cannot be begun; what happens later is an outcome.
        """
        if isinstance(self._tracker, IssueKeys):
            key = self._tracker.key_of(key)
        unfinished = await self._journal.unfinished(self._plans.repo, key)
        if unfinished is not None and not wish.new:
            return await self.resume(unfinished, wish)
        done = None if wish.new else await self._journal.done(self._plans.repo, key)
        told = done if done is not None and await self._plans.holds(done[1].commit) else None
        issue = await self._issue(key, told)
        place, note = await self._going_on(issue, wish)
        if told is not None and place is None:
            return await self._told_again(*told, note)
        if place is None and not wish.again and await self._journal.last(self._plans.repo, key):
            raise IssueNotReady(f"the last run of issue {key} has ended, and nothing new was said")
        await self._require_ready(issue)
        if unfinished is not None:
            # Taken over first, so that a process that still works on it is told apart and refused.
            await self._journal.take_over(unfinished)
            await self._journal.abandon(unfinished)
        await self._plans.ready()
        run_id = f"{issue.key}-{secrets.token_hex(4)}"
        await self._require_claim(issue.key, run_id)
        try:
            run, agent = await self._planned(issue, wish, place, run_id)
            journal = await self._journal.begin(run)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._released(issue.key, run_id)
            raise
        return await self._work(run, agent, journal, RunStarted(run, agent))

    async def _require_claim(self, issue: str, run: str) -> None:
        if self._claims is not None and not await self._claims.claim(issue, run):
            raise IssueTaken(
                f"another orchestrator works on issue {issue}",
                hint="wait for it; a claim that nobody renews ends by itself",
            )

    async def _released(self, issue: str, run: str) -> None:
        """Give the issue back; where that fails the claim ends by itself."""
        if self._claims is not None:
            with suppress(OrchestratorError):
                await self._claims.release(issue, run)

    async def _issue(self, key: str, told: tuple[Run, Outcome] | None) -> Issue:
        """Return an issue; one that is done here need not be there any more."""
        try:
            return await self._tracker.fetch(key)
        except OrchestratorError:
            if told is None:
                raise
            return told[0].issue

    async def _going_on(self, issue: Issue, wish: Wish) -> tuple[Place | None, str]:
        if wish.new:
            return None, ""
        last = await self._journal.last(self._plans.repo, issue.key)
        return await self._plans.going_on(issue, last)

    async def _told_again(self, run: Run, outcome: Outcome, note: str = "") -> Outcome:
        """Return the outcome of a run that is done; what may have been cut off is completed."""
        await self._plans.finished(run, outcome)
        await self._tracker.report(run.issue, outcome)
        notes = (*outcome.notes, DONE_BEFORE, *([note] if note else []))
        if not await self._plans.holds(f"refs/heads/{outcome.branch}"):
            notes = (*notes, f"its branch is gone; to have it again: {_branch_again(outcome)}")
        return dataclasses.replace(outcome, notes=notes)

    async def resume(self, run_id: str, wish: Wish) -> Outcome:
        """Go on with a run; higher limits are accepted.

        Raises:
            OrchestratorError: there is no such run, or another process works on it.
        """
        await self._plans.ready()
        journal = await self._journal.take_over(run_id)
        events = await journal.events()
        started = next((e for e in events if isinstance(e, RunStarted)), None)
        if started is None:
            await self._journal.abandon(run_id)
            raise NoSuchRun(f"run {run_id} never began", hint="start the issue again")
        last = next((e.run for e in reversed(events) if isinstance(e, RunResumed)), started.run)
        if wish.agent not in {None, last.route.agent}:
            raise ConfigError(
                f"run {run_id} is {last.route.agent}'s",
                hint="give it up with --new, or leave out --agent",
            )
        model, scripted = last.model, last.scripted
        if wish.model is not None:
            model, scripted = self._plans.model_for(started.agent, wish.model)
        run = dataclasses.replace(
            last, limits=self._plans.limits(wish, last.limits), model=model, scripted=scripted
        )
        await self._require_claim(run.issue.key, run.run_id)
        return await self._work(run, started.agent, journal, RunResumed(journal.epoch, run))

    async def _planned(
        self, issue: Issue, wish: Wish, place: Place | None, run_id: str
    ) -> tuple[Run, AgentDefinition]:
        route = await self._plans.route(issue, wish.agent, self._tracker)
        agent = self._plans.roster()[route.agent]
        model, scripted = self._plans.model_for(agent, wish.model)
        limits = self._plans.limits(wish, None)
        if agent.max_turns is not None and wish.limit_turns is None:
            turns = min(limits.turns or agent.max_turns, agent.max_turns)
            limits = dataclasses.replace(limits, turns=turns)
        place = place or await self._plans.place(issue)
        attempt = await self._journal.attempts(self._plans.repo, issue.key) + 1
        run = Run(
            run_id=run_id,
            repo=self._plans.repo,
            issue=issue,
            route=route,
            attempt=attempt,
            limits=limits,
            base_commit=place.base,
            branch=place.branch,
            model=model,
            scripted=scripted,
            base_ref=place.base_ref,
            continues=place.continues,
        )
        self._plans.require_price(run)
        return run, agent

    async def _require_ready(self, issue: Issue) -> None:
        if issue.state.lower() in CLOSED:
            raise IssueNotReady(f"issue {issue.key} is {issue.state}", hint="reopen it first")
        for key in issue.blocked_by:
            blocker = await self._tracker.fetch(key.lstrip("#"))
            if blocker.state.lower() not in CLOSED:
                raise IssueNotReady(
                    f"issue {issue.key} is blocked by {blocker.key}, which is {blocker.state}",
                    hint=f"resolve issue {blocker.key} first, or take it out of blocked_by",
                )

    async def _work(
        self, run: Run, agent: AgentDefinition, journal: OwnedJournal, first: Event
    ) -> Outcome:
        try:
            async with anyio.create_task_group() as tasks:
                broadcast = Broadcast(journal, self._sinks, tasks)
                try:
                    outcome = await self._watched(run, agent, journal, broadcast, first)
                finally:
                    with anyio.CancelScope(shield=True):
                        await broadcast.drained()
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise only(group) from None
        return outcome

    async def _watched(
        self,
        run: Run,
        agent: AgentDefinition,
        journal: OwnedJournal,
        broadcast: Broadcast,
        first: Event,
    ) -> Outcome:
        """Do the run; an interruption parks it before it passes on."""
        await broadcast.emit(first)
        runner = self._plans.runner(run, agent, journal, broadcast.emit, broadcast.show)
        try:
            outcome = await runner.outcome()
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self._park(runner.interrupted(), run, journal, broadcast)
            raise
        if outcome.status in PARKED:
            outcome = dataclasses.replace(outcome, hint=outcome.hint or go_on(run))
            await self._park(outcome, run, journal, broadcast)
            return outcome
        await self._plans.finished(run, outcome)
        await self._released(run.issue.key, run.run_id)
        await self._tracker.report(run.issue, outcome)
        return outcome

    async def _park(
        self, outcome: Outcome, run: Run, journal: OwnedJournal, broadcast: Broadcast
    ) -> None:
        try:
            await broadcast.emit(RunParked(journal.epoch, outcome))
        except JournalError:
            # What stopped the run may be the journal's own disk: resume needs no such event.
            broadcast.show(
                Notice("the stop could not be journaled; the run can go on all the same")
            )
        await self._plans.finished(run, outcome)


def _branch_again(outcome: Outcome) -> str:
    return f"git branch {outcome.branch} {outcome.commit}"


def go_on(run: Run) -> str:
    """Say how a parked run goes on."""
    return f"go on with: orchestrate issue {run.issue.key}"
