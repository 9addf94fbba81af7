"""What flows through a night: what was wanted, what is planned, what became of each issue.

A night is one batch of issues. Its events are kept in the journal like those of runs; what a night
looks like at any moment is its record and its events, folded (``views.NightView``).
"""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from orchestrator.records import Limits, OutcomeStatus
from orchestrator.values import frozen

LaneName = Literal["now", "batches", "auto"]
"""How models are asked: at once, in half-price batches, or in batches while there is time."""

FateKind = Literal["done", "not_done", "infrastructure", "parked", "passed_over", "vanished"]
"""What became of an issue: done; not done by its agent; the machine's or a service's fault; begun
and parked; never begun; not there any more."""

Why = Literal["", "ceiling", "until", "blocked", "stopped", "not_ready", "limit"]
"""Why an issue was parked or passed over; ``limit`` is a limit of its own run."""

FINAL: frozenset[FateKind] = frozenset({"done", "not_done", "vanished"})
"""Fates that a resume does not touch again."""


@frozen
class Site:
    """A repository of a night.

    Attributes:
        repo: its id, as runs name it.
        top: its folder on this machine.
        config: the settings file that was named for it; empty leaves it to the usual places.
    """

    repo: str
    top: str
    config: str = ""


@frozen
class Expected:
    """What an issue is expected to take, with a range.

    Attributes:
        from_runs: how many runs of the past this is learnt from; 0 means it is a prior.
    """

    usd: float = 0.0
    usd_low: float = 0.0
    usd_high: float = 0.0
    minutes: float = 0.0
    minutes_low: float = 0.0
    minutes_high: float = 0.0
    from_runs: int = 0


@frozen
class Wanted:
    """What was asked for.

    Attributes:
        labels: which issues carry all of; none leaves it to ``issues``.
        issues: keys; empty leaves it to ``labels``.
        agent: who works on them; None routes each issue by itself.
        model: alias, id or recording; None leaves it to agents and settings.
        side_by_side: whether issues that name the same files may be worked on at once.
        retries: how often an issue is begun again after a fault that is not its agent's.
    """

    labels: tuple[str, ...] = ()
    issues: tuple[str, ...] = ()
    agent: str | None = None
    model: str | None = None
    side_by_side: bool = False
    retries: int = 3


@frozen
class Planned:
    """One issue of a plan, in its place.

    Attributes:
        issue: its key.
        agent: who is expected to get it, and why; routing decides again when it begins.
        blocked_by: keys of issues that have to be done first.
        apart_from: keys of issues of the same repository that are not worked on beside it.
    """

    repo: str
    issue: str
    title: str = ""
    agent: str = ""
    reason: str = ""
    expected: Expected = field(default_factory=Expected)
    blocked_by: tuple[str, ...] = ()
    apart_from: tuple[str, ...] = ()
    priority: str = ""
    url: str = ""

    @property
    def id(self) -> IssueId:
        """Return what names it in this night."""
        return self.repo, self.issue


IssueId = tuple[str, str]
"""A repository's id and an issue's key."""


@frozen
class Night:
    """One batch, as it was begun.

    Attributes:
        ceiling: what all of it may use up together.
        per_issue: what each run may use up.
        parallel: how many issues are worked on at once.
        until: the moment, in seconds since 1970, at which work is parked; None has none.
        plan: the issues, in the order in which they are begun.
        began: in seconds since 1970.
    """

    night: str
    sites: tuple[Site, ...]
    wanted: Wanted
    plan: tuple[Planned, ...]
    ceiling: Limits = field(default_factory=Limits)
    per_issue: Limits = field(default_factory=Limits)
    parallel: int = 4
    until: float | None = None
    lane: LaneName = "now"
    began: float = 0.0


@frozen
class Fate:
    """What became of an issue in one try.

    Attributes:
        why: why it was parked or passed over.
        status: of its run's outcome; None where no run ended.
        said: one line for people.
        usd: what this night spent on its run so far; what was spent before is not in it.
        wall_s: seconds of this try.
    """

    kind: FateKind
    why: Why = ""
    status: OutcomeStatus | None = None
    run: str = ""
    said: str = ""
    hint: str = ""
    usd: float = 0.0
    turns: int = 0
    wall_s: float = 0.0
    branch: str = ""
    pull_request: str = ""


