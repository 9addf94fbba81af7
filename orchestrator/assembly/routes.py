"""Who gets an issue of a repository: rules and words, and a model where they leave it open."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from orchestrator import config as configuration
from orchestrator.assembly.clients import Clients
from orchestrator.assembly.launching import can_change
from orchestrator.assembly.rosters import agents_here
from orchestrator.assembly.tracking import close_all, tracker_of
from orchestrator.definitions.folder import Source, files_below, roster
from orchestrator.errors import (
    ConfigError,
    IssueNotFound,
    OrchestratorError,
    RepositoryRefused,
    TrackerError,
)
from orchestrator.ports import IssueHistory, IssueKeys, IssueTracker, ModelClient
from orchestrator.prices import Model
from orchestrator.records import AgentDefinition, Issue, RouteChoice
from orchestrator.repository import Repository, locate
from orchestrator.routing.route import Decision, Router, Rules
from orchestrator.settings import RoutingSettings
from orchestrator.values import frozen

SOLVED = 200
"""Closed issues that are looked at."""
ASKED = 5
"""Agents that a model may choose from."""


class IssueRouting:
    """Decides for any number of issues who gets them.

    Args:
        agents: the roster.
        settings: the rules, and whether a model is asked.
        asked: gives what asks a model, by its name, and the model; None asks none.
        tracker: may tell who had issues like one.
    """

    def __init__(
        self,
        agents: Mapping[str, AgentDefinition],
        settings: RoutingSettings,
        *,
        asked: Callable[[str], tuple[ModelClient, Model]] | None = None,
        tracker: IssueTracker | None = None,
    ) -> None:
        self._agents = agents
        self._settings = settings
        self._asked = asked
        self._tracker = tracker
        self._router: Router | None = None

    async def decide(self, issue: Issue, wanted: str | None = None) -> Decision:
        """Decide who gets an issue.

        Args:
            issue: the issue.
            wanted: the agent named on the command line; it wins.

        Raises:
            ConfigError: a name that was given is not in the roster; the error names the nearest.
        """
        said = Router(self._agents, rules_of(self._settings)).by_rule(issue, wanted)
        if said is not None:
            return said
        if self._router is None:
            self._router = Router(
                self._agents,
                rules_of(self._settings),
                able=[name for name, one in self._agents.items() if can_change(one)],
                solved=await self._solved(),
            )
        decision = self._router.by_text(issue)
        if self._settings.model is None or self._asked is None or not self._is_open(decision):
            return decision
        return self._chosen(decision, await self._ask(issue, decision, self._settings.model))

    async def _solved(self) -> Sequence[tuple[Issue, str]]:
        if not isinstance(self._tracker, IssueHistory):
            return ()
        try:
            closed = await self._tracker.solved(SOLVED)
        except TrackerError:
            return ()  # it is one more reason, and the issue itself could be read
        mapped = self._settings.assignees
        found = []
        for issue in closed:
            names = [mapped.get(one, "" if issue.assigned_to_people else one)
                     for one in issue.assignees]  # fmt: skip
            agent = next((name for name in names if name in self._agents), None)
            if agent is not None:
                found.append((issue, agent))
        return found

    def _is_open(self, decision: Decision) -> bool:
        """Tell whether the words leave it open who should have it."""
        if decision.text is None or len(self._agents) < 2:
            return False
        first, second = (decision.text.shares + ((("", 0.0),) * 2))[:2]
        if decision.text.best is None:
            return decision.text.nobody - first[1] < self._settings.margin
        return first[1] - max(second[1], decision.text.nobody) < self._settings.margin

    async def _ask(self, issue: Issue, decision: Decision, name: str) -> RouteChoice:
        from orchestrator.routing.choice import ask_model

        likeliest = [self._agents[one] for one, _ in decision.ranked[:ASKED]]
        offline = decision.agent or ""
        try:
            client, model = (self._asked or _nobody)(name)
        except OrchestratorError as error:
            return RouteChoice(name, "", str(error), offline)
        choice = await ask_model(
            issue, likeliest, client=client, model=model, limit_usd=self._settings.limit_usd
        )
        return dataclasses.replace(choice, offline=offline)

    def _chosen(self, decision: Decision, choice: RouteChoice) -> Decision:
        """Follow the model; without an answer that counts, the words."""
        if choice.answer in self._agents:
            detail = f"{choice.model} chose it among the first {ASKED}"
            return dataclasses.replace(
                decision, agent=choice.answer, reason="model", detail=detail, choice=choice,
                score=dict(decision.ranked)[choice.answer],
            )  # fmt: skip
        if choice.answer:
            agent = self._settings.default
            reason, detail = ("default", "") if agent else ("none", f"{choice.model} said none")
            return dataclasses.replace(
                decision, agent=agent, reason=reason, detail=detail, choice=choice
            )
        return dataclasses.replace(decision, choice=choice)


@frozen
class Opened:
    """Issues, each with its id as it was given, and what decides who gets them."""

    issues: tuple[tuple[str | float, Issue], ...]
    routing: IssueRouting


@asynccontextmanager
async def open_routing(
    target: str,
    *,
    environment: Mapping[str, str],
    repo: Path = Path(),
    agents: Path | None = None,
    routes: Path | None = None,
    config: Path | None = None,
) -> AsyncIterator[Opened]:
    """Have the issues of a target and what routes them, as ``orchestrate route`` does.

    Args:
        target: an issue's key in the repository's tracker, or a file with one issue or many.
        environment: says where the user's own settings are, and holds the credential.
        repo: any folder of the repository; a file of issues needs none.
        agents: a folder whose agents are the whole roster; None is the repository's.
        routes: a file of rules instead of the settings' ``routing``.
        config: a settings file that wins over the others.

    Raises:
        OrchestratorError: something of it cannot be read.
    """
    repository, refused = _located(repo)
    settings = configuration.load(
        user=configuration.user_file(environment),
        repository=repository.top if repository else None,
        explicit=config,
    )
    rules = settings.routing if routes is None else configuration.routing_file(routes)
    tracker = None
    if repository is not None and repository.top is not None:
        tracker = tracker_of(repository, settings, environment)
    if _is_file(target):
        issues = issues_in(Path(target))
    elif refused is not None:
        raise IssueNotFound(f"{target!r} is no file, and {refused}", hint=refused.hint)
    elif tracker is None:
        raise IssueNotFound(f"{target!r} is no file, and {repo.absolute()} has no files of issues")
    else:
        issues = [await _fetched(tracker, target)]
    clients = Clients(settings, environment)
    try:
        found = _alone(agents) if agents else agents_here(repo, environment, None).agents
        asked = clients.asked
        yield Opened(tuple(issues), IssueRouting(found, rules, asked=asked, tracker=tracker))
    finally:
        await close_all(tracker)
        await clients.aclose()


async def _fetched(tracker: IssueTracker, said: str) -> tuple[str, Issue]:
    """Return an issue with its one key, for any way to write it."""
    try:
        key = tracker.key_of(said) if isinstance(tracker, IssueKeys) else said
        return key, await tracker.fetch(key)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await close_all(tracker)
        raise


def issues_in(path: Path) -> list[tuple[str | float, Issue]]:
    """Read the issues of a file, with their ids: one of markdown, or one or many of YAML or JSON.

    Raises:
        OrchestratorError: it cannot be read.
    """
    from orchestrator.routing.listed import identified_issues
    from orchestrator.trackers.markdown import issue_of

    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    if path.suffix == ".md":
        key = path.stem.partition("-")[0]
        return [(key, issue_of(data, key, str(path)))]
    return identified_issues(data, str(path))


def _is_file(target: str) -> bool:
    try:
        return Path(target).suffix in {".md", ".yaml", ".yml", ".json"} or Path(target).is_file()
    except OSError:  # too long a name for a file
        return False


def _alone(folder: Path) -> Mapping[str, AgentDefinition]:
    if not folder.is_dir():
        raise ConfigError(f"--agents: there is no folder {folder}")
    return roster([Source("command line", files_below(folder))]).agents


def _located(repo: Path) -> tuple[Repository | None, RepositoryRefused | None]:
    try:
        return locate(repo.absolute()), None
    except RepositoryRefused as refusal:
        return None, refusal


def _nobody(name: str) -> tuple[ModelClient, Model]:
    raise AssertionError(name)


def rules_of(settings: RoutingSettings) -> Rules:
    """Return the rules of the settings."""
    return Rules(settings.labels, settings.paths, settings.assignees, settings.default)
