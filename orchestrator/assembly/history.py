"""What can be done with runs that there are: fork, abandon, replay."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from orchestrator.assembly.outside import Outside
from orchestrator.assembly.plans import RepositoryPlans
from orchestrator.errors import ConfigError, IssueNotFound
from orchestrator.events import RunResumed
from orchestrator.journals.sqlite import RunRow, SqliteJournal, SqliteRunJournal
from orchestrator.lifeevents import RunAbandoned
from orchestrator.planning import Wish
from orchestrator.ports import Sandbox
from orchestrator.records import Outcome
from orchestrator.repository import Repository
from orchestrator.rescuing import Rescue
from orchestrator.scheduler import Scheduler
from orchestrator.settings import Config

if TYPE_CHECKING:
    from orchestrator.replaying import Replayed


class History:
    """Works on the runs of one repository that the journal has.

    Args:
        repository: whose runs they are.
        config: the settings.
        state: the state directory.
        sandbox: the walls.
        journal: has the runs.
        plans: what the scheduler is told.
        outside: whom this process talks to.
        scheduler: makes what begins runs.
    """

    def __init__(  # noqa: PLR0913 - every collaborator is passed in
        self,
        *,
        repository: Repository,
        config: Config,
        state: Path,
        sandbox: Sandbox,
        journal: SqliteJournal,
        plans: RepositoryPlans,
        outside: Outside,
        scheduler: Callable[[], Scheduler],
    ) -> None:
        self._repository = repository
        self._config = config
        self._state = state
        self._sandbox = sandbox
        self._journal = journal
        self._plans = plans
        self._outside = outside
        self._scheduler = scheduler

    async def _row(self, run: str) -> RunRow:
        """Return a run of this repository.

        Raises:
            NoSuchRun: there is none.
            ConfigError: it is another repository's.
        """
        row = await self._journal.row(run)
        if row.repo != self._repository.id:
            raise ConfigError(f"run {row.run} belongs to {row.repo}", hint="name it with --repo")
        return row

    async def fork(self, run: str, at: int, wish: Wish | None = None) -> Outcome:
        """Begin a run where another one stood after a turn; that one stays as it is.

        Args:
            run: its id.
            at: the turn.
            wish: another model, other limits.

        Raises:
            OrchestratorError: it cannot be forked there.
        """
        row = await self._row(run)
        events = await self._journal.events(row.run)
        last = next((e.run for e in reversed(events) if isinstance(e, RunResumed)), row.record)
        return await self._scheduler().fork(last, events, at, wish or Wish())

    async def abandon(self, run: str, *, take_over: bool = False) -> RunAbandoned:
        """Give up an unfinished run; its work is kept under a rescue ref.

        Args:
            run: its id.
            take_over: whether it is also taken from a process that was silent for too long.

        Raises:
            OrchestratorError: another process works on it, it has ended, or its work cannot be
                kept; then it can still go on.
        """
        row = await self._row(run)
        journal = await self._journal.take_over(row.run, silent=take_over)
        try:
            event = await self._rescued(row, journal)
            await journal.append(event)
            await self._journal.abandon(row.run)
        finally:
            journal.leave()
        await self._plans.given_up(row.run)
        await self._outside.tending().give_back(row.record.issue.key, row.run)
        return event

    async def _rescued(self, row: RunRow, journal: SqliteRunJournal) -> RunAbandoned:
        """Keep the work of a run that is given up under a rescue ref, and say where."""
        events = await journal.events()
        limit = self._config.workspace.pack_limit_mb * 1024 * 1024
        rescue = Rescue(self._repository, self._sandbox, pack_limit=limit)
        folder = self._state / "runs" / row.run
        commit = await rescue.from_workspace(row.record, events, folder)
        if not commit:  # what came out last may be all that there is
            head = f"refs/orchestrate/{row.run}/head"
            commit = await anyio.to_thread.run_sync(self._repository.ref, head)
        ref = await rescue.kept(row.run, commit)
        return RunAbandoned(journal.epoch, ref, commit if ref else "")

    async def replay(self, run: str) -> Replayed:
        """Make a run's recorded calls again, in a fresh workspace, and tell what differs.

        No model is asked, nothing is reached from inside but what the set-up may reach, the journal
        is not written, and all that was made is removed again.

        Raises:
            OrchestratorError: there is no such run, or no workspace for it can be made.
        """
        from orchestrator.assembly.replays import replayed

        row = await self._row(run)
        await self._sandbox.check()
        return await replayed(
            row.record,
            await self._journal.events(row.run),
            config=self._config,
            state=self._state,
            repository=self._repository,
            sandbox=self._sandbox,
        )

    async def look_after(self, key: str, *, model: str | None = None) -> Outcome | None:
        """Do what there is to do for an issue by itself, and begin nothing that a person ended.

        Returns:
            How it ended; None where its run waits for a person, as for a higher limit.

        Raises:
            OrchestratorError: there is nothing to do, or it cannot be begun.
        """
        parked = await self._journal.unfinished(self._repository.id, key)
        last = await self._journal.outcome(parked) if parked else None
        if last is not None and last.status == "limit_reached":
            return None
        return await self._scheduler().run_issue(key, Wish(model=model, again=False))

    async def give_up(self, key: str) -> None:
        """Give up an issue's unfinished run, keep its work by a rescue ref, and remove the rest.

        Raises:
            OrchestratorError: another process works on it, or its work cannot be kept.
        """
        run = await self._journal.unfinished(self._repository.id, key)
        if run is None:
            return
        row = await self._journal.row(run)
        journal = await self._journal.take_over(run)
        try:
            await journal.append(await self._rescued(row, journal))
            await self._journal.abandon(run)
        finally:
            journal.leave()
        await self._plans.given_up(run)
        issue = row.record.issue
        with suppress(IssueNotFound):
            issue = await self._outside.tracker().fetch(key)
        await self._outside.tending().let_go(issue, run)
