"""The events of a run: durable ones, which the journal keeps, and signals, which it does not.

Durable events encode and decode themselves. Their key is a logical name, the same whenever the
same thing happens again, so that a journal can refuse to record it twice.
"""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import field
from typing import Literal

import orjson

from orchestrator.contextevents import Compacted, ResultsCleared
from orchestrator.deliveryevents import (
    AnswerIntended,
    BranchPushed,
    IssueCommented,
    IssueMoved,
    PullRequestIntended,
    PullRequestSet,
    PushIntended,
    RoundNoted,
    ThreadAnswered,
)
from orchestrator.lifeevents import RunAbandoned, RunTakenOver
from orchestrator.modelevents import ModelSwitched, RequestFailed, RequestIntended
from orchestrator.rebuilding import build
from orchestrator.records import SECRETS_GATE, AgentDefinition, Outcome, Review, Run, Usage, Verdict
from orchestrator.values import frozen
from orchestrator.wayoutevents import EgressDecided, EgressEnded, WorkspaceSetUp

AUTHOR = "author"
"""The session of the agent that works on the issue."""

BASE = "base"
"""What the runtime itself did in the workspace when the base had moved."""

REVIEW = "review/"
"""Sessions of reviewers begin so; their number follows."""

Cause = Literal["issue", "gates", "continue", "conflict", "review", "change", "stuck"]


@frozen
class RunStarted:
    """A run exists: what it works on, from which commit, towards which branch."""

    run: Run
    agent: AgentDefinition

    @property
    def key(self) -> str:
        return "started"


@frozen
class TranscriptOpened:
    """The head of a session's requests: system prompt and tool specs, as they are sent."""

    session: str
    head: bytes

    @property
    def key(self) -> str:
        return f"{self.session}/head"


@frozen
class Prompted:
    """A user message was added before a turn: the issue, a gate's findings, a request to go on.

    Attributes:
        cause: ``conflict`` where the moved base does not merge, ``review`` for a reviewer's
            findings, ``change`` for what a reviewer is given to judge, ``stuck`` for a word to an
            agent that does nothing.
    """

    session: str
    turn: int
    message: bytes
    cause: Cause

    @property
    def key(self) -> str:
        return f"{self.session}/turn/{self.turn}/prompt"


@frozen
class ModelReplied:
    """A reply, paid for and kept before anything uses it.

    Attributes:
        request_bytes: how large its request was; with it a later process reckons as this one did.
        message_id: how the service names it.
        prompt_tokens: what its request took, also where a fork has not paid for it.
        missed: what its request did not find in the service's cache, and why; mostly empty.
        regained_usd: what an attempt that was taken to be lost had booked, where it is this reply
            that had been asked for; ``regained_tokens`` likewise.
    """

    session: str
    turn: int
    message: bytes
    stop_reason: str
    usage: Usage
    cost_usd: float
    request_id: str = ""
    broken_calls: tuple[str, ...] = ()
    request_bytes: int = 0
    message_id: str = ""
    missed: str = ""
    prompt_tokens: int = 0
    regained_usd: float = 0.0
    regained_tokens: int = 0

    @property
    def key(self) -> str:
        return f"{self.session}/turn/{self.turn}/reply"


@frozen
class CallSummary:
    """One tool call, for people."""

    tool: str
    about: str
    is_error: bool
    duration_s: float


@frozen
class ToolsReturned:
    """The results of all tool calls of a turn, as they are sent.

    Attributes:
        ran: whether a call ran that cannot be repeated, so that a snapshot has to follow.
    """

    session: str
    turn: int
    message: bytes
    calls: tuple[CallSummary, ...]
    cwd: str | None = None
    seen: dict[str, str] = field(default_factory=dict)
    ran: bool = False

    @property
    def key(self) -> str:
        return f"{self.session}/turn/{self.turn}/results"


@frozen
class SnapshotTaken:
    """The state of the workspace after a turn is kept under this name.

    Attributes:
        notes: what the model is to be told of it, with the next results.
    """

    session: str
    turn: int
    snapshot: str
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.session}/turn/{self.turn}/snapshot"


@frozen
class Collected:
    """The agent's commit has come out of the workspace and passed the quarantine."""

    round: int
    commit: str
    tree: str
    changed: bool
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"collected/{self.round}"


