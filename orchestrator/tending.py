"""An issue while runs work on it: taken, shown as worked on, told how it ended, and given back."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Literal

import anyio

from orchestrator.deliveryevents import IssueCommented, IssueMoved
from orchestrator.errors import IssueTaken, JournalError
from orchestrator.events import Event
from orchestrator.ports import Claims, CodeHost, IssueStates, IssueTracker
from orchestrator.records import Issue, Outcome, Run
from orchestrator.values import frozen

OUTCOME = "outcome"
"""Marks the one comment under an issue that tells how its last run ended."""
MOVING_S = 30.0
"""How long showing that an issue is worked on may take before it is given up."""
LEAST_S = 30.0
"""The shortest time between two renewals of a claim."""

Emit = Callable[..., Awaitable[None]]
Stage = Literal["working", "delivered", "failed", "released"]


@frozen
class Notes:
    """Where an issue's own comment is written.

    Attributes:
        host: which has the issue.
        clean: takes out of a model's words what must not be published.
    """

    host: CodeHost
    clean: Callable[[str], str] = str


class Tending:
    """Sees to the issues that runs work on; what a tracker does not take changes no outcome.

    Args:
        tracker: where issues come from and reports go to.
        claims: marks issues as taken; None where nobody else works on them.
        states: shows how far work is; None where that is not wanted.
        notes: where an issue's own comment is written; None where that is not wanted.
        renew_s: seconds between two renewals of a claim.
    """

    def __init__(
        self,
        tracker: IssueTracker,
        *,
        claims: Claims | None = None,
        states: IssueStates | None = None,
        notes: Notes | None = None,
        renew_s: float = 900.0,
    ) -> None:
        self._tracker = tracker
        self._claims = claims
        self._states = states
        self._notes = notes
        self._renew_s = max(renew_s, LEAST_S)
        self._problems: list[str] = []

    # -- who has it ------------------------------------------------------------------------

    async def take(self, issue: str, run: str) -> None:
        """Take an issue for a run.

        Raises:
            IssueTaken: another orchestrator has it.
            TrackerError: nobody can tell.
        """
        if self._claims is not None and not await self._claims.claim(issue, run):
            raise IssueTaken(
                f"another orchestrator works on issue {issue}",
                hint="wait for it; a claim that nobody renews ends by itself",
            )

    async def give_back(self, issue: str, run: str) -> None:
        """Give the issue back; where that fails the claim ends by itself."""
        if self._claims is not None:
            with suppress(Exception):
                await self._claims.release(issue, run)

    async def let_go(self, issue: Issue, run: str) -> None:
        """Give an issue back whose run nobody goes on with, and show that.

        Raises:
            TrackerError: the tracker does not take it.
        """
        await self.give_back(issue.key, run)
        if self._states is not None:
            await self._states.move(issue, "released")

    # -- while a run works -----------------------------------------------------------------

    @property
    def is_asked_for(self) -> bool:
        """Tell whether there is anything to do while a run works."""
        return self._claims is not None or self._states is not None

    async def keep(self, run: Run, emit: Emit, events: Sequence[Event]) -> str:
        """Show that the issue is worked on, and renew its claim until that is another's.

        Args:
            run: which works on it.
            emit: records events.
            events: those of the run before this process.

        Returns:
            Why the run has to stop.
        """
        problem = f"issue {run.issue.key} could not be shown as working: no answer"
        with anyio.move_on_after(MOVING_S, shield=True):
            problem = await self._moved(run, "working", emit, events)
        self._problems.append(problem)
        if self._claims is None:
            await anyio.sleep_forever()
        while self._claims is not None:
            await anyio.sleep(self._renew_s)
            with suppress(Exception):  # a claim holds for longer than one renewal
                if not await self._claims.claim(run.issue.key, run.run_id):
                    break
        return f"another orchestrator has taken issue {run.issue.key} meanwhile"

    # -- at the end ------------------------------------------------------------------------

    async def tell(
        self, run: Run, outcome: Outcome, emit: Emit, events: Sequence[Event]
    ) -> tuple[Outcome, bool]:
        """Show how a run ended, and give its issue back; what is done already is not done again.

        Args:
            run: which has ended.
            outcome: how.
            emit: records events.
            events: those of the run so far.

        Returns:
            The outcome, with what could not be told; and whether all of it was told.
        """
        stage: Stage = "delivered" if outcome.status == "done" else "failed"
        problems = [
            await self._commented(run, outcome, emit, events),
            await self._moved(run, stage, emit, events),
        ]
        what = "the report could not be written under the issue"
        problems.append(await _problem(what, self._tracker.report(run.issue, outcome)))
        await self.give_back(run.issue.key, run.run_id)
        told = [one for one in (*self._problems, *problems) if one]
        notes = tuple(dict.fromkeys((*outcome.notes, *told)))
        return dataclasses.replace(outcome, notes=notes), not any(problems)

    async def _commented(
        self, run: Run, outcome: Outcome, emit: Emit, events: Sequence[Event]
    ) -> str:
        if self._notes is None or any(isinstance(one, IssueCommented) for one in events):
            return ""
        from orchestrator.announcing import comment_of

        body = self._notes.clean(comment_of(run, outcome))
        host, key = self._notes.host, run.issue.key

        async def comment() -> None:
            url = await host.comment(key, OUTCOME, body, on="issue")
            await _noted(emit, IssueCommented(key, url))

        return await _problem(f"issue {key} could not be commented on", comment())

    async def _moved(self, run: Run, stage: Stage, emit: Emit, events: Sequence[Event]) -> str:
        done = IssueMoved(run.issue.key, stage)
        if self._states is None or done in events:
            return ""
        what = f"issue {run.issue.key} could not be shown as {stage}"
        problem = await _problem(what, self._states.move(run.issue, stage))
        if not problem:
            await _noted(emit, done)
        return problem


async def _problem(what: str, act: Awaitable[None]) -> str:
    """Do something; return what went wrong. A tracker's fault is not the run's, whatever it is."""
    try:
        await act
    except Exception as error:  # noqa: BLE001 - others' adapters; work that is paid for goes on
        return f"{what}: {str(error) or type(error).__name__}"
    return ""


async def _noted(emit: Emit, event: Event) -> None:
    """Record what was done; where that fails it is done again later, and changes nothing then.

    Another process may have completed the same end just now, and recorded it.
    """
    with suppress(JournalError):
        await emit(event)
