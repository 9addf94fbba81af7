"""Watching a repository's tracker: every issue with the repository as it is then."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from orchestrator import config as configuration
from orchestrator.assembly.runtime import Orchestrator
from orchestrator.assembly.sharing import Governing
from orchestrator.assembly.tracking import close_all, tracker_of
from orchestrator.errors import ConfigError
from orchestrator.ports import (
    CodeHost,
    EventSink,
    IssueQueue,
    IssueTracker,
    ModelClient,
)
from orchestrator.records import Outcome
from orchestrator.repository import locate
from orchestrator.watching import Pace, Watcher

CLIENT = Callable[[], ModelClient | None]


class Watch:
    """What watches one repository.

    Args:
        path: a settings file; None looks where ``orchestrate`` looks.
        repo: any folder of the repository.
        state: the state directory.
        sinks: are told of every event of every run.
        model: alias or id; None leaves it to the settings.
        tracker: where issues are; None is what the settings say.
        host: where pull requests are; None is what the settings say.
        client: gives what asks the model, for each run; None makes it from the settings.
    """

    def __init__(  # noqa: PLR0913 - what an embedder may choose
        self,
        path: Path | None,
        *,
        repo: Path,
        state: Path,
        sinks: Sequence[EventSink] = (),
        model: str | None = None,
        tracker: IssueTracker | None = None,
        host: CodeHost | None = None,
        client: CLIENT | None = None,
    ) -> None:
        self._path = path
        self._repo = repo
        self._state = state
        self._sinks = sinks
        self._model = model
        self._tracker = tracker
        self._host = host
        self._client = client
        self._made: IssueTracker | None = None
        self._governing: Governing | None = None

    async def aclose(self) -> None:
        """Close every connection of what was made here."""
        await close_all(self._made)

    def watcher(self, tell: Callable[[str], None]) -> Watcher:
        """Return what watches.

        Raises:
            ConfigError: no label is set, or the tracker cannot tell what waits.
        """
        repository = locate(self._repo.absolute())
        config = configuration.load(
            user=configuration.user_file(os.environ),
            repository=repository.top,
            explicit=self._path,
        )
        if not config.tracker.labels:
            raise ConfigError(
                "tracker.labels is empty, so every open issue would be worked on",
                hint="name the labels that issues carry which wait for an agent",
            )
        tracker = self._tracker
        if tracker is None:
            tracker = self._made = tracker_of(repository, config, os.environ)
        if not isinstance(tracker, IssueQueue):
            raise ConfigError(
                f"tracker.kind: {config.tracker.kind} cannot tell which issues wait",
                hint="use another tracker, or run: orchestrate issue KEY",
            )
        settings = config.watch
        pace = Pace(
            config.tracker.labels,
            every_s=max(settings.every_s, 1.0),
            parallel=max(settings.parallel, 1),
            attempts=settings.attempts,
        )
        return Watcher(
            tracker,
            self._work,
            self._give_up,
            pace=pace,
            tell=tell,
            clock=time.monotonic,
        )

    def _orchestrator(self) -> Orchestrator:
        # Made anew for each issue: settings, agents and the base are those of then.
        made = Orchestrator.from_config(
            self._path,
            repo=self._repo,
            state=self._state,
            sinks=self._sinks,
            tracker=self._tracker,
            host=self._host,
            client=self._client() if self._client is not None else None,
            governing=self._governing,
        )
        self._governing = made.governing
        return made

    async def _work(self, key: str) -> Outcome | None:
        async with self._orchestrator() as orchestrator:
            return await orchestrator.look_after(key, model=self._model)

    async def _give_up(self, key: str) -> None:
        async with self._orchestrator() as orchestrator:
            await orchestrator.give_up(key)
