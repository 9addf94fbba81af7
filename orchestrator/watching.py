"""Watching a tracker: labelled issues are worked on, and gone on with when somebody comments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import anyio
import anyio.abc

from orchestrator.errors import (
    DefinitionError,
    IssueAmbiguous,
    IssueNotFound,
    IssueNotReady,
    NoRoute,
    OrchestratorError,
    TrackerBusy,
    only,
)
from orchestrator.ports import UnreadableIssues
from orchestrator.records import CLOSED, Issue, Outcome
from orchestrator.values import frozen

MOST = 200
"""Candidates that are looked at in one pass."""


class Watched(Protocol):
    """The tracker, as far as watching needs it."""

    async def fetch(self, key: str) -> Issue: ...
    async def candidates(self, labels: Sequence[str], most: int) -> Sequence[Issue]: ...


@frozen
class Pace:
    """How a tracker is watched.

    Attributes:
        labels: what issues carry that wait for work.
        every_s: seconds between two looks.
        parallel: how many issues are worked on at once.
        attempts: how often in a row an issue may fail for a passing reason.
        longest_s: the longest wait before such an issue, or a tracker that is down, is asked again.
        idle_s: the longest wait before an issue is looked at again for which nothing new was said.
    """

    labels: tuple[str, ...]
    every_s: float = 60.0
    parallel: int = 2
    attempts: int = 5
    longest_s: float = 3600.0
    idle_s: float = 600.0


@dataclass(slots=True)
class _Working:
    """An issue that is being worked on."""

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    closed: bool = False


@frozen
class _Failing:
    """An issue that failed, how often in a row, and when it is tried again."""

    times: int
    again: float


@frozen
class _Idle:
    """An issue that had nothing to do, how often in a row, when it is looked at, and how it was."""

    times: int
    again: float
    issue: Issue


class Watcher:
    """Works on what waits, a bounded number at once, until it is cancelled.

    Args:
        tracker: where issues are.
        work: works on an issue, or goes on with it; parks its run where it is cancelled.
        give_up: gives up an issue's run, and removes what it left.
        pace: how it is done.
        tell: says a line to whoever looks on.
        clock: seconds, from any fixed point.

    Attributes:
        ended: the last outcome of each issue.
    """

    def __init__(
        self,
        tracker: Watched,
        work: Callable[[str], Awaitable[Outcome | None]],
        give_up: Callable[[str], Awaitable[None]],
        *,
        pace: Pace,
        tell: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._tracker = tracker
        self._work = work
        self._give_up = give_up
        self._pace = pace
        self._tell = tell
        self._clock = clock
        self._working: dict[str, _Working] = {}
        self._failing: dict[str, _Failing] = {}
        self._idle: dict[str, _Idle] = {}
        self._seen: dict[str, Issue] = {}
        self._down = 0
        self._stays = True
        self._told: dict[str, str] = {}
        self._freed = anyio.Event()
        self.ended: dict[str, Outcome] = {}

    async def watch(self) -> None:
        """Look, work and wait, for ever."""
        async with anyio.create_task_group() as tasks:
            while True:
                pause = self._pace.every_s
                try:
                    await self._looked(tasks)
                    self._down = 0
                except OrchestratorError as error:
                    pause = self._unasked(error)
                await anyio.sleep(pause)

    async def once(self) -> Mapping[str, Outcome]:
        """Look once, work on all that waits, and return how each issue ended.

        Raises:
            OrchestratorError: the tracker cannot be asked.
        """
        self._stays = False
        try:
            async with anyio.create_task_group() as tasks:
                for key in await self._looked(tasks):
                    while len(self._working) >= self._pace.parallel:
                        self._freed = anyio.Event()
                        await self._freed.wait()
                    self._start(tasks, key)
        except BaseExceptionGroup as group:
            raise only(group) from None
        return self.ended

    @property
    def has_failed(self) -> bool:
        """Tell whether the last work on an issue failed for a passing reason."""
        return bool(self._failing)

    async def _looked(self, tasks: anyio.abc.TaskGroup) -> list[str]:
        """See to what is being worked on first, then begin what waits; return what has no room."""
        await self._reconciled()
        found = await self._tracker.candidates(self._pace.labels, MOST)
        unreadable = await self._unreadable()
        self._forget({issue.key for issue in found} | unreadable | set(self._working))
        left = []
        for issue in found:
            if issue.key in self._working or not self._is_due(issue):
                continue
            self._seen[issue.key] = issue
            if len(self._working) < self._pace.parallel:
                self._start(tasks, issue.key)
            else:
                left.append(issue.key)
        return left

    async def _unreadable(self) -> set[str]:
        """Say which issues cannot be read, and why: nobody knows whether they wait."""
        if not isinstance(self._tracker, UnreadableIssues):
            return set()
        found = set(await self._tracker.unreadable()) - set(self._working)
        for key in sorted(found):
            try:
                await self._tracker.fetch(key)
            except OrchestratorError as error:
                self._say(key, str(error))
        return found

    def _unasked(self, error: OrchestratorError) -> float:
        """Say that the tracker cannot be asked; return the seconds until it is asked again."""
        wait: float = min(self._pace.every_s * 2**self._down, self._pace.longest_s)
        self._down = min(self._down + 1, 30)
        if isinstance(error, TrackerBusy):
            wait = max(wait, error.wait_s)
        self._say("", f"the tracker cannot be asked: {error}")
        return max(wait, self._pace.every_s)

    def _forget(self, kept: set[str]) -> None:
        """Forget issues that no longer wait: a watch of months does not grow."""
        for known in (self._failing, self._idle, self._seen, self._told, self.ended):
            for key in [key for key in known if key and key not in kept]:
                del known[key]

    async def _reconciled(self) -> None:
        """Stop what was closed or lost its label meanwhile."""
        for key, working in list(self._working.items()):
            try:
                issue = await self._tracker.fetch(key)
            except IssueNotFound:
                issue = None
            except (DefinitionError, IssueAmbiguous) as error:
                # Somebody is writing it: that says nothing of other issues, nor that it is closed.
                self._say(key, str(error))
                continue
            if issue is None or issue.state.lower() in CLOSED:
                self._tell(f"issue {key} is closed: its run is given up")
                working.closed = True
                working.scope.cancel()
            elif not self._is_wanted(issue):
                self._tell(f"issue {key} has lost its label: its run is stopped, and kept")
                working.scope.cancel()

    def _is_wanted(self, issue: Issue) -> bool:
        labels = {one.lower() for one in issue.labels}
        return all(one.lower() in labels for one in self._pace.labels)

    def _is_due(self, issue: Issue) -> bool:
        idle = self._idle.get(issue.key)
        if idle is not None and idle.issue == issue and self._clock() < idle.again:
            return False
        failing = self._failing.get(issue.key)
        if failing is None:
            return True
        return failing.times < self._pace.attempts and self._clock() >= failing.again

    def _start(self, tasks: anyio.abc.TaskGroup, key: str) -> None:
        working = _Working()
        self._working[key] = working
        tasks.start_soon(self._worked, key, working)

    async def _worked(self, key: str, working: _Working) -> None:
        try:
            with working.scope:
                await self._tried(key)
            if working.closed:
                await self._cleaned(key)
        finally:
            del self._working[key]
            self._freed.set()

    async def _tried(self, key: str) -> None:
        try:
            outcome = await self._work(key)
        except (IssueNotReady, IssueNotFound, NoRoute) as error:
            self._say(key, str(error))  # a person's to change
            self._idled(key)
            return
        except (OrchestratorError, OSError) as error:
            self._failed(key, str(error))
            return
        before = self.ended.get(key)
        if outcome is None or (before is not None and before.run == outcome.run):
            self._idled(key)
        else:
            self._idle.pop(key, None)
        if outcome is None:
            return
        self.ended[key] = outcome
        if outcome.status == "unavailable":
            self._idle.pop(key, None)
            self._failed(key, outcome.error)
            return
        self._failing.pop(key, None)
        where = outcome.pull_request or outcome.branch
        self._say(key, " ".join(part for part in (outcome.status, where, outcome.error) if part))

    def _idled(self, key: str) -> None:
        """Look at an issue ever more rarely while there is nothing to do for it."""
        before = self._idle.get(key)
        times = min((before.times if before else 0) + 1, 30)
        wait = min(self._pace.every_s * 2 ** (times - 1), max(self._pace.idle_s, 0))
        self._idle[key] = _Idle(times, self._clock() + wait, self._seen[key])

    def _failed(self, key: str, error: str) -> None:
        before = self._failing.get(key)
        times = (before.times if before else 0) + 1
        wait = min(self._pace.every_s * 2 ** (times - 1), self._pace.longest_s)
        self._failing[key] = _Failing(times, self._clock() + wait)
        left = self._stays and times < self._pace.attempts
        then = f"again in {wait:g} s" if left else "not tried again until this is started anew"
        self._say(key, f"{error}; {then}")

    async def _cleaned(self, key: str) -> None:
        try:
            await self._give_up(key)
        except (OrchestratorError, OSError) as error:
            self._say(key, f"it could not be given up in order: {error}")

    def _say(self, key: str, text: str) -> None:
        """Say something of an issue, or of all, unless it is what was said last."""
        if self._told.get(key) != text:
            self._told[key] = text
            self._tell(f"issue {key}: {text}" if key else text)
