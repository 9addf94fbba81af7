"""Runs of issues: fetched, routed, begun once, taken up again, and always ended in an outcome."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Awaitable, Callable, Sequence

import anyio
import anyio.abc

from orchestrator.broadcast import Broadcast
from orchestrator.errors import (
    ConfigError,
    IssueNotReady,
    JournalError,
    LeaseLost,
    NoSuchRun,
    OrchestratorError,
    TrackerError,
    only,
)
from orchestrator.events import FIRST_EPOCH, Event, Notice, RunParked, RunResumed, RunStarted
from orchestrator.outcomes import go_on
from orchestrator.planning import Journal, OwnedJournal, Place, Plans, Wish
from orchestrator.ports import EventSink, IssueKeys, IssueTracker
from orchestrator.rebuilding import as_kept
from orchestrator.records import (
    CLOSED,
    PARKED,
    AgentDefinition,
    Issue,
    Outcome,
    Run,
    Usage,
)
from orchestrator.runner import Runner
from orchestrator.tending import Tending

BEAT_S = 10.0
"""Seconds between two moments at which the journal is told that this process lives."""

DONE_BEFORE = "this run was done before, and nothing was done now; --new runs the issue again"


class Scheduler:
    """Begins runs, takes them up again, and sees to it that each ends in an outcome.

    Args:
        tracker: where issues come from.
        journal: where runs are kept.
        plans: agents, models, repository.
        sinks: are told of events and signals.
        tending: sees to the issues themselves.
    """

    def __init__(
        self,
        *,
        tracker: IssueTracker,
        journal: Journal,
        plans: Plans,
        tending: Tending,
        sinks: Sequence[EventSink] = (),
    ) -> None:
        self._tending = tending
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
        ended = await self._journal.ended(self._plans.repo, key) if unfinished is None else None
        if ended is not None:
            await self.completed(*ended)
        told = None if wish.new or ended is None or ended[1].status != "done" else ended
        if told is not None and not await self._plans.holds(told[1].commit):
            told = None
        issue = await self._issue(key, told)
        place, note = await self._going_on(issue, wish)
        if told is not None and place is None:
            return await self._told_again(*told, note)
        if place is None and not wish.again and await self._journal.last(self._plans.repo, key):
            raise IssueNotReady(f"the last run of issue {key} has ended, and nothing new was said")
        await self._require_ready(issue, wish.done)
        await self._plans.ready()
        run_id = wish.run or f"{issue.key}-{secrets.token_hex(4)}"
        planned = None
        if unfinished is not None:
            # What stands in the way of a new run is told before the old one is lost.
            planned = await self._planned(issue, wish, place, run_id)
            await self._give_up(issue, unfinished)
        await self._tending.take(issue.key, run_id)
        try:
            run, agent = planned or await self._planned(issue, wish, place, run_id)
            started = RunStarted(run, agent)
            journal = await self._journal.begin(run, started)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._tending.give_back(issue.key, run_id)
            raise
        return await self._work(run, agent, journal, [started], is_kept=True)

    async def _give_up(self, issue: Issue, run: str) -> None:
        """Give up an unfinished run for a new one."""
        # Taken over first, so that a process that still works on it is told apart and refused.
        journal = await self._journal.take_over(run)
        try:
            await self._journal.abandon(run)
        finally:
            journal.leave()
        await self._tending.give_back(issue.key, run)

    async def completed(self, run: Run, outcome: Outcome, journal: OwnedJournal) -> Outcome:
        """Tell what is not told yet of a run that has ended, as where its process was killed."""
        if self._plans.is_told(run.run_id):
            return outcome
        return await self._told(run, outcome, journal.append, await journal.events())

    async def _told(
        self,
        run: Run,
        outcome: Outcome,
        emit: Callable[..., Awaitable[None]],
        events: Sequence[Event],
    ) -> Outcome:
        outcome, complete = await self._tending.tell(run, outcome, emit, events)
        await self._plans.finished(run, outcome)
        if complete:
            self._plans.told(run.run_id)
        return outcome

    async def _issue(self, key: str, told: tuple[Run, Outcome, OwnedJournal] | None) -> Issue:
        """Return an issue; one that is done here need not be there any more."""
        try:
            return await self._fetched(key)
        except OrchestratorError:
            if told is None:
                raise
            return told[0].issue

    async def _fetched(self, key: str) -> Issue:
        """Return an issue as the journal will give it back; a tracker may be anybody's."""
        found: object = await self._tracker.fetch(key)
        try:
            return as_kept(Issue, found)
        except TypeError as error:
            raise TrackerError(f"what the tracker gave as issue {key} is none: {error}") from None

    async def _going_on(self, issue: Issue, wish: Wish) -> tuple[Place | None, str]:
        if wish.new:
            return None, ""
        last = await self._journal.last(self._plans.repo, issue.key)
        return await self._plans.going_on(issue, last)

    async def _told_again(
        self, run: Run, outcome: Outcome, journal: OwnedJournal, note: str = ""
    ) -> Outcome:
        """Return the outcome of a run that is done; what may have been cut off is completed."""
        outcome = await self.completed(run, outcome, journal)
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
        journal = await self._journal.take_over(run_id, silent=wish.take_over)
        try:
            return await self._gone_on(run_id, wish, journal)
        finally:
            journal.leave()

    async def _gone_on(self, run_id: str, wish: Wish, journal: OwnedJournal) -> Outcome:
        events = await journal.events()
        started = next((e for e in events if isinstance(e, RunStarted)), None)
        if started is None:
            await self._journal.abandon(run_id)
            raise NoSuchRun(f"run {run_id} never began", hint="start the issue again")
        last = next((e.run for e in reversed(events) if isinstance(e, RunResumed)), started.run)
        try:
            run = self._as_wished(last, started.agent, wish)
            await self._tending.take(run.issue.key, run.run_id)
        except OrchestratorError as error:
            # It is not worked on here, so that another process may go on with it.
            await journal.append(RunParked(journal.epoch, _not_taken(last, events, error)))
            raise
        return await self._work(
            run, started.agent, journal, [*events, RunResumed(journal.epoch, run)]
        )

    def _as_wished(self, last: Run, agent: AgentDefinition, wish: Wish) -> Run:
        """Return a run as it goes on: what it was, with what is asked for now."""
        if wish.agent not in {None, last.route.agent}:
            raise ConfigError(
                f"run {last.run_id} is {last.route.agent}'s",
                hint="give it up with --new, or leave out --agent",
            )
        model, scripted = last.model, last.scripted
        if wish.model is not None:
            model, scripted = self._plans.model_for(agent, wish.model)
        limits = self._plans.limits(wish, last.limits)
        return dataclasses.replace(last, limits=limits, model=model, scripted=scripted)

    async def fork(self, parent: Run, events: Sequence[Event], at: int, wish: Wish) -> Outcome:
        """Begin a run where another one stood after a turn, and do it to its end.

        Args:
            parent: the run as it was last; it stays as it is.
            events: the parent's.
            at: the turn.
            wish: another model, other limits.

        Raises:
            OrchestratorError: the parent cannot be forked there, or a run cannot be begun.
        """
        from orchestrator.forking import forked, kept_state

        run_id = f"{parent.issue.key}-{secrets.token_hex(4)}"
        run = await self._beside(parent, run_id, at, wish)
        begun = forked(events, at, run)
        agent = next(one.agent for one in begun if isinstance(one, RunStarted))
        self._plans.require_price(run)
        await self._plans.ready()
        await self._plans.seed(parent, run, kept_state(begun))
        await self._tending.take(run.issue.key, run.run_id)
        try:
            # What was wished for is kept with the copied events: a kill leaves nothing in between.
            events = [*begun, RunResumed(FIRST_EPOCH, run)]
            journal = await self._journal.begin(run, *events)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._tending.give_back(run.issue.key, run.run_id)
            raise
        return await self._work(run, agent, journal, events, is_kept=True)

    async def _beside(self, parent: Run, run_id: str, at: int, wish: Wish) -> Run:
        """Return the fork of a run: its own id, branch and attempt, and what was wished for."""
        route = parent.route
        if route.choice is not None:  # the parent has paid for it
            unpaid = dataclasses.replace(route.choice, usage=Usage(), cost_usd=0.0)
            route = dataclasses.replace(route, choice=unpaid)
        model, scripted = parent.model, parent.scripted
        if wish.model is not None:
            agent = self._plans.roster().get(route.agent)
            if agent is None:
                raise ConfigError(f"the agent {route.agent} of run {parent.run_id} is gone")
            model, scripted = self._plans.model_for(agent, wish.model)
        return dataclasses.replace(
            parent,
            run_id=run_id,
            route=route,
            attempt=await self._journal.attempts(self._plans.repo, parent.issue.key) + 1,
            limits=self._plans.limits(wish, parent.limits),
            branch=await self._plans.branch_beside(parent, run_id),
            model=model,
            scripted=scripted,
            continues=None,
            forked_from=parent.run_id,
            forked_at=at,
        )

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
        place = place or await self._plans.place(issue, wish.on)
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

    async def _require_ready(self, issue: Issue, done: Sequence[str]) -> None:
        if issue.state.lower() in CLOSED:
            raise IssueNotReady(f"issue {issue.key} is {issue.state}", hint="reopen it first")
        for key in issue.blocked_by:
            if key.lstrip("#") in done:
                continue
            blocker = await self._fetched(key.lstrip("#"))
            if blocker.state.lower() not in CLOSED:
                raise IssueNotReady(
                    f"issue {issue.key} is blocked by {blocker.key}, which is {blocker.state}",
                    hint=f"resolve issue {blocker.key} first, or take it out of blocked_by",
                )

    async def _work(
        self,
        run: Run,
        agent: AgentDefinition,
        journal: OwnedJournal,
        events: Sequence[Event],
        *,
        is_kept: bool = False,
    ) -> Outcome:
        """Do a run.

        Args:
            run: what is to be done.
            agent: who does it.
            journal: the run's.
            events: those that it holds already, and the one that this process begins with.
            is_kept: whether it holds that one, too.
        """
        try:
            async with anyio.create_task_group() as tasks:
                broadcast = Broadcast(journal, self._sinks, tasks)
                tasks.start_soon(_beat, journal)
                try:
                    if is_kept:
                        broadcast.tell(events[-1])
                    else:
                        await broadcast.emit(events[-1])
                    outcome = await self._watched(run, agent, journal, broadcast, events)
                finally:
                    with anyio.CancelScope(shield=True):
                        await broadcast.drained()
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise only(group) from None
        finally:
            journal.leave()
        return outcome

    async def _watched(
        self,
        run: Run,
        agent: AgentDefinition,
        journal: OwnedJournal,
        broadcast: Broadcast,
        events: Sequence[Event],
    ) -> Outcome:
        """Do the run; an interruption parks it before it passes on."""
        runner = self._plans.runner(run, agent, events, broadcast.emit, broadcast.show)
        try:
            outcome = await self._tended(runner, run, broadcast, events)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self._park(runner.interrupted(), run, journal, broadcast)
            raise
        if outcome.status in PARKED:
            hint = outcome.hint or go_on(run, outcome.limit)
            outcome = dataclasses.replace(outcome, hint=hint)
            await self._park(outcome, run, journal, broadcast)
            return outcome
        return await self._told(run, outcome, broadcast.emit, events)

    async def _tended(
        self, runner: Runner, run: Run, broadcast: Broadcast, events: Sequence[Event]
    ) -> Outcome:
        """Do the run while its issue is kept; it stops where that becomes another's."""
        if not self._tending.is_asked_for:
            return await runner.outcome()
        ended: list[Outcome] = []
        async with anyio.create_task_group() as tasks:

            async def keep() -> None:
                lost = await self._tending.keep(run, broadcast.emit, events)
                ended.append(
                    dataclasses.replace(runner.interrupted(), status="unavailable", error=lost)
                )
                tasks.cancel_scope.cancel()

            tasks.start_soon(keep)
            outcome = await runner.outcome()
            ended.append(outcome)
            tasks.cancel_scope.cancel()
        return ended[0]

    async def _park(
        self, outcome: Outcome, run: Run, journal: OwnedJournal, broadcast: Broadcast
    ) -> None:
        try:
            await broadcast.emit(RunParked(journal.epoch, outcome))
        except LeaseLost:
            return  # the run is another's, and so is everything beside it
        except JournalError:
            # What stopped the run may be the journal's own disk: resume needs no such event.
            broadcast.show(
                Notice("the stop could not be journaled; the run can go on all the same")
            )
        await self._plans.finished(run, outcome)


async def _beat(journal: OwnedJournal) -> None:
    """Tell the journal that this process lives; stop the run where it is another's by now."""
    while True:
        await anyio.sleep(BEAT_S)
        try:
            await journal.beat()
        except LeaseLost:
            raise
        except JournalError:
            continue  # what has to be recorded next meets the same, and tells it


def _not_taken(run: Run, events: Sequence[Event], error: OrchestratorError) -> Outcome:
    """Return the outcome of a run that cannot go on just now; its costs stay as told.

    What was asked for wrongly changes nothing of how it stood.
    """
    parked = [one.outcome for one in events if isinstance(one, RunParked)]
    if parked and isinstance(error, ConfigError):
        return parked[-1]
    fresh = Outcome("unavailable", run.run_id, run.issue.key, run.route.agent, run.model)
    before = parked[-1] if parked else fresh
    return dataclasses.replace(before, status="unavailable", error=str(error), hint=go_on(run))


def _branch_again(outcome: Outcome) -> str:
    return f"git branch {outcome.branch} {outcome.commit}"
