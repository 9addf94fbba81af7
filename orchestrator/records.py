"""What flows through the runtime: frozen values, no behaviour."""

from __future__ import annotations

from dataclasses import field, replace
from typing import Literal

from orchestrator.amounts import Limits as Limits  # noqa: PLC0414 - told from here too
from orchestrator.amounts import RateNews, Reached, counted
from orchestrator.amounts import Usage as Usage  # noqa: PLC0414 - told from here too
from orchestrator.pullrequests import Comment, Continued
from orchestrator.stages import Evidence
from orchestrator.values import frozen
from orchestrator_tools.contract import Block

OutcomeStatus = Literal[
    "done", "gate_failed", "needs_human", "limit_reached", "cancelled", "unavailable", "failed"
]
PARKED: frozenset[OutcomeStatus] = frozenset({"limit_reached", "cancelled", "unavailable"})
"""Outcomes after which the run can go on."""


@frozen
class AgentDefinition:
    """An agent as its file defines it.

    Attributes:
        tools: rules for what it may use, as ``Read`` or ``Bash(git *)``; None means everything.
        denied: rules for what it may not use; they win.
        model: alias or id; None means the configured one.
        effort: how hard the model is asked to think; empty leaves it to the service.
        max_turns: the most turns it may take in a run.
        mistaken: a key of its file that may have been meant to narrow its tools, and does not.
        prompt: the body of the file, which becomes the system prompt.
        source: where it comes from, for people.
        warnings: what its author should know.
    """

    name: str
    description: str
    tools: tuple[str, ...] | None
    model: str | None
    prompt: str
    denied: tuple[str, ...] = ()
    effort: str = ""
    max_turns: int | None = None
    mistaken: str = ""
    source: str = ""
    warnings: tuple[str, ...] = ()


@frozen
class Issue:
    """An issue, whatever tracker it comes from."""

    key: str
    title: str
    body: str
    labels: tuple[str, ...] = ()
    state: str = "open"
    priority: str = ""
    author: str = ""
    assignees: tuple[str, ...] = ()
    blocked_by: tuple[str, ...] = ()
    url: str = ""
    assigned_to_people: bool = False
    """Whether assignees are logins of people, which name no agent by themselves."""
    comments: tuple[Comment, ...] = ()
    association: str = ""
    """How the tracker names the author's tie to the project, like ``MEMBER``."""


CLOSED = frozenset({"closed", "done", "resolved"})
"""States of an issue that nobody has to work on any more."""


@frozen
class Route:
    """Which agent an issue goes to, and why."""

    agent: str
    reason: str
    score: float
    runners_up: tuple[tuple[str, float], ...] = ()
    detail: str = ""
    """Which label, file or words."""
    choice: RouteChoice | None = None
    """What a model said, where one was asked."""


@frozen
class Run:
    """One attempt at one issue.

    Attributes:
        base_ref: the user's branch that the run started from; empty where HEAD was on none.
        continues: the pull request whose feedback this run works on, if that is its task.
        forked_from: the run that this one is a fork of; empty where it is none.
        forked_at: the turn of that run after which this one goes on.
    """

    run_id: str
    repo: str
    issue: Issue
    route: Route
    attempt: int
    limits: Limits
    base_commit: str
    branch: str
    model: str
    scripted: bool = False
    base_ref: str = ""
    continues: Continued | None = None
    forked_from: str = ""
    forked_at: int = 0


@frozen
class RouteChoice:
    """What a model said of who should have an issue.

    Attributes:
        model: its id.
        answer: an agent, ``none``, or empty where no answer came that counts.
        why: why no answer counts.
        offline: the agent that comes first without it.
        usage: what the answer took.
        cost_usd: what it cost.
    """

    model: str
    answer: str
    why: str
    offline: str
    usage: Usage = field(default_factory=Usage)
    cost_usd: float = 0.0


