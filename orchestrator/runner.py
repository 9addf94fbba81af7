"""One run of one issue: workspace, agent, gates, delivery. A function from Run to Outcome."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import anyio
import anyio.abc
import anyio.to_thread

from orchestrator import prompts, toolbox, toolcode, toolserver, workspaces
from orchestrator.agent import Agent
from orchestrator.asking import Asking, Ending, stopped_by
from orchestrator.care import Care
from orchestrator.errors import (
    JournalError,
    OrchestratorError,
    only,
)
from orchestrator.events import (
    AUTHOR,
    Event,
    ModelReplied,
    Notice,
    RunFinished,
    Signal,
    TranscriptOpened,
)
from orchestrator.lifeevents import taken_at
from orchestrator.limits import Ledger
from orchestrator.means import Means
from orchestrator.modelevents import ModelSwitched, switched
from orchestrator.outcomes import STATUS, Outcomes, go_on
from orchestrator.permissions import Permissions
from orchestrator.places import PlacedTools
from orchestrator.preparation import Preparation
from orchestrator.records import PARKED, AgentDefinition, Outcome, Run
from orchestrator.session import Session, asked_models, words_of
from orchestrator.snapshots import ServerSnapshots
from orchestrator.transcript import encode_head
from orchestrator.workspaces import Workspace

if TYPE_CHECKING:
    from orchestrator.conclusion import Conclusion
    from orchestrator.publishing import Publisher
    from orchestrator.rounds import Rounds

WRITING = frozenset({"Write", "Edit", "Bash"})
"""Tools of an agent that is there to change files."""

UNCOMMITTED = "your uncommitted changes are not part of this run: it starts from the last commit"


class Runner:
    """Does one run, from wherever its journal says it stands, to its outcome.

    Args:
        run: what is to be done.
        agent: who does it.
        events: what the run's journal holds; what was done already is not done again.
        emit: records events in it and tells the sinks.
        show: shows a signal.
        means: what it is done with.
    """

    def __init__(
        self,
        *,
        run: Run,
        agent: AgentDefinition,
        events: Sequence[Event],
        emit: Callable[..., Awaitable[None]],
        show: Callable[[Signal], None],
        means: Means,
    ) -> None:
        self._run = run
        self._definition = agent
        self._means = means
        self._show = show
        self._emit_on = emit
        self._events = list(events)
        started = means.clock()
        self._elapsed: Callable[[], float] = lambda: means.clock() - started
        self._ledger = Ledger(
            run.limits,
            means.model.price,
            max_output=means.model.max_output,
            elapsed_s=self._elapsed,
            above=means.together,
        )
        self._workspace = Workspace(
            means.folder,
            repository=means.repository,
            base=run.base_commit,
            branch=run.branch,
            sandbox=means.sandbox,
            identity=agent.name,
            shared=means.shared,
        )
        self._preparation = Preparation(
            run=run,
            workspace=self._workspace,
            folder=means.folder,
            needs=means.needs,
            repository=means.repository,
            sandbox=means.sandbox,
            emit=self._emit,
            show=show,
            clock=means.clock,
            pacing=means.pacing,
        )
        self._server = toolserver.ToolServer(
            means.sandbox,
            self._preparation.spec,
            toolcode.boot_argv(means.sandbox),
            prepare=self._prepare,
        )
        self._interrupted = False
        self._outcomes = Outcomes(run, self._ledger, lambda: self._events)

    async def outcome(self) -> Outcome:
        """Run to the end, and return how it ended.

        Raises:
            JournalError: the journal failed, or the run was taken over; no outcome is written.
        """
        finished = next((e for e in reversed(self._events) if isinstance(e, RunFinished)), None)
        if finished is not None:
            return finished.outcome
        self._workspace.leave(taken_at(self._events))
        self._ledger.recount(self._events)
        self._note_models(self._events)
        try:
            with self._ledger.at_work():
                async with self._preparation.open(self._events), self._server.open():
                    return await self._work()
        except Exception as error:  # noqa: BLE001 - the runner's edge: every run ends in an outcome
            return await self._broken_off(only(error))

    async def _emit(self, *events: Event) -> None:
        await self._emit_on(*events)
        self._events.extend(events)
        self._note_models(events)

    def _note_models(self, events: Sequence[Event]) -> None:
        told = tuple(switched(one) for one in events if isinstance(one, ModelSwitched))
        self._outcomes.notes = (*self._outcomes.notes, *told)

    def interrupted(self) -> Outcome:
        """Return the outcome of a run that is being cancelled."""
        hint = go_on(self._run)
        return self._outcomes.of("cancelled", "", error="it was interrupted", hint=hint)

    # -- the work --------------------------------------------------------------------------

    async def _work(self) -> Outcome:
        if self._run.continues is not None:
            publisher = self._publisher()
            if publisher is not None:
                await publisher.begun()
        session, opened = await self._session()
        async with anyio.create_task_group() as tasks:
            snapshots = ServerSnapshots(self._server, self._emit, tasks)
            snapshots.resume(session, self._events)
            agent = self._agent(session, snapshots, opened)
            if len(session.transcript) == 0:
                agent.prompt(self._first_message(), "issue")
            if await self._preparation.takes_long():
                await self._server.start()  # no reply is paid for before it has come to an end
            tasks.start_soon(self._start_ahead)
            tasks.start_soon(self._look_at_checkout)
            outcome = await self._judged(agent, snapshots)
            tasks.cancel_scope.cancel()
        return outcome

    async def _judged(self, agent: Agent, snapshots: ServerSnapshots) -> Outcome:
        """Let the agent work and the gates judge, until one of them has the last word."""
        rounds: Rounds | None = None
        while True:
            ending: Ending = await self._agent_works(agent)
            await snapshots.settled()
            if ending.kind != "finished":
                return await self._stopped(ending)
            rounds = rounds or self._rounds()
            said = await rounds.next(agent, ending.words)
            if isinstance(said, Outcome):
                return said
            if said is not None:
                return await self._stopped(dataclasses.replace(said, words=ending.words))

    def _rounds(self) -> Rounds:
        from orchestrator.rounds import Rounds

        return Rounds(
            run=self._run,
            means=self._means,
            workspace=self._workspace,
            server=self._server,
            setups=self._preparation.setups,
            conclusion=self._conclusion(),
            ledger=self._ledger,
            time_left=self._time_left,
            events=self._events,
            emit=self._emit,
            show=self._show,
        )

    def _time_left(self) -> float | None:
        return self._ledger.account.left_s()

    async def _agent_works(self, agent: Agent) -> Ending:
        account = self._ledger.account
        limit = account.time_limit()
        if limit is None:
            return await agent.run()
        with anyio.move_on_after(account.left_s()):
            return await agent.run()
        return stopped_by(limit)

    async def _session(self) -> tuple[Session, list[Event]]:
        """Return the author's session, and the event that opens it where it is a new one."""
        cwd = self._workspace.layout.workspace
        session = Session.rebuilt(AUTHOR, self._events, cwd)
        opened: list[Event] = []
        if session is None:
            specs = toolbox.specs(self._permissions.names)
            prompt = prompts.system_prompt(self._definition)
            head = encode_head(prompt, specs, self._definition.effort)
            opened = [TranscriptOpened(AUTHOR, head)]
            session = Session.rebuilt(AUTHOR, opened, cwd)
        if session is None:
            raise AssertionError("a session that was just opened is there")
        self._interrupted = session.reply is not None
        await self._require_model(session)
        return session, opened

    async def _require_model(self, session: Session) -> None:
        """Record it where another model than before is to go on with a session."""
        fallback = self._means.fallback
        before, wanted = asked_models(AUTHOR, self._events)
        if wanted not in {self._run.model, fallback.model.id if fallback else ""}:
            wanted = self._run.model
        if before and before != wanted and session.turn > 1:
            why = "it is what was asked for when the run was taken up again"
            event = ModelSwitched(AUTHOR, session.turn, before, wanted, why)
            await self._emit(event)
            session.apply(event)
            self._ledger.cool()

    @cached_property
    def _permissions(self) -> Permissions:
        layout = self._workspace.layout
        return toolbox.permissions_of(
            self._definition, workspace=layout.workspace, home=layout.home
        )

    def _agent(
        self, session: Session, snapshots: ServerSnapshots, opened: Sequence[Event]
    ) -> Agent:
        cache = self._means.care.cache(self._means.model, self._means.clock)

        def asking(of: Session, ledger: Ledger) -> Asking:
            of.model = of.model or session.model  # a summary is written by who answers
            return Asking(
                session=of,
                model=self._run.model,
                client=self._means.client,
                ledger=ledger,
                emit=self._emit,
                show=self._show,
                cache=cache,
                patience=self._means.patience,
                dice=self._means.dice,
                run=self._run.run_id,
                governor=self._means.governor,
                fallback=self._means.fallback,
            )

        return Agent(
            session=session,
            asking=asking(session, self._ledger),
            care=Care(
                self._means.care,
                session=session,
                model=self._means.model,
                ledger=self._ledger,
                cache=cache,
                asking=asking,
                events=lambda: self._events,
                fallback=self._means.fallback.model if self._means.fallback else None,
                writes=bool(WRITING & set(self._permissions.names)),
                answers=self._run.continues is not None,
            ),
            tools=PlacedTools(
                toolbox.Toolbox(self._server, self._permissions, is_full=self._server.is_full),
                self._ledger.account,
                self._show,
            ),
            ledger=self._ledger,
            snapshots=snapshots,
            notes=lambda: [*snapshots.notes(), *self._preparation.notes()],
            emit=self._emit,
            show=self._show,
            clock=self._means.clock,
            opened=opened,
        )

    def _first_message(self) -> str:
        return prompts.first_message(
            self._run.issue,
            branch=self._run.branch,
            guidance=self._means.guidance,
            notes=(*self._means.notes, *self._place_notes(), *self._preparation.told()),
            continued=self._run.continues,
        )

    def _place_notes(self) -> list[str]:
        """Say where the repository is, where the walls cannot make it /workspace."""
        place = self._workspace.layout.workspace
        if place == workspaces.WORKSPACE:
            return []
        return [f"Here the repository is in {place}, not in /workspace."]

    # -- the workspace ---------------------------------------------------------------------

    async def _prepare(self, launch: Callable[[], Awaitable[toolserver.Ask]]) -> None:
        """Have the workspace ready, and where it was, when the server is to serve."""
        await self._preparation.prepare(launch, interrupted=self._interrupted)
        self._interrupted = False

    async def _start_ahead(self) -> None:
        """Have workspace, sandbox, server and validation ready when the first call comes."""
        try:
            await self._server.start()
            await anyio.to_thread.run_sync(self._warm_up)
        except Exception:  # noqa: BLE001 - who needs it first meets it again, where it can be told
            return

    def _warm_up(self) -> None:
        """Load what checks calls and what judges work, while the first reply is awaited."""
        toolbox.warm_up()
        import orchestrator.rounds  # noqa: F401 - it is there when it is needed

        self._means.judges.names()

    async def _look_at_checkout(self) -> None:
        """Tell the user of changes that are not part of the run."""
        try:
            is_dirty = await anyio.to_thread.run_sync(self._means.repository.is_dirty)
        except (OrchestratorError, OSError):
            return  # somebody works in it just now: that is no matter of the run
        if is_dirty:
            self._outcomes.notes = (*self._outcomes.notes, UNCOMMITTED)
            self._show(Notice(UNCOMMITTED))

    # -- ends ------------------------------------------------------------------------------

    def _conclusion(self) -> Conclusion:
        from orchestrator.conclusion import Conclusion
        from orchestrator.rounds import required_of

        return Conclusion(
            self._run,
            repository=self._means.repository,
            outcomes=self._outcomes,
            emit=self._emit,
            events=self._events,
            required=lambda: required_of(self._means),
            publisher=self._publisher(),
        )

    def _publisher(self) -> Publisher | None:
        delivery = self._means.delivery
        if delivery is None:
            return None
        from orchestrator.publishing import Publisher

        return Publisher(
            self._run,
            delivery,
            repository=self._means.repository,
            emit=self._emit,
            events=self._events,
        )

    async def _stopped(self, ending: Ending) -> Outcome:
        outcome = self._outcomes.of(
            STATUS[ending.kind],
            ending.words,
            error=ending.error,
            hint=ending.hint,
            limit=ending.limit,
        )
        if outcome.status in PARKED:
            return outcome
        return await self._conclusion().finished(await self._rescued(outcome))

    async def _rescued(self, outcome: Outcome) -> Outcome:
        """Keep work that nobody judged under a ref, where there is any."""
        rounds = self._rounds()
        try:
            work = await rounds.brought_out(outcome.turns)
        except OrchestratorError as error:
            note = f"the work could not be brought out ({error}); it is in {self._workspace.work}"
            return dataclasses.replace(outcome, notes=(*outcome.notes, note))
        if work.commit == self._run.base_commit:
            return outcome
        from orchestrator.conclusion import Judged
        from orchestrator.workflow import Work

        hint = f"its work is kept: git branch NAME {self._conclusion().head}"
        kept = dataclasses.replace(outcome, commit=work.commit, hint=outcome.hint or hint)
        judged = Judged(outcome.summary, Work(rounds.known_base(), work.commit))
        return await self._conclusion().with_work(kept, judged)

    async def _broken_off(self, error: BaseException) -> Outcome:
        """Turn what was raised into an outcome; what must pass, passes."""
        if isinstance(error, JournalError) or not isinstance(error, Exception):
            raise error
        replies = [e for e in self._events if isinstance(e, ModelReplied) and e.session == AUTHOR]
        last = replies[-1] if replies else None
        words = words_of(last) if last else ""
        outcome = self._outcomes.of_error(error, words, work=self._workspace.work)
        return outcome if outcome.status in PARKED else await self._conclusion().finished(outcome)
