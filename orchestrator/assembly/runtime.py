"""The runtime for one repository, as programs and the command line use it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio

from orchestrator import config as configuration
from orchestrator.accounts import Account
from orchestrator.assembly.machine import chosen_walls, make_private, make_sandbox
from orchestrator.assembly.outside import Outside
from orchestrator.assembly.plans import Lane, RepositoryPlans
from orchestrator.assembly.sharing import Governing, shared_account
from orchestrator.definitions.folder import Roster
from orchestrator.errors import ConfigError, IssueNotFound, JournalError
from orchestrator.journals.owners import owner_of
from orchestrator.journals.sqlite import RunRow, SqliteJournal
from orchestrator.planning import Wish
from orchestrator.ports import (
    Claims,
    CodeHost,
    EventSink,
    Gate,
    IssueKeys,
    IssueTracker,
    ModelClient,
    Sandbox,
)
from orchestrator.records import Limits, Outcome
from orchestrator.repository import Repository, locate
from orchestrator.scheduler import Scheduler
from orchestrator.settings import Config

if TYPE_CHECKING:
    from orchestrator.assembly.branches import JudgedBranch, Judging
    from orchestrator.assembly.history import History


CLOSING_S = 10.0
"""How long connections may take to close; then they are left to the end of the process."""


class Orchestrator:
    """Runs issues of one repository.

    Used as an async context manager::

        async with Orchestrator.from_config(repo=".") as orchestrator:
            outcome = await orchestrator.run_issue("123")

    Args:
        repository: what is worked on.
        config: the settings.
        state: where runs and the journal are kept.
        tracker: where issues come from.
        sandbox: the walls.
        sinks: are told of every event and signal.
        client: asks the model; None makes one from the settings.
        agents: a folder of agent files that wins over all others.
        gates: your own, which judge after those of the settings; any object that fits ``Gate``.
        host: where pull requests are; any object that fits ``CodeHost``.
        claims: marks issues as taken; any object that fits ``Claims``.
        together: what all runs of this process may use up together, or an account for it.
        lane: gives what asks for the replies of a run, as by way of batches.
        fallback: the model that goes on where a run's own is overloaded; None is the settings'.
        governing: the models' lanes, where other objects of this process use them too.
    """

    def __init__(  # noqa: PLR0913 - what an embedder may choose
        self,
        *,
        repository: Repository,
        config: Config,
        state: Path,
        tracker: IssueTracker | None = None,
        sandbox: Sandbox | None = None,
        sinks: Sequence[EventSink] = (),
        client: ModelClient | None = None,
        agents: Path | None = None,
        environment: Mapping[str, str] | None = None,
        gates: Sequence[Gate] = (),
        host: CodeHost | None = None,
        claims: Claims | None = None,
        together: Limits | Account | None = None,
        lane: Lane | None = None,
        fallback: str | None = None,
        governing: Governing | None = None,
    ) -> None:
        self._lane = lane
        self._fallback = fallback
        self.governing = governing or Governing(config, state)
        self._together = shared_account(together)
        self._gates = tuple(gates)
        self._repository = repository
        self._config = config
        self._state = state
        self._sandbox = sandbox
        self._sinks = tuple(sinks)
        self._client = client
        self._agents = agents
        self._environment = dict(os.environ if environment is None else environment)
        self._outside = Outside(
            repository,
            config,
            state=state,
            environment=self._environment,
            tracker=tracker,
            host=host,
            claims=claims,
        )
        self._journal: SqliteJournal | None = None
        self._plans: RepositoryPlans | None = None
        self._reload: Callable[[Mapping[str, bytes]], Config] | None = None

    @classmethod
    def from_config(  # noqa: PLR0913 - what an embedder may choose
        cls,
        path: str | Path | None = None,
        *,
        repo: str | Path = ".",
        state: str | Path | None = None,
        sinks: Sequence[EventSink] = (),
        client: ModelClient | None = None,
        tracker: IssueTracker | None = None,
        sandbox_backend: str | None = None,
        agents: str | Path | None = None,
        gates: Sequence[Gate] = (),
        host: CodeHost | None = None,
        claims: Claims | None = None,
        together: Limits | Account | None = None,
        lane: Lane | None = None,
        fallback: str | None = None,
        governing: Governing | None = None,
    ) -> Self:
        """Make one from the settings files.

        Args:
            path: a config.yaml; None looks where ``orchestrate`` looks.
            repo: any folder of the repository.
            state: the state directory; None is ``$XDG_STATE_HOME/orchestrate``.
            sinks: are told of every event and signal.
            client: asks the model; None makes one from the settings.
            tracker: where issues come from; None is the folder of markdown issues.
            agents: a folder of agent files that wins over all others.
            sandbox_backend: ``none`` gives up the walls, as the flag does.
            gates: your own, which judge after those of the settings.
            host: where pull requests are.
            claims: marks issues as taken.
            together: what all runs of this process may use up together.
            lane: gives what asks for the replies of a run, as by way of batches.
            fallback: the model that goes on where a run's own is overloaded for too long.
            governing: the models' lanes, where other objects of this process use them too.

        Raises:
            ConfigError: a settings file is broken.
            RepositoryRefused: ``repo`` is no repository that can be worked on.
        """
        repository = locate(Path(repo).absolute())
        levels = partial(
            configuration.load,
            user=configuration.user_file(os.environ),
            repository=repository.top,
            explicit=Path(path) if path is not None else None,
        )
        config = levels()
        folder = Path(state) if state is not None else configuration.state_folder(os.environ)
        made = cls(
            repository=repository,
            config=config,
            state=folder.absolute(),
            sinks=sinks,
            client=client,
            tracker=tracker,
            sandbox=make_sandbox(chosen_walls(config.sandbox, sandbox_backend), folder.absolute()),
            agents=Path(agents) if agents is not None else None,
            gates=gates,
            host=host,
            claims=claims,
            together=together,
            lane=lane,
            fallback=fallback,
            governing=governing,
        )
        made._reload = lambda committed: levels(committed=committed)
        return made

    async def __aenter__(self) -> Self:
        """Open the journal."""
        make_private(self._state)
        self._journal = SqliteJournal(self._state / "journal.db", owner=owner_of(os.getpid()))
        self._plans = RepositoryPlans(
            repository=self._repository,
            config=self._config,
            state=self._state,
            sandbox=self._sandbox or make_sandbox(self._config.sandbox, self._state),
            client=self._client,
            agents=self._agents,
            environment=self._environment,
            gates=self._gates,
            host=self._outside.host(),
            together=self._together,
            lane=self._lane,
            governor=self.governing.governor,
            fallback=self._fallback,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the journal and every connection."""
        try:
            with anyio.move_on_after(CLOSING_S, shield=True):
                await self._outside.aclose()
                if self._plans is not None:
                    await self._plans.aclose()
        finally:
            self._repository.close()
            self.governing.close()
            journal, self._journal, self._plans = self._journal, None, None
            if journal is not None:
                journal.close()

    async def run_issue(  # noqa: PLR0913 - what may be wished for
        self,
        key: str,
        *,
        agent: str | None = None,
        model: str | None = None,
        limit_usd: float | None = None,
        limit_turns: int | None = None,
        limit_tokens: int | None = None,
        limit_minutes: float | None = None,
        new: bool = False,
    ) -> Outcome:
        """Work on an issue, or go on with its unfinished run.

        Raises:
            OrchestratorError: the run cannot be begun; what happens later is an outcome.
        """
        wish = Wish(
            agent, model, limit_usd, limit_turns, new,
            limit_tokens=limit_tokens, limit_minutes=limit_minutes,
        )  # fmt: skip
        return await self._scheduler().run_issue(key, wish)

    async def resume(  # noqa: PLR0913 - what may be wished for
        self,
        run: str,
        *,
        model: str | None = None,
        limit_usd: float | None = None,
        limit_turns: int | None = None,
        limit_tokens: int | None = None,
        limit_minutes: float | None = None,
        take_over: bool = False,
    ) -> Outcome:
        """Go on with a run that was parked or cut off; a finished one returns its outcome.

        Args:
            run: its id.
            model: another model from here on.
            limit_usd: dollars that the whole run may cost.
            limit_turns: turns that the whole run may take.
            limit_tokens: tokens that the whole run may take.
            limit_minutes: how long it may take from now on.
            take_over: whether it is also taken from a process that is there, and of which nothing
                was heard for longer than its lease.

        Raises:
            OrchestratorError: there is no such run, or another process works on it.
        """
        row = await self._open_journal().row(run)
        if row.repo != self._repository.id:
            raise ConfigError(f"run {row.run} belongs to {row.repo}", hint="name it with --repo")
        wish = Wish(
            None, model, limit_usd, limit_turns,
            limit_tokens=limit_tokens, limit_minutes=limit_minutes, take_over=take_over,
        )  # fmt: skip
        return await self._go_on(self._scheduler(), row.run, wish)

    async def ready(self, agents: Sequence[str] = (), model: str | None = None) -> None:
        """Prove that runs can be begun here: the walls stand, and the settings go together.

        Args:
            agents: who are expected to work; at least one of them has to have a model.
            model: which one is wished for; None is each agent's own.

        Raises:
            OrchestratorError: the machine or a setting has to be mended first.
        """
        self._open_plans().require_delivery()
        await self._open_plans().ready()
        self._open_plans().require_a_model(agents, model)

    async def work(
        self, key: str, wish: Wish, *, run: str = "", sinks: Sequence[EventSink] = ()
    ) -> Outcome:
        """Do one of many runs that are planned together, watched by sinks of its own.

        Args:
            key: the issue.
            wish: what is asked for.
            run: the run that is gone on with; empty begins one.
            sinks: are told of this run alone, beside those that are told of all.

        Raises:
            OrchestratorError: it cannot be begun, or gone on with.
        """
        scheduler = self._scheduler(sinks)
        if not run:
            return await scheduler.run_issue(key, wish)
        return await self._go_on(scheduler, run, wish)

    async def _go_on(self, scheduler: Scheduler, run: str, wish: Wish) -> Outcome:
        ended = await self._open_journal().reopened(run)
        return await (scheduler.completed(*ended) if ended else scheduler.resume(run, wish))

    async def look_after(self, key: str, *, model: str | None = None) -> Outcome | None:
        """Do what there is to do for an issue by itself, and begin nothing that a person ended.

        Returns:
            How it ended; None where its run waits for a person, as for a higher limit.

        Raises:
            OrchestratorError: there is nothing to do, or it cannot be begun.
        """
        return await self.history().look_after(self.key_of(key), model=model)

    async def give_up(self, key: str) -> None:
        """Give up an issue's unfinished run, and remove its workspaces and refs.

        Raises:
            OrchestratorError: another process works on it.
        """
        await self.history().give_up(self.key_of(key))

    async def parked(self, key: str) -> Outcome | None:
        """Return the outcome of an issue's parked run, named by the issue's key or the run's id."""
        journal = self._open_journal()
        with suppress(IssueNotFound):  # it may be a run's id
            run = await journal.unfinished(self._repository.id, self.key_of(key))
            if run is not None:
                return await journal.outcome(run)
        return await journal.outcome(key)

    def tracker(self) -> IssueTracker:
        """Return where issues come from; it is closed with this.

        Raises:
            ConfigError: a setting or the credential is missing, or does not fit.
        """
        return self._outside.tracker()

    def key_of(self, said: str) -> str:
        """Return an issue's one key, for any way to write it; nobody is asked.

        Raises:
            IssueNotFound: it is none of this project's.
        """
        tracker = self._outside.tracker()
        return tracker.key_of(said) if isinstance(tracker, IssueKeys) else said

    def history(self) -> History:
        """Return what can be done with runs that there are: fork, replay, abandon, clear up."""
        from orchestrator.assembly.history import History

        return History(
            repository=self._repository,
            config=self._config,
            state=self._state,
            sandbox=self._sandbox or make_sandbox(self._config.sandbox, self._state),
            journal=self._open_journal(),
            plans=self._open_plans(),
            outside=self._outside,
            scheduler=self._scheduler,
        )

    async def runs(self) -> list[RunRow]:
        """Return all runs of the state directory, newest first."""
        return await self._open_journal().rows()

    async def judge(self, *, branch: str = "", base: str = "") -> JudgedBranch:
        """Let the gates judge a branch that anybody wrote; no model is asked, and nothing is kept.

        Args:
            branch: its name, or any name of a commit; empty means what is checked out.
            base: what it is a change of; empty means origin/HEAD, main or master.

        Raises:
            OrchestratorError: there is no such branch, or this machine cannot run the gates.
        """
        make_private(self._state)
        return await self._judging().judge(branch, base)

    def gates(self) -> list[tuple[str, str]]:
        """Return name and reason of each gate that judges work in this repository, in order."""
        return self._judging().described()

    def _judging(self) -> Judging:
        from orchestrator.assembly.branches import Judging

        return Judging(
            repository=self._repository,
            config=self._config,
            state=self._state,
            sandbox=self._sandbox or make_sandbox(self._config.sandbox, self._state),
            environment=self._environment,
            sinks=self._sinks,
            given=self._gates,
            reload=self._reload,
        )

    def agents(self) -> Roster:
        """Return the agents that this repository's runs can use."""
        return self._open_plans().found()

    def _scheduler(self, sinks: Sequence[EventSink] = ()) -> Scheduler:
        plans = self._open_plans()
        plans.require_delivery()
        return Scheduler(
            tracker=self._outside.tracker(),
            journal=self._open_journal(),
            plans=plans,
            sinks=(*self._sinks, *sinks),
            tending=self._outside.tending(),
        )

    def _open_journal(self) -> SqliteJournal:
        if self._journal is None:
            raise JournalError("use it inside its `async with` block")
        return self._journal

    def _open_plans(self) -> RepositoryPlans:
        if self._plans is None:
            raise JournalError("use it inside its `async with` block")
        return self._plans
