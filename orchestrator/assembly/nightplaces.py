"""One repository of a night, as the shift that works on it sees it."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.assembly.runtime import Orchestrator
from orchestrator.batches.jobs import Job, Looks, RunStanding
from orchestrator.errors import NoSuchRun
from orchestrator.events import Event, Signal
from orchestrator.journals.sqlite import SqliteJournal, SqliteRunJournal
from orchestrator.limits import Ledger
from orchestrator.planning import Wish
from orchestrator.records import Limits, Outcome

UNFINISHED = frozenset({"running", "parked"})


class NightPlace:
    """One repository of a night.

    Args:
        orchestrator: works on its issues.
        journal: of all runs.
        repo: the repository's id.
    """

    def __init__(self, orchestrator: Orchestrator, journal: SqliteJournal, repo: str) -> None:
        self._orchestrator = orchestrator
        self._journal = journal
        self._repo = repo

    async def unfinished(self, issue: str) -> str | None:
        """Return the id of an issue's unfinished run, if it has one."""
        return await self._journal.unfinished(self._repo, self._orchestrator.key_of(issue))

    async def standing(self, run: str) -> RunStanding:
        """Tell how a run stands, and what it has cost; one that never began is given up.

        Raises:
            LeaseLost: another process is just beginning it.
        """
        try:
            row = await self._journal.row(run)
        except NoSuchRun:
            return RunStanding("none")
        if row.run != run:
            return RunStanding("none")  # one whose id begins so is another
        events = await SqliteRunJournal(self._journal, run, epoch=row.epoch).events()
        if not events and row.state in UNFINISHED:
            # Killed before its first event: nothing was done, and nothing can be gone on with.
            await self._journal.take_over(run)
            await self._journal.abandon(run)
            return RunStanding("abandoned")
        return RunStanding(row.state, *spent(events))

    async def work(self, job: Job, looks: Looks) -> Outcome:
        """Do a run to its outcome; it parks where it is cancelled."""

        async def tell(event: Event | Signal) -> None:
            await looks(job.planned.id, job.run, event)

        limits = job.limits
        wish = Wish(
            agent=None if job.is_there else job.agent,
            model=None if job.is_there else job.model,
            limit_usd=limits.usd,
            limit_turns=limits.turns,
            limit_tokens=limits.tokens,
            limit_minutes=None if limits.wall_s is None else limits.wall_s / 60,
            run=job.run,
            done=job.done,
            on=job.on,
        )
        return await self._orchestrator.work(
            job.planned.issue, wish, run=job.run if job.is_there else "", sinks=[tell]
        )


def spent(events: Sequence[Event]) -> tuple[float, int]:
    """Return dollars and tokens of a run; a request whose reply never came counts."""
    ledger = Ledger(Limits(), None, max_output=0)
    ledger.recount(events)
    return ledger.spent_usd, ledger.account.spent_tokens
