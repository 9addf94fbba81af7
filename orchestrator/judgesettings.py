"""Settings of what judges the work: gates, what is waived at them, and reviews."""

from __future__ import annotations

from dataclasses import field

from orchestrator.records import Severity
from orchestrator.values import frozen


@frozen
class GateCommand:
    """A command that must succeed on a clean checkout of the agent's commit."""

    name: str
    run: str
    tests: bool = False
    """Whether it runs tests: then zero tests executed is a failure."""
    timeout_s: float = 900.0
    new_only: bool = False
    """Whether what it complains of on the base too is forgiven; not for tests."""


@frozen
class GateWaiver:
    """What a person lets pass at a gate that reads the change."""

    gate: str
    """Its name, like ``docs``."""
    reason: str
    """Why; it is shown with the verdict."""
    issue: str = ""
    """For the work on this issue only; empty means always."""
    paths: tuple[str, ...] = ()
    """For these files only, like ``tests/fixtures/**``; empty means the whole gate."""


@frozen
class SizeSettings:
    """How large a change may be before a person has to look; 0 means no bound."""

    lines: int = 4000
    """Added and removed lines together, lock files and generated ones not counted."""
    files: int = 200
    binary_kb: int = 1024
    """The largest file that is no text."""
    not_counted: tuple[str, ...] = ()
    """Further files whose lines are not counted, like ``tests/recorded/**``."""


@frozen
class GateSettings:
    """What judges the work."""

    branch_name: bool = True
    detect_tests: bool = True
    """Run the project's own tests, where they can be told from its files and no command says it."""
    unfinished: bool = True
    """No TODO, FIXME, XXX, HACK and no stub in added lines."""
    secrets: bool = True
    """No key, token or password in added lines, and no file that holds them."""
    tests_kept: bool = True
    """No fewer asserts, new skips, suppressions, lowered thresholds, edited settings of checks."""
    suppressions: tuple[str, ...] = ()
    """Kinds that may be added where they name a rule, like ``noqa`` or ``type: ignore``."""
    protected: bool = True
    """CI, agents, settings of git and of this program are changed by a person only."""
    protected_paths: tuple[str, ...] = ()
    """Further protected files; the built-in ones stay."""
    size: SizeSettings = field(default_factory=SizeSettings)
    migrations: bool = True
    """Changed models (Alembic, Django) come with a migration, and there is one head."""
    docs: bool = True
    """Changed public names come with changed docs or docstrings, where there are any."""
    waivers: tuple[GateWaiver, ...] = ()
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
    parallel: int = 0
    """How many gates judge at once; 0 means as many as there are processors, at most 4."""
    require_tests: bool = False
    """Whether a run in which no gate executed a test is left to a person."""
    follow_base: bool = True
    """Whether your branch is merged in before gates judge, where it has moved meanwhile."""


@frozen
class ReviewSettings:
    """A second agent that judges the change against the issue, once the gates have passed it."""

    enabled: bool = False
    """Whether there is one; then no run is done without it."""
    agent: str = "reviewer"
    """Whose file says how it reviews; of its tools it gets those that read."""
    model: str | None = None
    """Alias or full id; else what the agent's file says."""
    floor: Severity = "major"
    """The least severity of findings that go back to the author."""
    rounds: int = 2
    """How often findings go back to the author."""
    usd: float | None = 1.0
    """Dollars that all reviews of a run may cost; they count for the run's limit too."""
    turns: int = 40
    """Turns that one review may take."""
