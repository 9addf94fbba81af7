"""What is asked of a run, and what the scheduler has to be told to begin it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from orchestrator.events import Event, Signal
from orchestrator.ports import IssueTracker, RunJournal
from orchestrator.pullrequests import Continued
from orchestrator.records import AgentDefinition, Issue, Limits, Outcome, Route, Run
from orchestrator.runner import Runner
from orchestrator.values import frozen


class OwnedJournal(RunJournal, Protocol):
    """The journal of a run that this process owns."""

    run: str
    epoch: int

    async def beat(self) -> None: ...
    def leave(self) -> None: ...


class Journal(Protocol):
    """The journal of all runs, as far as the scheduler needs it."""

    async def begin(self, run: Run, *events: Event) -> OwnedJournal: ...
    async def take_over(self, run: str, *, silent: bool = False) -> OwnedJournal: ...
    async def unfinished(self, repo: str, issue: str) -> str | None: ...
    async def ended(self, repo: str, issue: str) -> tuple[Run, Outcome, OwnedJournal] | None: ...
    async def last(self, repo: str, issue: str) -> Run | None: ...
    async def attempts(self, repo: str, issue: str) -> int: ...
    async def abandon(self, run: str) -> None: ...


@frozen
class Wish:
    """What was asked for on one run; None leaves it to the configuration.

    Attributes:
        new: whether an unfinished run of the issue is given up for a new attempt.
        again: whether an issue whose run has ended otherwise than done is begun anew.
        limit_minutes: counted from when the run is begun or taken up again.
        take_over: whether a run is also taken from a process that is there and has been silent for
            longer than its lease.
        run: the id of a run that is begun; empty leaves it to chance.
        done: keys of blockers that count as resolved.
        on: branches of what was done for them, which nobody has merged yet.
    """

    agent: str | None = None
    model: str | None = None
    limit_usd: float | None = None
    limit_turns: int | None = None
    new: bool = False
    again: bool = True
    limit_tokens: int | None = None
    limit_minutes: float | None = None
    take_over: bool = False
    run: str = ""
    done: tuple[str, ...] = ()
    on: tuple[str, ...] = ()


@frozen
class Place:
    """Where work starts from, and what it becomes.

    Attributes:
        base_ref: the user's branch, by its full name; empty where HEAD is on none.
        continues: the pull request whose feedback is the task, if it is that.
    """

    base: str
    base_ref: str
    branch: str
    continues: Continued | None = None


class Plans(Protocol):
    """What the scheduler has to be told of agents, models and repositories."""

    repo: str

    def roster(self) -> Mapping[str, AgentDefinition]:
        """Return the agents."""
        ...

    async def route(self, issue: Issue, wanted: str | None, tracker: IssueTracker) -> Route:
        """Choose the agent; the tracker may tell who had issues like it."""
        ...

    def model_for(self, agent: AgentDefinition, wanted: str | None) -> tuple[str, bool]:
        """Return the model's id, and whether its replies are scripted."""
        ...

    def limits(self, wish: Wish, before: Limits | None) -> Limits:
        """Return a run's limits."""
        ...

    def require_price(self, run: Run) -> None:
        """Refuse a run whose dollar limit cannot be kept."""
        ...

    async def place(self, issue: Issue, on: Sequence[str] = ()) -> Place:
        """Return where the work starts from, and what it becomes.

        Args:
            issue: what is worked on.
            on: branches that it builds on, where one of them holds all.
        """
        ...

    async def going_on(self, issue: Issue, last: Run | None) -> tuple[Place | None, str]:
        """Return where work goes on with feedback, or None and what a person should know."""
        ...

    async def branch_beside(self, run: Run, fork: str) -> str:
        """Return a branch of a fork's own."""
        ...

    async def seed(self, parent: Run, run: Run, kept: str) -> None:
        """Have a fork's workspace begin with what was kept of its parent's; nothing if empty."""
        ...

    async def ready(self) -> None:
        """Prove what every run needs, before one is begun."""
        ...

    def runner(
        self,
        run: Run,
        agent: AgentDefinition,
        events: Sequence[Event],
        emit: Callable[..., Awaitable[None]],
        show: Callable[[Signal], None],
    ) -> Runner:
        """Return what does the run."""
        ...

    async def holds(self, name: str) -> bool:
        """Tell whether the repository still has a commit, by its id or a ref."""
        ...

    async def finished(self, run: Run, outcome: Outcome) -> None:
        """Keep the report, and drop what is no longer needed."""
        ...

    def is_told(self, run: str) -> bool:
        """Tell whether all that is told of a run's end was told."""
        ...

    def told(self, run: str) -> None:
        """Note that all of it was told."""
        ...