@frozen
class BaseMerged:
    """The user's branch had moved, and a merge of it was tried in the workspace.

    Attributes:
        base: the commit that the branch is at now.
        commit: what came out; empty where it does not merge.
        conflicts: files that both sides changed.
        error: why it cannot be merged, where that is not for conflicts.
    """

    round: int
    base: str
    commit: str = ""
    tree: str = ""
    changed: bool = True
    conflicts: tuple[str, ...] = ()
    error: str = ""

    @property
    def key(self) -> str:
        return f"base/{self.round}"


@frozen
class GateJudged:
    """A gate's verdict on one tree, as a change of one base."""

    round: int
    verdict: Verdict
    base: str = ""

    @property
    def key(self) -> str:
        verdict, over = self.verdict, f"/{self.base}" if self.base else ""
        if verdict.gate == SECRETS_GATE:
            over += f"/{verdict.commit}"  # it reads the way to the tree, not the tree alone
        return f"gate/{verdict.gate}/{verdict.tree}{over}"


@frozen
class Reviewed:
    """A second agent has judged the change, or could not."""

    round: int
    review: Review

    @property
    def key(self) -> str:
        return f"review/{self.review.number}"


@frozen
class BranchIntended:
    """The branch is about to be set to a commit."""

    branch: str
    commit: str

    @property
    def key(self) -> str:
        return f"branch/{self.commit}/intent"


@frozen
class BranchSet:
    """The branch is set."""

    branch: str
    commit: str

    @property
    def key(self) -> str:
        return f"branch/{self.commit}"


FIRST_EPOCH = 1
"""In which a run begins; each time that it is taken up the epoch rises."""


@frozen
class RunResumed:
    """A process has taken the run up again."""

    epoch: int
    run: Run

    @property
    def key(self) -> str:
        return f"resumed/{self.epoch}"


def begun_at(events: Sequence[object]) -> int:
    """Return the epoch in which this process has begun with a run, or gone on with it."""
    return max((one.epoch for one in events if isinstance(one, RunResumed)), default=FIRST_EPOCH)


@frozen
class RunParked:
    """The run has stopped and can go on."""

    epoch: int
    outcome: Outcome

    @property
    def key(self) -> str:
        return f"parked/{self.epoch}"


@frozen
class RunFinished:
    """The run has ended."""

    outcome: Outcome

    @property
    def key(self) -> str:
        return "finished"


Event = (
    RunStarted
    | TranscriptOpened
    | Prompted
    | RequestIntended
    | RequestFailed
    | ModelReplied
    | ToolsReturned
    | ResultsCleared
    | Compacted
    | SnapshotTaken
    | Collected
    | BaseMerged
    | GateJudged
    | Reviewed
    | BranchIntended
    | BranchSet
    | PushIntended
    | BranchPushed
    | PullRequestIntended
    | PullRequestSet
    | AnswerIntended
    | ThreadAnswered
    | RoundNoted
    | IssueMoved
    | IssueCommented
    | EgressDecided
    | EgressEnded
    | WorkspaceSetUp
    | ModelSwitched
    | RunResumed
    | RunParked
    | RunFinished
    | RunTakenOver
    | RunAbandoned
)
EVENTS: dict[str, type[Event]] = {kind.__name__: kind for kind in typing.get_args(Event)}


@frozen
class ToolStarted:
    """A tool call begins."""

    turn: int
    tool: str
    about: str


@frozen
class ToolOutput:
    """A tool call that still runs has said more; its result will hold all of it."""

    turn: int
    tool: str
    text: str


@frozen
class Waiting:
    """Nothing goes on for a while, and this is why."""

    reason: str
    seconds: float


@frozen
class Notice:
    """Something that a person should know."""

    text: str


Signal = ToolStarted | ToolOutput | Waiting | Notice


def encode(event: Event) -> bytes:
    """Encode an event's data; message bytes are kept as text, character for character."""
    return orjson.dumps(event, default=_as_text)


def decode(kind: str, data: bytes) -> Event:
    """Rebuild an event from what ``encode`` gave.

    Raises:
        ValueError: the kind is unknown or the data does not fit it.
    """
    found = EVENTS.get(kind)
    if found is None:
        raise ValueError(f"unknown kind of event {kind!r}; was it written by a newer version?")
    try:
        event = build(found, orjson.loads(data))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"broken data of a {kind}: {error}") from error
    return typing.cast("Event", event)


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode()
    raise TypeError(f"{type(value).__name__} cannot be kept in an event")
