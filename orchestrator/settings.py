"""All settings, as values: what each one means stands below it, its default beside it.

Those of gates and reviews stand in ``judgesettings.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from orchestrator.judgesettings import GateSettings, ReviewSettings
from orchestrator.prices import Model, by_name, with_cache_rates
from orchestrator.records import Limits
from orchestrator.values import frozen


@frozen
class ModelSettings:
    """How models are asked."""

    default: str = "opus"
    """Alias or full id, where neither the agent nor ``--model`` names one."""
    client: Literal["messages", "anthropic_sdk"] = "messages"
    """``messages`` speaks the Messages API directly; ``anthropic_sdk`` through the vendor's SDK."""
    retries: int = 8
    """Further attempts after one that failed for a passing reason."""
    backoff_s: float = 0.5
    """Seconds before the first further attempt; doubles each time, up to 32."""
    silence_s: float = 120.0
    """Seconds without a byte from the service after which an attempt is given up."""
    longest_wait_s: float = 300.0
    """The longest ``retry-after`` that is waited for; a longer one parks the run."""
    reply_s: float = 3600.0
    """Seconds that one whole reply may take."""
    concurrency: int = 0
    """Requests to one model that are under way at once, of all runs; 0 is as many as it takes."""
    fallback: str | None = None
    """Alias or id of the model that goes on where a run's own is overloaded for too long."""


@frozen
class ModelPrice:
    """A model that the bundled table does not know, or knows otherwise."""

    input: float
    """Dollars per million tokens in."""
    output: float
    """Dollars per million tokens out."""
    max_output: int = 32_000
    """The most tokens of one reply."""
    context: int = 0
    """The most tokens of one request with its reply; 0: the service is asked."""
    aliases: tuple[str, ...] = ()


@frozen
class LimitSettings:
    """What one run may use up."""

    usd: float | None = 5.0
    turns: int | None = 200
    minutes: float | None = 120.0
    tokens: int | None = None
    """All that go in and out, also those that are read from a cache."""
    tools: int | None = None
    """Commands that run at once: calls of Bash, and gates; others wait."""


@frozen
class StuckSettings:
    """How much repetition ends a run; at half of each the agent is told. 0 switches one off."""

    same: int = 5
    """The same call with the same result, turn after turn; four times that while it waits."""
    cycles: int = 5
    """The same two to four turns over and over."""
    errors: int = 6
    """The same error again, while no file changes."""
    idle_turns: int = 80
    """Turns in which no file changes, of an agent that is there to change some."""
    talk: int = 4
    """Replies in a row that use no tool and do not end."""


@frozen
class ContextSettings:
    """What becomes of a transcript that grows."""

    clear: bool = True
    """Whether old tool results are left out where that costs less than sending them on."""
    compact: bool = True
    """Whether the model may be asked for a summary that stands for older turns."""
    full: float = 0.8
    """Share of the model's window at which something is done, whatever it costs."""
    cache_marks: Literal["auto", "5m", "1h"] = "auto"
    """How long the service is asked to keep what was sent; ``auto`` takes what costs less."""
    diagnose: bool | None = None
    """Whether the service is asked why its cache missed; unless said, only at its own address."""


Backend = Literal["auto", "bubblewrap", "landlock", "container", "external", "none"]


@frozen
class NetworkSettings:
    """What can be reached from inside; nothing, unless it is named here."""

    allow: tuple[str, ...] = ()
    """``host:port``, or ``*.host:port``. A host that takes uploads is a way out for everything."""
    receive_mb: int = 2048
    """How much one run may receive."""
    send_mb: int = 64
    """How much one run may send."""


@frozen
class SandboxSettings:
    """The walls. User level and flags only."""

    backend: Backend = "auto"
    """``auto`` is bubblewrap, and nothing weaker is ever chosen by itself. ``landlock`` has gaps,
    which each run tells; ``external`` says that all of this runs inside walls of yours; ``none``
    runs everything without walls, as you."""
    run_as: str = ""
    """Name or number of the user that root runs everything inside as; bubblewrap only."""
    image: str = ""
    """For ``container``: the image, which holds bash, git and Python; it is never pulled."""
    engine: Literal["auto", "docker", "podman"] = "auto"
    """For ``container``: whose command line; ``auto`` takes the first that answers."""
    memory_mb: int = 4096
    """Memory of all processes of a sandbox together; 0 means no limit."""
    disk_free_mb: int = 512
    """What a sandbox has to leave free of the disk; 0 means no limit."""
    network: NetworkSettings = field(default_factory=NetworkSettings)


