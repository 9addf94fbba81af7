"""What a shift asks for: a job, the place where it is done, the purse that pays for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from orchestrator.batches.nights import IssueId, Planned
from orchestrator.events import Event, Signal
from orchestrator.records import Limits, Outcome
from orchestrator.values import frozen

WHOSE = "the batch"
"""Whose the purse is, as people and models are told of its limits."""


@frozen
class RunStanding:
    """How a run stands in the journal of runs.

    Attributes:
        state: ``none`` where there is no such run.
        spent_usd: what it has cost; a request whose reply never came counts.
        spent_tokens: likewise.
    """

    state: str
    spent_usd: float = 0.0
    spent_tokens: int = 0

    @property
    def is_there(self) -> bool:
        """Tell whether the run exists, so that it is gone on with rather than begun."""
        return self.state not in {"none", "abandoned"}


@frozen
class Job:
    """What is asked of the one who has a repository: begin a run, or go on with it.

    Attributes:
        run: its id.
        is_there: whether it is gone on with.
        done: keys of issues that count as resolved, as they were done this night.
        on: the branches of what was done for them.
    """

    planned: Planned
    run: str
    is_there: bool
    agent: str | None
    model: str | None
    limits: Limits
    done: tuple[str, ...] = ()
    on: tuple[str, ...] = ()


Looks = Callable[[IssueId, str, Event | Signal], Awaitable[None]]
"""Is told of what the runs of a night do: of which issue, of which run, and what."""


async def nobody(_: IssueId, __: str, ___: Event | Signal) -> None:
    """Tell nobody."""


class Workplace(Protocol):
    """One repository, with what works on its issues."""

    async def unfinished(self, issue: str) -> str | None:
        """Return the id of an issue's unfinished run, if it has one."""
        ...

    async def standing(self, run: str) -> RunStanding:
        """Tell how a run stands."""
        ...

    async def work(self, job: Job, looks: Looks) -> Outcome:
        """Do a run to its outcome; it parks where it is cancelled.

        Raises:
            OrchestratorError: it cannot be begun, or gone on with.
        """
        ...


class Purse(Protocol):
    """The account that pays for all runs of the night."""

    spent_usd: float

    def close(self, why: str) -> None:
        """Pay for no further reply; what is under way is still settled."""
        ...