@frozen
class ModelRequest:
    """One request to a model.

    Attributes:
        model: the full id.
        max_tokens: the most that the reply may hold.
        head: the encoded ``system`` and ``tools`` members, without braces.
        messages: the encoded messages, in order, cache marks already in place.
        length: bytes of head and messages, near enough, where whoever built it has counted.
        life: how long its cache marks ask to be kept.
        previous: id of the reply before this, empty where there is none, if the service is to say
            why its cache missed; None asks nothing.
    """

    model: str
    max_tokens: int
    head: bytes
    messages: tuple[bytes, ...]
    length: int = 0
    life: Literal["5m", "1h"] = "5m"
    previous: str | None = None

    def body(self) -> bytes:
        """Return the request body, byte for byte what is sent."""
        front = b'{"stream":true,"model":%b,"max_tokens":%d,' % (
            b'"' + self.model.encode() + b'"',
            self.max_tokens,
        )
        if self.previous is not None:
            named = b'"%b"' % self.previous.encode() if self.previous else b"null"
            front += b'"diagnostics":{"previous_message_id":%b},' % named
        return b"".join((front, self.head, b',"messages":[', b",".join(self.messages), b"]}"))

    def whole_body(self) -> bytes:
        """Return the same body, for a reply that comes in one piece."""
        return b"{" + self.body().removeprefix(b'{"stream":true,')

    def size(self) -> int:
        """Return the number of bytes of head and messages."""
        counted = self.length
        return counted or len(self.head) + sum(len(message) + 1 for message in self.messages)


@frozen
class ModelReply:
    """What a model answered.

    Attributes:
        blocks: the content blocks, to be sent back unchanged.
        broken_calls: ids of tool calls that were cut or are not valid JSON: never run.
        price_share: what it costs, as a share of the usual price.
        rates: what the service said of its limits of rate.
        message_id: how the service names it; plain letters, digits, ``_`` and ``-``, or empty.
        cache_miss: why its cache could not be used, in the service's word; mostly empty.
        taken_up: whether an earlier attempt has asked for it, which was taken to be lost.
    """

    blocks: tuple[Block, ...]
    stop_reason: str
    usage: Usage
    request_id: str = ""
    broken_calls: tuple[str, ...] = ()
    price_share: float = 1.0
    rates: tuple[RateNews, ...] = ()
    message_id: str = ""
    cache_miss: str = ""
    taken_up: bool = False


@frozen
class Mount:
    """One thing that is visible inside a sandbox.

    Attributes:
        source: an absolute path on the host.
        target: the absolute path inside.
        writable: whether it may be changed inside.
        optional: whether it may be missing on the host.
    """

    source: str
    target: str
    writable: bool = False
    optional: bool = False


@frozen
class SandboxSpec:
    """What one sandbox shows and allows; everything else does not exist inside.

    Mounts are applied in order, so a later one covers part of an earlier one.

    Attributes:
        path: folders that come before the system's in PATH.
    """

    mounts: tuple[Mount, ...]
    cwd: str
    environment: tuple[tuple[str, str], ...] = ()
    path: tuple[str, ...] = ()

    @property
    def written(self) -> tuple[str, ...]:
        """Return the folders of the host that can be written from inside."""
        return tuple(mount.source for mount in self.mounts if mount.writable)

    def adding(
        self, mounts: tuple[Mount, ...] = (), environment: tuple[tuple[str, str], ...] = ()
    ) -> SandboxSpec:
        """Return a spec that shows more."""
        return replace(
            self, mounts=(*self.mounts, *mounts), environment=(*self.environment, *environment)
        )


@frozen
class Conditions:
    """What a gate's command finds, beside the checkout.

    Attributes:
        taking: changed paths that are as in the other of base and commit; one that is not there
            is not here either.
        environment: further variables; ``{tmp}`` in a value stands for the private temporary
            folder.
        reports: names in that folder that are read once everything inside has ended.
        output: how many bytes of what is printed are kept.
    """

    taking: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    reports: tuple[str, ...] = ()
    output: int = 64 * 1024