@frozen
class RoutingSettings:
    """Which agent gets which issue."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """Label to agent; capitals do not matter."""
    paths: Mapping[str, str] = field(default_factory=dict)
    """Pattern of files to agent: an issue that names such a file is theirs, if no label decides."""
    assignees: Mapping[str, str] = field(default_factory=dict)
    """A person's login in the tracker to agent."""
    default: str | None = None
    """The agent for issues that nothing else decides."""
    model: str | None = None
    """A model that chooses among the likeliest agents where the words leave it open."""
    margin: float = 0.25
    """How far the first has to be ahead of the second, or of nobody, for no model to be asked."""
    limit_usd: float | None = 0.05
    """Dollars that one such question may cost."""


@frozen
class MoveSettings:
    """How the tracker is to show how far work is: a state of Jira or Linear, else a label.

    An empty one moves nothing.
    """

    working: str = ""
    """While a run works on the issue, like ``In Progress``."""
    delivered: str = ""
    """When a change waits for people, like ``In Review``."""
    failed: str = ""
    """When a run has ended without a change that may be delivered."""
    released: str = ""
    """When a run has let go of the issue without an end, or somebody stopped it."""


@frozen
class TrackerSettings:
    """Where issues are."""

    kind: Literal["markdown", "github", "gitlab", "jira", "linear"] = "markdown"
    project: str = ""
    """``owner/name`` or ``group/name``, the key of a Jira project or a Linear team; on GitHub and
    GitLab empty means what ``origin`` names."""
    labels: tuple[str, ...] = ()
    """What issues carry that wait for work, in batches and when watching."""
    priorities: Mapping[str, str] = field(default_factory=dict)
    """A label, or a priority of the tracker, to the priority that is meant."""
    states: Mapping[str, str] = field(default_factory=dict)
    """A state of the tracker to ``open`` or ``closed``, where it does not say which it is."""
    moves: MoveSettings = field(default_factory=MoveSettings)
    base_url: str = ""
    """A server of your own. This and what follows is yours to say, never a repository's."""
    allow_projects: tuple[str, ...] = ()
    """Projects that a repository may name though its ``origin`` names another one, or none."""
    token_command: str = ""
    """A command that prints the credential; else it comes from a file, or the environment."""
    token_file: str = ""
    """A file that holds the credential, readable by you alone."""
    app_id: str = ""
    """A GitHub App, instead of a token."""
    app_key_file: str = ""
    """The App's private key, readable by you alone."""
    folder: str = "issues"
    """Folder of markdown issues, from the top of the repository."""
    write_back: bool = False
    """Whether a report is appended to the issue's own file, or written under it as a comment."""


@frozen
class DeliverySettings:
    """What becomes of work that was let through, beyond a branch in the repository here."""

    push: bool = False
    """Whether the branch is pushed. User level only."""
    remote: str = "origin"
    """The remote's name, or its address. User level only."""
    token_env: str = ""
    """Variable that holds a token for an https remote; else your own git credentials, or those of
    the code host. User level only."""
    pull_request: Literal["draft", "ready", "none"] = "none"
    """Whether a pull request is opened for the pushed branch, and how."""
    base: str = ""
    """The branch it is to be merged into; empty means the one that the run started from."""
    labels: tuple[str, ...] = ()
    """Labels that it gets."""
    reviewers: tuple[str, ...] = ()
    """Logins that are asked to review it."""
    rescue: bool = False
    """Whether work that was not let through is pushed as ``rescue/...``; never where the gate for
    secrets has not passed it. User level only."""
    feedback_rounds: int = 3
    """How many runs may go on with one pull request's comments and failed checks."""
    timeout_s: float = 300.0
    """How long one git command with the remote may take."""
    claim: bool = False
    """Whether an issue is marked as taken while a run works on it: by a comment under it, for
    markdown issues for this state directory alone. User level only."""
    claim_hours: float = 1.0
    """How long an issue counts as taken by a run that says nothing more; a run that lives renews
    it."""
    comment: bool = True
    """Whether the issue gets one comment that tells how its last run ended, where GitHub or GitLab
    has both issues and pull requests, and one is asked for."""


