"""What the scheduler is told of agents, models, gates and the repository."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from orchestrator import prices, prompts
from orchestrator.accounts import Account
from orchestrator.asking import Fallback, Patience
from orchestrator.assembly.caring import care_of
from orchestrator.assembly.clients import REPLAY, Clients
from orchestrator.assembly.launching import require_tools
from orchestrator.assembly.rosters import sources
from orchestrator.assembly.routes import IssueRouting
from orchestrator.assembly.runfolders import keep_report, seed, workspace_parts
from orchestrator.assembly.runjudges import RunJudges
from orchestrator.assembly.sharing import limits_of
from orchestrator.assembly.surroundings import needs_of, shared_of
from orchestrator.definitions.folder import REPOSITORY_FOLDERS, Roster, roster
from orchestrator.errors import ConfigError
from orchestrator.events import Event, Notice, Signal
from orchestrator.governor import Governor
from orchestrator.located import require_writable
from orchestrator.means import Means
from orchestrator.pacing import Pacing
from orchestrator.planning import Place, Wish
from orchestrator.ports import CodeHost, Gate, IssueTracker, ModelClient, Sandbox
from orchestrator.preparation import Needs
from orchestrator.records import (
    AgentDefinition,
    Issue,
    Limits,
    Outcome,
    Route,
    Run,
)
from orchestrator.removal import remove_tree
from orchestrator.repository import Repository
from orchestrator.routing.route import known
from orchestrator.runner import Runner
from orchestrator.settings import Config
from orchestrator.workspaces import Shared

if TYPE_CHECKING:
    from orchestrator.publishing import Delivery

GUIDANCE = ("AGENTS.md", "CLAUDE.md")
SUBMODULES = ".gitmodules"
TOLD = "told"
"""The file that stands in a run's folder once all was told of its end."""


Lane = Callable[[str, ModelClient], ModelClient]
"""Gives what asks for the replies of a run, by its id, from what would ask in the usual way."""


