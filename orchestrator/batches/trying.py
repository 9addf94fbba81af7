"""One try of one issue: begun or gone on with, and what became of it."""

from __future__ import annotations

import secrets
from contextlib import suppress

import anyio

from orchestrator.batches.book import NightBook
from orchestrator.batches.fates import fate_of, fate_of_error
from orchestrator.batches.jobs import WHOSE, Job, Looks, RunStanding, Workplace
from orchestrator.batches.nights import Fate, IssueBegun, IssueId, Why
from orchestrator.batches.views import IssueView
from orchestrator.events import Event, ModelReplied, Signal, Waiting
from orchestrator.modelevents import RequestFailed
from orchestrator.ports import Clock
from orchestrator.records import Outcome


class Try:
    """One try of one issue.

    Args:
        view: how the issue stands.
        place: where it is worked on.
        book: the night's.
        looks: is told of all that the run does.
        wall: seconds since 1970.

    Attributes:
        run: the run's id, once it is known.
        spent_usd: what this try has cost so far.
        is_waiting: whether nothing of it is under way, as while a service asks for patience.
    """

    def __init__(
        self,
        view: IssueView,
        place: Workplace,
        *,
        book: NightBook,
        looks: Looks,
        wall: Clock,
    ) -> None:
        self.view = view
        self._place = place
        self._book = book
        self._night = book.view.night
        self._looks = looks
        self._wall = wall
        self._scope = anyio.CancelScope()
        self._stopped: Why = ""
        self.run = ""
        self.spent_usd = 0.0
        self.is_waiting = False

    def stop(self, why: Why) -> None:
        """Say that what parks from here on does so for a reason that is the night's."""
        self._stopped = self._stopped or why

    def park(self, why: Why) -> None:
        """Park the run at once."""
        self.stop(why)
        self._scope.cancel()

    async def fate(self) -> Fate:
        """Work on the issue, and tell what became of it; one issue's fault stops no other.

        Raises:
            JournalError: the night's book cannot be kept.
        """
        began = self._wall()
        outcome, failed = None, None
        job, before = None, 0.0
        try:
            job, before = await self._job()
        except Exception as error:  # noqa: BLE001 - contained: it is told as this issue's fate
            failed = error
        self.run = job.run if job is not None else self.view.run
        id_, attempt = self.view.planned.id, self.view.attempt + 1
        await self._book.emit(IssueBegun(*id_, attempt, self.run, began, before))
        if job is not None:
            with self._scope:
                try:
                    outcome = await self._place.work(job, self._hear)
                except Exception as error:  # noqa: BLE001 - likewise
                    failed = error
        return await self._fate_of(outcome, failed, self._wall() - began)

    async def _fate_of(
        self, outcome: Outcome | None, failed: Exception | None, wall_s: float
    ) -> Fate:
        if outcome is not None:
            # A run that was done before this night costs it nothing.
            before = self.view.before.get(outcome.run, outcome.cost_usd)
            return fate_of(outcome, why=self._why(outcome), before_usd=before, wall_s=wall_s)
        usd = await self._spent()
        if failed is not None:
            return fate_of_error(failed, run=self.run, usd=usd, wall_s=wall_s)
        said = "it was stopped in the middle"
        return Fate(
            kind="parked",
            why=self._stopped or "stopped",
            status="cancelled",
            run=self.run,
            said=said,
            usd=usd,
            wall_s=round(wall_s, 3),
        )

    async def _job(self) -> tuple[Job, float]:
        """Return what is to be done, and what the run had cost before this night."""
        view, place, wanted = self.view, self._place, self._night.wanted
        planned, run, before = view.planned, view.run, view.before.get(view.run, 0.0)
        standing = await place.standing(run) if run else RunStanding("none")
        if not run or standing.state == "abandoned":
            run = await place.unfinished(planned.issue) or ""
            standing = await place.standing(run) if run else RunStanding("none")
            if standing.state == "abandoned":  # just now, as it never began
                run, standing = "", RunStanding("none")
            before = standing.spent_usd
        run = run or f"{planned.issue}-{secrets.token_hex(4)}"
        job = Job(
            planned=planned,
            run=run,
            is_there=standing.is_there,
            agent=wanted.agent,
            model=wanted.model,
            limits=self._night.per_issue,
            done=tuple(one.planned.issue for one in self._done()),
            on=tuple(one.fate.branch for one in self._done() if one.fate and one.fate.branch),
        )
        return job, before

    def _done(self) -> list[IssueView]:
        """Return its blockers that were done this night."""
        planned, issues = self.view.planned, self._book.view.issues
        found = (issues.get((planned.repo, key)) for key in planned.blocked_by)
        return [one for one in found if one is not None and one.is_done]

    async def _spent(self) -> float:
        """Return what this night has spent on a run that gave no outcome."""
        try:
            standing = await self._place.standing(self.run)
        except Exception:  # noqa: BLE001 - what was heard of it is nearly as good
            return self.view.runs.get(self.run, 0.0) + self.spent_usd
        return max(standing.spent_usd - self.view.before.get(self.run, 0.0), 0.0)

    async def _hear(self, issue: IssueId, run: str, event: Event | Signal) -> None:
        self.is_waiting = isinstance(event, Waiting)
        if isinstance(event, ModelReplied | RequestFailed):
            self.spent_usd += event.cost_usd
        with suppress(Exception):  # whoever looks on stops no run
            await self._looks(issue, run, event)

    def _why(self, outcome: Outcome) -> Why:
        """Say why a run was parked."""
        of_the_night = outcome.limit is not None and outcome.limit.whose == WHOSE
        return self._stopped or ("ceiling" if of_the_night else "limit")