@frozen
class WatchSettings:
    """How ``orchestrate watch`` works on the issues that carry ``tracker.labels``."""

    every_s: float = 60.0
    """Seconds between two looks at the tracker."""
    parallel: int = 2
    """How many issues are worked on at once."""
    attempts: int = 5
    """How often in a row an issue may fail for a passing reason before it is left alone."""


@frozen
class OnEndSettings:
    """Who is told when a batch has ended; they get JSON without secrets. User level only."""

    command: tuple[str, ...] = ()
    """A program and its arguments; the JSON is its standard input."""
    webhook: str = ""
    """An address that the JSON is posted to."""
    timeout_s: float = 30.0
    """How long either may take."""


@frozen
class BatchSettings:
    """How ``orchestrate batch`` works on many issues; its options win."""

    parallel: int = 4
    """How many issues are worked on at once."""
    usd: float | None = None
    """Dollars that one batch may cost; a repository may lower it, never raise it."""
    per_issue_usd: float | None = None
    """Dollars that one of its issues may cost; else what ``limits.usd`` says."""
    until: str = ""
    """When it is over, like ``06:00`` or ``+8h``."""
    lane: Literal["now", "batches", "auto"] = "now"
    """Whether models are asked at once, in half-price batches, or in them while there is time."""
    on_end: OnEndSettings = field(default_factory=OnEndSettings)


@frozen
class WorkspaceSettings:
    """The agent's private copy of the repository."""

    pack_limit_mb: int = 512
    """Size of what an agent may add to the repository in one run."""
    share: tuple[str, ...] = ()
    """What of your own checkout is shown read-only inside, like ``.venv`` or ``node_modules``."""
    setup: tuple[str, ...] = ()
    """Commands that run inside before an agent starts, like ``uv sync --frozen``."""
    setup_inputs: tuple[str, ...] = ()
    """Names of the files that the result depends on; empty means the lock files and manifests."""
    setup_allow: tuple[str, ...] = ()
    """What those commands may reach, as in ``sandbox.network.allow``."""
    setup_minutes: float = 30.0
    """How long one of those commands may take."""


@frozen
class Config:
    """All settings, merged from every level."""

    orchestrate: int = 1
    """The version of this file's form."""
    model: ModelSettings = field(default_factory=ModelSettings)
    models: Mapping[str, ModelPrice] = field(default_factory=dict)
    limits: LimitSettings = field(default_factory=LimitSettings)
    stuck: StuckSettings = field(default_factory=StuckSettings)
    context: ContextSettings = field(default_factory=ContextSettings)
    sandbox: SandboxSettings = field(default_factory=SandboxSettings)
    gates: GateSettings = field(default_factory=GateSettings)
    review: ReviewSettings = field(default_factory=ReviewSettings)
    routing: RoutingSettings = field(default_factory=RoutingSettings)
    tracker: TrackerSettings = field(default_factory=TrackerSettings)
    workspace: WorkspaceSettings = field(default_factory=WorkspaceSettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    watch: WatchSettings = field(default_factory=WatchSettings)
    batch: BatchSettings = field(default_factory=BatchSettings)

    def run_limits(self) -> Limits:
        """Return the limits of one run."""
        minutes = self.limits.minutes
        return Limits(
            usd=self.limits.usd,
            turns=self.limits.turns,
            wall_s=None if minutes is None else minutes * 60,
            tokens=self.limits.tokens,
            tools=self.limits.tools,
        )

    def extra_models(self) -> dict[str, Model]:
        """Return the configuration's own models, by name."""
        return by_name(
            Model(
                id=name,
                price=with_cache_rates(row.input, row.output),
                max_output=row.max_output,
                context=row.context,
                aliases=row.aliases,
            )
            for name, row in self.models.items()
        )
