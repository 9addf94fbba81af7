"""What the scheduler is told of agents, models, gates and the repository."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import orjson

from orchestrator import prices, prompts
from orchestrator.agent import Patience
from orchestrator.assembly.launching import can_change, require_tools
from orchestrator.assembly.rosters import sources
from orchestrator.assembly.surroundings import needs_of, shared_of
from orchestrator.definitions.folder import REPOSITORY_FOLDERS, Roster, roster
from orchestrator.delivery import render_report
from orchestrator.errors import ConfigError, WorkspaceError
from orchestrator.events import Notice, Signal
from orchestrator.ports import Gate, ModelClient, RunJournal, Sandbox
from orchestrator.preparation import Needs
from orchestrator.records import (
    PARKED,
    AgentDefinition,
    Issue,
    Limits,
    Outcome,
    Route,
    Run,
)
from orchestrator.removal import remove_tree
from orchestrator.repository import Repository
from orchestrator.routing import choose_route
from orchestrator.runner import Means, Runner
from orchestrator.scheduler import Wish
from orchestrator.settings import Config
from orchestrator.workspaces import Shared

if TYPE_CHECKING:
    from orchestrator.gates.suites import Suites

REPLAY = "replay:"
GUIDANCE = ("AGENTS.md", "CLAUDE.md")
SUBMODULES = ".gitmodules"


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
    ) -> None:
        self.repo = repository.id
        self._repository = repository
        self._config = config
        self._state = state
        self._sandbox = sandbox
        self._given_client = client
        self._agents_folder = agents
        self._environment = environment
        self._clients: dict[str, ModelClient] = {}
        self._found: Roster | None = None
        self._guidance = ""
        self._has_submodules = False
        self._base = repository.located.head

    async def aclose(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.aclose()

    async def ready(self) -> None:
        """Prove that the walls stand, and that the settings ask for nothing they cannot do."""
        await self._sandbox.check()
        self._needs()

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

    def route(self, issue: Issue, wanted: str | None) -> Route:
        """Choose the agent for an issue."""
        settings = self._config.routing
        agents = self.roster()
        route = choose_route(
            issue,
            agents,
            labels=settings.labels,
            default=settings.default,
            wanted=wanted,
            able=[name for name, one in agents.items() if can_change(one)],
        )
        require_tools(agents[route.agent])
        return route

    def model_for(self, agent: AgentDefinition, wanted: str | None) -> tuple[str, bool]:
        """Return the model's id, and whether its replies are scripted."""
        name = wanted or agent.model
        if name is None or name == "inherit":
            name = self._config.model.default
        if name.startswith(REPLAY):
            path = Path(name.removeprefix(REPLAY)).absolute()
            self._client_for(f"{REPLAY}{path}")
            return f"{REPLAY}{path}", True
        model = prices.resolve(name, self._config.extra_models())
        self._client_for(model.id)
        return model.id, False

    def _client_for(self, model: str) -> ModelClient:
        """Return what asks a model; made once.

        Raises:
            ConfigError: there is no key, or no recording.
        """
        if self._given_client is not None:
            return self._given_client
        kind = model if model.startswith(REPLAY) else self._config.model.client
        if kind not in self._clients:
            self._clients[kind] = self._make_client(kind)
        return self._clients[kind]

    def _make_client(self, kind: str) -> ModelClient:
        if kind.startswith(REPLAY):
            from orchestrator.models.replay import ReplayClient, load_replies

            return ReplayClient(load_replies(Path(kind.removeprefix(REPLAY))))
        key = self._environment.get("ANTHROPIC_API_KEY", "").strip()
        if not key:
            raise ConfigError(
                "no key for the model's service",
                hint="set ANTHROPIC_API_KEY, or try it without one: --model replay:FILE",
            )
        silence = self._config.model.silence_s
        url = self._environment.get("ANTHROPIC_BASE_URL", "")
        if kind == "anthropic_sdk":
            from orchestrator.models.anthropic_sdk import AnthropicSdkClient

            return AnthropicSdkClient(key=key, base_url=url or None, silence_s=silence)
        from orchestrator.models.messages import DEFAULT_URL, MessagesClient

        return MessagesClient(key=key, base_url=url or DEFAULT_URL, silence_s=silence)

    def limits(self, wish: Wish, before: Limits | None) -> Limits:
        """Return a run's limits: what was asked for, else what it had, else the settings."""
        usual = before or self._config.run_limits()
        return Limits(
            usd=usual.usd if wish.limit_usd is None else wish.limit_usd,
            turns=usual.turns if wish.limit_turns is None else wish.limit_turns,
            wall_s=usual.wall_s,
        )

    # -- one run ---------------------------------------------------------------------------

    async def place(self, issue: Issue) -> tuple[str, str]:
        """Return the base commit and the branch."""
        repository, base = self._repository, self._base
        return base, repository.free_branch(prompts.branch_name(issue), base)

    def runner(
        self,
        run: Run,
        agent: AgentDefinition,
        journal: RunJournal,
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
            client=self._client_for(run.model),
            model=model,
            gates=self._gates,
            gate_rounds=settings.gates.rounds,
            patience=Patience(
                settings.model.retries, settings.model.backoff_s, settings.model.longest_wait_s
            ),
            pack_limit=settings.workspace.pack_limit_mb * 1024 * 1024,
            needs=self._needs(),
            shared=self._shared(run, show),
            guidance=self._guidance,
            notes=self._notes(),
            clock=time.monotonic,
            dice=random.Random(),  # noqa: S311 - jitter of waiting times
        )
        means.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Runner(run=run, agent=agent, journal=journal, emit=emit, show=show, means=means)

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
        if run.limits.usd is not None and self._priced(run).price is None:
            raise ConfigError(
                f"{run.model} has no known price, so a dollar limit cannot be kept",
                hint="give it one under `models:` in your config.yaml, or set limits.usd: null",
            )

    def _priced(self, run: Run) -> prices.Model:
        if run.scripted:
            free = prices.with_cache_rates(0, 0)
            return prices.Model(id=run.model, price=free)
        return prices.resolve(run.model, self._config.extra_models())

    def _notes(self) -> tuple[str, ...]:
        if self._has_submodules:
            return ("Submodules are not checked out here: their folders are empty.",)
        return ()

    def _gates(self) -> list[Gate]:
        from orchestrator.gates.branch import BranchGate
        from orchestrator.gates.command import CommandGate
        from orchestrator.gates.detect import DetectedTestsGate
        from orchestrator.gates.suites import Suites

        settings = self._config.gates
        suites = Suites()
        gates: list[Gate] = [BranchGate()] if settings.branch_name else []
        gates += [
            CommandGate(
                one.name,
                one.run,
                tests=one.tests,
                timeout_s=one.timeout_s,
                new_only=one.new_only,
                against_base=settings.against_base,
                suites=suites,
            )
            for one in settings.commands
        ]
        if settings.detect_tests and not any(one.tests for one in settings.commands):
            gates.append(DetectedTestsGate(against_base=settings.against_base, suites=suites))
        return [*gates, *self._own_gates(suites)]

    def _own_gates(self, suites: Suites) -> list[Gate]:
        """Return the gates of what the repository sets up itself, as its base says."""
        from orchestrator.change import SETTINGS
        from orchestrator.gates.checks import CheckGate, checks_of
        from orchestrator.gates.coverage import CoverageGate, is_measured
        from orchestrator.gates.suites import TestCommand, reporter_of
        from orchestrator.gates.tests_changed import ChangedTestsGate

        settings = self._config.gates
        entries = self._repository.entries(self._base, *SETTINGS)
        blobs = self._repository.blobs([sha for _, sha in entries.values()])
        files = dict(zip(entries, blobs, strict=True))
        commands = [
            TestCommand(one.run, one.timeout_s, reporter_of(one.run))
            for one in settings.commands
            if one.tests
        ]
        gates: list[Gate] = []
        if settings.detect_checks:
            gates += [CheckGate(one) for one in checks_of(files)]
        if settings.changed_tests:
            gates.append(ChangedTestsGate(suites=suites, commands=commands))
        if settings.coverage and is_measured(files):
            gates.append(CoverageGate(above=settings.coverage_above, commands=commands))
        return gates

    async def holds(self, name: str) -> bool:
        """Tell whether the repository still has a commit, by its id or a ref."""
        return await anyio.to_thread.run_sync(self._repository.has, name)

    async def finished(self, run: Run, outcome: Outcome) -> None:
        """Keep the report beside the run; drop what nothing needs any more.

        A workspace whose work could not be brought out stays: the outcome names it.
        """
        folder = self._state / "runs" / run.run_id
        report = render_report(run.issue, outcome)
        try:
            (folder / "report.md").write_text(report, encoding="utf-8")
            (folder / "outcome.json").write_bytes(orjson.dumps(outcome, option=orjson.OPT_INDENT_2))
            if outcome.status not in PARKED and not any(
                str(folder) in one for one in told(outcome)
            ):
                for place in (*folder.glob("place*"), folder / "gates"):
                    await anyio.to_thread.run_sync(remove_tree, place)
            if outcome.status not in PARKED:
                # The delivered branch holds done work; other work stays under its head ref.
                ours = f"refs/orchestrate/{run.run_id}/"
                spent = ours if outcome.status == "done" else f"{ours}base"
                await anyio.to_thread.run_sync(self._repository.delete_refs, spent)
        except (OSError, WorkspaceError):
            return  # the outcome is in the journal; what is beside it is a convenience


def told(outcome: Outcome) -> tuple[str, ...]:
    """Return everything that an outcome tells a person to look at."""
    return (*outcome.notes, outcome.hint)
