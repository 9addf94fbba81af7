"""All settings, as values: what each one means stands below it, its default beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.prices import Model, by_name, with_cache_rates
from orchestrator.records import Limits


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """A model that the bundled table does not know, or knows otherwise."""

    input: float
    """Dollars per million tokens in."""
    output: float
    """Dollars per million tokens out."""
    max_output: int = 32_000
    """The most tokens of one reply."""
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """What one run may use up."""

    usd: float | None = 5.0
    turns: int | None = 200
    minutes: float | None = 120.0


Backend = Literal["auto", "bubblewrap", "landlock", "container", "external", "none"]


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """What can be reached from inside; nothing, unless it is named here."""

    allow: tuple[str, ...] = ()
    """``host:port``, or ``*.host:port``. A host that takes uploads is a way out for everything."""
    receive_mb: int = 2048
    """How much one run may receive."""
    send_mb: int = 64
    """How much one run may send."""


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class GateCommand:
    """A command that must succeed on a clean checkout of the agent's commit."""

    name: str
    run: str
    tests: bool = False
    """Whether it runs tests: then zero tests executed is a failure."""
    timeout_s: float = 900.0
    new_only: bool = False
    """Whether what it complains of on the base too is forgiven; not for tests."""


@dataclass(frozen=True, slots=True)
class GateSettings:
    """What judges the work."""

    branch_name: bool = True
    detect_tests: bool = True
    """Run the project's own tests, where they can be told from its files and no command says it."""
    commands: tuple[GateCommand, ...] = ()
    against_base: bool = True
    """Whether tests run on the base too: one that ran there and does not run now is a failure."""
    detect_checks: bool = True
    """Run linters, formatters and type checkers that the repository sets up; new errors fail."""
    changed_tests: bool = True
    """Whether changed code needs a test that fails on the base and passes now."""
    coverage: bool = True
    """Whether coverage of changed lines is judged, where the repository sets coverage.py up."""
    coverage_above: float = 90.0
    """The percentage of changed lines that has to be exceeded."""
    rounds: int = 2
    """How often a failed gate goes back to the agent."""


@dataclass(frozen=True, slots=True)
class RoutingSettings:
    """Which agent gets which issue."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """Label to agent."""
    default: str | None = None
    """The agent for issues that nothing else decides."""


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    """Where issues are."""

    folder: str = "issues"
    """Folder of markdown issues, from the top of the repository."""
    write_back: bool = False
    """Whether a report is appended to the issue's own file."""


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, merged from every level."""

    orchestrate: int = 1
    """The version of this file's form."""
    model: ModelSettings = field(default_factory=ModelSettings)
    models: Mapping[str, ModelPrice] = field(default_factory=dict)
    limits: LimitSettings = field(default_factory=LimitSettings)
    sandbox: SandboxSettings = field(default_factory=SandboxSettings)
    gates: GateSettings = field(default_factory=GateSettings)
    routing: RoutingSettings = field(default_factory=RoutingSettings)
    tracker: TrackerSettings = field(default_factory=TrackerSettings)
    workspace: WorkspaceSettings = field(default_factory=WorkspaceSettings)

    def run_limits(self) -> Limits:
        """Return the limits of one run."""
        minutes = self.limits.minutes
        return Limits(
            usd=self.limits.usd,
            turns=self.limits.turns,
            wall_s=None if minutes is None else minutes * 60,
        )

    def extra_models(self) -> dict[str, Model]:
        """Return the configuration's own models, by name."""
        return by_name(
            Model(
                id=name,
                price=with_cache_rates(row.input, row.output),
                max_output=row.max_output,
                aliases=row.aliases,
            )
            for name, row in self.models.items()
        )