# -- events: of the night ------------------------------------------------------------------


@frozen
class NightBegun:
    """A process works on the night: from the first one on, each has its own epoch.

    Attributes:
        night: as it is from here on; a resume may raise limits.
    """

    epoch: int
    night: Night
    at: float

    @property
    def key(self) -> str:
        return f"begun/{self.epoch}"


@frozen
class IssueBegun:
    """An issue is worked on.

    Attributes:
        attempt: which try in this night, from 1.
        run: the run's id, chosen before the run begins, or the one that is gone on with.
        before_usd: what that run had cost before this night.
    """

    repo: str
    issue: str
    attempt: int
    run: str
    at: float
    before_usd: float = 0.0

    @property
    def key(self) -> str:
        return f"issue/{self.repo}/{self.issue}/{self.attempt}/begun"


@frozen
class IssueEnded:
    """A try of an issue has ended."""

    repo: str
    issue: str
    attempt: int
    fate: Fate
    at: float

    @property
    def key(self) -> str:
        return f"issue/{self.repo}/{self.issue}/{self.attempt}/ended"


@frozen
class IssuePassedOver:
    """An issue is not begun in this epoch of the night; ``fate.why`` says why."""

    repo: str
    issue: str
    epoch: int
    fate: Fate
    at: float

    @property
    def key(self) -> str:
        return f"issue/{self.repo}/{self.issue}/passed-over/{self.epoch}"


@frozen
class IssueTriedAgain:
    """A fault that is not the agent's: the issue is tried again after a while.

    Attributes:
        attempt: the try that failed.
        wait_s: seconds until the next one may begin.
    """

    repo: str
    issue: str
    attempt: int
    fate: Fate
    wait_s: float
    at: float

    @property
    def key(self) -> str:
        return f"issue/{self.repo}/{self.issue}/{self.attempt}/again"


@frozen
class NightStopping:
    """Nothing more is begun; what runs finishes its turn and parks.

    Attributes:
        why: ``stopped`` by a person, the moment ``until``, or the ``ceiling``.
    """

    epoch: int
    why: Literal["stopped", "until", "ceiling"]
    at: float

    @property
    def key(self) -> str:
        return f"stopping/{self.epoch}/{self.why}"


@frozen
class NightEnded:
    """A process has come to the end of its work on the night.

    Attributes:
        complete: whether nothing is left for a resume.
    """

    epoch: int
    complete: bool
    at: float

    @property
    def key(self) -> str:
        return f"ended/{self.epoch}"


# -- events: of the half-price lane --------------------------------------------------------


@frozen
class TurnsGathered:
    """Requests are about to be sent as one batch; after a crash it is looked for by these ids.

    Attributes:
        number: which batch of the night, from 1.
        items: the custom ids, in order.
        runs: whose requests they are, in the same order; empty names where nobody said.
    """

    number: int
    items: tuple[str, ...]
    runs: tuple[str, ...]
    at: float

    @property
    def key(self) -> str:
        return f"lane/{self.number}/gathered"


@frozen
class TurnsSent:
    """The service has the batch; ``batch`` is its id there."""

    number: int
    batch: str
    at: float

    @property
    def key(self) -> str:
        return f"lane/{self.number}/sent"


@frozen
class TurnsReadBack:
    """The batch has ended, and its results are with their runs, or wait for them.

    Attributes:
        failed: errored, expired and cancelled ones, and those without any result.
    """

    number: int
    succeeded: int
    failed: int
    at: float

    @property
    def key(self) -> str:
        return f"lane/{self.number}/read"


NightEvent = (
    NightBegun
    | IssueBegun
    | IssueEnded
    | IssuePassedOver
    | IssueTriedAgain
    | NightStopping
    | NightEnded
    | TurnsGathered
    | TurnsSent
    | TurnsReadBack
)