class RepositoryPlans:
    """What the scheduler is told of agents, models and the repository."""

    def __init__(  # noqa: PLR0913 - every collaborator is passed in
        self,
        *,
        repository: Repository,
        config: Config,
        state: Path,
        sandbox: Sandbox,
        client: ModelClient | None,
        agents: Path | None,
        environment: Mapping[str, str],
        gates: Sequence[Gate] = (),
        host: CodeHost | None = None,
        together: Account | None = None,
        lane: Lane | None = None,
        governor: Governor | None = None,
        fallback: str | None = None,
    ) -> None:
        self._lane = lane
        self._host = host
        self._together = together
        self._governor = governor
        self._pacing = Pacing()
        self._fallback_name = fallback or config.model.fallback
        self._has_own_gates = bool(gates or config.gates.commands)
        self.repo = repository.id
        self._repository = repository
        self._config = config
        self._state = state
        self._sandbox = sandbox
        self._agents_folder = agents
        self._environment = environment
        self._clients = Clients(config, environment, given=client, governor=governor)
        self._found: Roster | None = None
        self._guidance = ""
        self._has_submodules = False
        self._base = repository.located.head
        self._judges = RunJudges(
            config,
            repository=repository,
            base=self._base,
            given=gates,
            agents=self.roster,
            model_of=self._reviewing_model,
            client_of=self._reviewing_client,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._clients.aclose()

    def require_delivery(self) -> None:
        """Refuse settings of delivery that contradict each other, before anybody is asked."""
        self._delivery()

    async def ready(self) -> None:
        """Prove that repository and walls can be used, and the settings ask for nothing else."""
        await self._pacing.begin()
        require_writable(self._repository.common)
        await self._sandbox.check()
        self._needs()
        if self._has_own_gates:
            self._judges.names()  # names that are given twice are told before anything is paid for
        if self._config.review.enabled:
            known(self._config.review.agent, self.roster())

    # -- agents and models -----------------------------------------------------------------

    def found(self) -> Roster:
        """Return the agents from every place, nearest first."""
        if self._found is None:
            self._repository.require_complete(self._base)
            entries = self._repository.entries(
                self._base, *REPOSITORY_FOLDERS, *GUIDANCE, SUBMODULES
            )
            self._has_submodules = SUBMODULES in entries
            wanted = {
                name: sha
                for name, (mode, sha) in entries.items()
                if mode.startswith("100") and name.endswith(".md")
            }
            contents = dict(zip(wanted, self._repository.blobs(list(wanted.values())), strict=True))
            texts = [contents.pop(name, b"").decode("utf-8", "replace") for name in GUIDANCE]
            self._guidance = next((text for text in texts if text.strip()), "")
            self._found = roster(sources(contents, self._environment, self._agents_folder))
        return self._found

    def roster(self) -> Mapping[str, AgentDefinition]:
        """Return the agents by name."""
        return self.found().agents

    async def route(self, issue: Issue, wanted: str | None, tracker: IssueTracker) -> Route:
        """Choose the agent for an issue."""
        decision = await self.routing(tracker).decide(issue, wanted)
        route = decision.route(issue)
        require_tools(self.roster()[route.agent])
        return route

    def routing(self, tracker: IssueTracker | None) -> IssueRouting:
        """Return what decides who gets an issue.

        Args:
            tracker: may tell who had issues like it; None leaves that out.
        """
        return IssueRouting(
            self.roster(), self._config.routing, asked=self._clients.asked, tracker=tracker
        )

    def model_for(self, agent: AgentDefinition, wanted: str | None) -> tuple[str, bool]:
        """Return the model's id, and whether its replies are scripted."""
        name = wanted or agent.model
        if name is not None and name.startswith(REPLAY):
            path = Path(name.removeprefix(REPLAY)).absolute()
            self._clients.of(f"{REPLAY}{path}")
            return f"{REPLAY}{path}", True
        model = self._resolved(name)
        self._clients.of(model.id)
        return model.id, False

    def require_a_model(self, agents: Sequence[str], wanted: str | None) -> None:
        """Refuse where none of some agents has a model that can be asked.

        Raises:
            ConfigError: why the first of them has none.
        """
        refused: list[ConfigError] = []
        for name in agents:
            if name not in self.roster():
                continue  # routing decides again, and tells of it
            try:
                self.model_for(self.roster()[name], wanted)
            except ConfigError as error:
                refused.append(error)
            else:
                return
        if refused:
            raise refused[0]

    def _resolved(self, name: str | None) -> prices.Model:
        """Return the model that an agent's file or a setting names, else the configured one."""
        name = prices.named(name, self._config.model.default)
        return prices.resolve(name, self._config.extra_models())

    def limits(self, wish: Wish, before: Limits | None) -> Limits:
        """Return a run's limits: what was asked for, else what it had, else the settings."""
        return limits_of(wish, before or self._config.run_limits(), slow=self._lane is not None)

    # -- one run ---------------------------------------------------------------------------

    async def place(self, issue: Issue, on: Sequence[str] = ()) -> Place:
        """Return where the work starts from, and what it becomes.

        Where nothing leaves this machine, work builds on the branches that it waits for. Where
        pull requests are opened it does not: each is a change of the base by itself.
        """
        repository, base = self._repository, self._base
        delivery, ref = self._delivery(), repository.located.branch
        taken: Mapping[str, str] = {}
        if delivery is not None:
            from orchestrator.assembly.delivering import require_base
            from orchestrator.publishing import require_known

            # What would stand in the way of delivery is told before anything is paid for.
            require_base(delivery, ref)
            await require_known(repository, delivery.remote, base, ref)
            taken = await delivery.remote.heads()
        elif on:
            from orchestrator.assembly.delivering import holding_all

            stacked = await anyio.to_thread.run_sync(holding_all, repository, on, base)
            base, ref = (stacked, "") if stacked else (base, ref)
        branch = repository.free_branch(prompts.branch_name(issue), base, taken)
        return Place(base, ref, branch)

    async def branch_beside(self, run: Run, fork: str) -> str:
        """Return a branch of a fork's own: the issue's, and what tells the fork from others."""
        taken: Mapping[str, str] = {}
        delivery = self._delivery()
        if delivery is not None:
            taken = await delivery.remote.heads()
        wanted = f"{prompts.branch_name(run.issue)}-fork-{fork.rpartition('-')[2][:4]}"
        return self._repository.free_branch(wanted, run.base_commit, taken)

    async def seed(self, parent: Run, run: Run, kept: str) -> None:
        """Have a fork's workspace begin with what was kept of its parent's."""
        runs = self._state / "runs"
        await anyio.to_thread.run_sync(seed, runs / parent.run_id, runs / run.run_id, kept)

    async def going_on(self, issue: Issue, last: Run | None) -> tuple[Place | None, str]:
        """Return where work goes on with what was said of an issue's pull request."""
        delivery = self._delivery()
        if delivery is None:
            return None, ""
        from orchestrator.feedback import standing_of

        branch = last.branch if last is not None else prompts.branch_name(issue)
        standing = await standing_of(delivery, self._repository, branch, issue.key, last)
        if standing.continued is None:
            return None, standing.note
        return Place(standing.head, "", branch, standing.continued), ""

    def _delivery(self) -> Delivery | None:
        asked = self._config.delivery
        if not asked.push and not asked.rescue and asked.pull_request == "none":
            return None
        from orchestrator.assembly.delivering import delivery_of

        return delivery_of(
            self._config,
            self._repository,
            state=self._state,
            environment=self._environment,
            host=self._host,
        )

    def runner(
        self,
        run: Run,
        agent: AgentDefinition,
        events: Sequence[Event],
        emit: Callable[..., Awaitable[None]],
        show: Callable[[Signal], None],
    ) -> Runner:
        """Return what does a run."""
        self.require_price(run)
        model = self._priced(run)
        settings = self._config
        for notice in (*self.found().notices, *agent.warnings):
            show(Notice(notice))
        for gap in self._sandbox.gaps:
            show(Notice(f"sandbox {self._sandbox.name}: {gap}"))
        means = Means(
            folder=self._state / "runs" / run.run_id,
            repository=self._repository,
            sandbox=self._sandbox,
            client=self._asking(run, self._clients.of(run.model)),
            model=model,
            judges=self._judges.of(run),
            delivery=self._delivery(),
            patience=Patience(
                settings.model.retries,
                settings.model.backoff_s,
                settings.model.longest_wait_s,
                settings.model.reply_s,
            ),
            pack_limit=settings.workspace.pack_limit_mb * 1024 * 1024,
            needs=self._needs(),
            care=care_of(settings, self._environment, self._state, slow=self._has_lane(run)),
            shared=self._shared(run, show),
            guidance=self._guidance,
            notes=self._notes(),
            clock=time.monotonic,
            dice=random.Random(),  # noqa: S311 - jitter of waiting times
            pacing=self._pacing,
            together=self._together,
            governor=self._governor,
            fallback=self._fallback(run),
        )
        means.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Runner(run=run, agent=agent, events=events, emit=emit, show=show, means=means)

    def _asking(self, run: Run, client: ModelClient) -> ModelClient:
        """Return what asks for a run's replies: by way of the lane, where there is one."""
        if self._lane is None or run.scripted:
            return client
        return self._lane(run.run_id, client)

    def _has_lane(self, run: Run) -> bool:
        return self._lane is not None and not run.scripted

    def _needs(self) -> Needs:
        return needs_of(
            self._config,
            state=self._state,
            repository=self._repository,
            sandbox=self._sandbox,
            environment=self._environment,
        )

    def _shared(self, run: Run, show: Callable[[Signal], None]) -> Shared:
        names = self._config.workspace.share
        if not names:
            return Shared()
        shared, notices = shared_of(names, self._repository, run.base_commit, self._environment)
        for notice in notices:
            show(Notice(notice))
        return shared

    def require_price(self, run: Run) -> None:
        """Refuse a run whose dollar limit cannot be kept.

        Raises:
            ConfigError: there is a limit, and the model has no price.
        """
        shared = self._together.left_usd() if self._together is not None else None
        limited = run.limits.usd is not None or shared is not None
        if limited and self._priced(run).price is None:
            raise ConfigError(
                f"{run.model} has no known price, so a dollar limit cannot be kept",
                hint="give it one under `models:` in your config.yaml, or set limits.usd: null",
            )

        fallback = self._fallback(run)
        if limited and fallback is not None and fallback.model.price is None:
            raise ConfigError(
                f"{fallback.model.id} has no known price, so a dollar limit cannot be kept",
                hint="give it one under `models:` in your config.yaml, or name another fallback",
            )

    def _fallback(self, run: Run) -> Fallback | None:
        """Return the model that goes on where a run's own is not to be had."""
        if self._fallback_name is None or run.scripted:
            return None
        model = prices.resolve(self._fallback_name, self._config.extra_models())
        return Fallback(model, self._clients.of(model.id))

    def _priced(self, run: Run) -> prices.Model:
        if run.scripted:
            return _free(run.model)
        return prices.resolve(run.model, self._config.extra_models())

    def _notes(self) -> tuple[str, ...]:
        if self._has_submodules:
            return ("Submodules are not checked out here: their folders are empty.",)
        return ()

    def _reviewing_model(
        self, run: Run, agent: AgentDefinition, wanted: str | None
    ) -> prices.Model:
        """Return the model that reviews a run.

        Where the author's replies come from a recording, a reviewer whose model nobody names is
        played from it too.
        """
        if run.scripted and wanted is None:
            return _free(run.model)
        return self._resolved(wanted or agent.model)

    def _reviewing_client(self, run: Run, model: prices.Model, session: str) -> ModelClient:
        return self._asking(run, self._clients.of(model.id, session))

    async def holds(self, name: str) -> bool:
        """Tell whether the repository still has a commit, by its id or a ref."""
        return await anyio.to_thread.run_sync(self._repository.has, name)

    async def finished(self, run: Run, outcome: Outcome) -> None:
        """Keep the report beside the run; drop what nothing needs any more."""
        await keep_report(self._repository, self._state / "runs" / run.run_id, run, outcome)

    def is_told(self, run: str) -> bool:
        """Tell whether all that is told of a run's end was told."""
        folder = self._state / "runs" / run
        return (folder / TOLD).is_file() and (folder / "report.md").is_file()

    def told(self, run: str) -> None:
        """Note that all of it was told; where that cannot be kept it is told again, to no harm."""
        with suppress(OSError):
            (self._state / "runs" / run / TOLD).touch(mode=0o600)

    async def given_up(self, run: str) -> None:
        """Remove the workspaces and refs of a run that nobody goes on with."""
        folder = self._state / "runs" / run
        for place in workspace_parts(folder):
            await anyio.to_thread.run_sync(remove_tree, place)
        await anyio.to_thread.run_sync(self._repository.delete_refs, f"refs/orchestrate/{run}/")


def _free(recording: str) -> prices.Model:
    """Return the model that a recording stands for: nobody is asked, so it costs nothing."""
    return prices.Model(id=recording, price=prices.with_cache_rates(0, 0))