@frozen
class Counts:
    """What became of the tests of one run; an expected failure counts as passed."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    deselected: int = 0

    @property
    def executed(self) -> int:
        """Return how many ran."""
        return self.passed + self.failed


VerdictState = Literal["passed", "failed", "not_executed"]
SECRETS_GATE = "secrets"
"""The gate whose failure means that the commit must not leave this machine, not even to be kept."""


@frozen
class Verdict:
    """What one gate saw.

    Attributes:
        person: it failed in a way that no further try of the agent mends: a person has to look.
    """

    gate: str
    state: VerdictState
    reason: str
    details: str = ""
    argv: tuple[str, ...] = ()
    exit_status: int | None = None
    duration_s: float = 0.0
    tests: int | None = None
    commit: str = ""
    tree: str = ""
    person: bool = False
    counts: Counts | None = None


Severity = Literal["minor", "major", "critical"]
SEVERITIES: tuple[Severity, ...] = ("minor", "major", "critical")
"""From the least to the most."""


@frozen
class Finding:
    """One thing that a reviewer objects to.

    Attributes:
        line: in the file as it is after the change; 0 means the file as a whole.
        advice: what would mend it.
    """

    severity: Severity
    path: str
    line: int
    problem: str
    advice: str


@frozen
class Review:
    """What a second agent said of a change.

    Attributes:
        number: which review of the run it is.
        state: ``failed`` where findings at or above the floor were made; ``not_executed`` where
            no verdict came, which never counts as passed.
        base: the commit that the change was compared with.
    """

    number: int
    state: VerdictState
    reason: str
    summary: str = ""
    findings: tuple[Finding, ...] = ()
    floor: Severity = "major"
    agent: str = ""
    model: str = ""
    cost_usd: float = 0.0
    commit: str = ""
    tree: str = ""
    base: str = ""


@frozen
class DiffStat:
    """How large a change is."""

    files: int = 0
    added: int = 0
    removed: int = 0

    def __str__(self) -> str:
        """Return it as people read it, empty where nothing was changed."""
        told = f"{counted(self.files, 'file')}, +{self.added} -{self.removed}"
        return told if self.files else ""


@frozen
class FileChange:
    """What a commit does to one file, line by line.

    Attributes:
        path: from the top of the repository; a name that is no UTF-8 has surrogates.
        state: a file that was renamed is removed under one name and added under the other.
        old_mode: git's mode before, like ``100644``; ``000000`` where it was not there.
        mode: git's mode after; ``120000`` is a symbolic link, ``160000`` a submodule.
        added: number in the new file, from 1, and text without its end, of every added line.
        removed: the same of every removed line, by its number in the old file.
        binary: there is a NUL in a line that was added or removed.
        cut: its lines were too many to be told; ``added`` and ``removed`` are empty.
    """

    path: str
    state: Literal["added", "changed", "removed"]
    old_mode: str
    mode: str
    added: tuple[tuple[int, str], ...] = ()
    removed: tuple[tuple[int, str], ...] = ()
    binary: bool = False
    cut: bool = False


@frozen
class Outcome:
    """How a run ended. Every run ends in one."""

    status: OutcomeStatus
    run: str
    issue: str
    agent: str
    model: str
    summary: str = ""
    branch: str = ""
    commit: str = ""
    diff: DiffStat = field(default_factory=DiffStat)
    verdicts: tuple[Verdict, ...] = ()
    usage: Usage = field(default_factory=Usage)
    cost_usd: float = 0.0
    turns: int = 0
    error: str = ""
    hint: str = ""
    pushed: str = ""
    """Remote and branch that the commit was pushed to."""
    pull_request: str = ""
    """Its address."""
    scripted: bool = False
    notes: tuple[str, ...] = ()
    reviews: tuple[Review, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    cache_read_share: float = 0.0
    """Share of the tokens that went in which the service's cache gave."""
    limit: Reached | None = None
    """What stopped a run whose status is ``limit_reached``."""
