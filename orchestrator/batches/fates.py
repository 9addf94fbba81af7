"""What an outcome or an error of a run means for its issue in a night."""

from __future__ import annotations

from orchestrator.batches.nights import Fate, FateKind, Why
from orchestrator.errors import (
    ConfigError,
    IssueNotFound,
    IssueNotReady,
    NoRoute,
    OrchestratorError,
)
from orchestrator.records import Outcome

KINDS: dict[str, FateKind] = {
    "done": "done",
    "gate_failed": "not_done",
    "needs_human": "not_done",
    "failed": "not_done",
    "unavailable": "infrastructure",
    "limit_reached": "parked",
    "cancelled": "parked",
}


def fate_of(outcome: Outcome, *, why: Why, before_usd: float, wall_s: float) -> Fate:
    """Return what an outcome means.

    Args:
        outcome: of the issue's run.
        why: why it was parked, if it was.
        before_usd: what the run had cost before this night.
        wall_s: seconds of this try.
    """
    kind = KINDS[outcome.status]
    return Fate(
        kind=kind,
        why=why if kind == "parked" else "",
        status=outcome.status,
        run=outcome.run,
        said=line(outcome.error or outcome.summary),
        hint=line(outcome.hint),
        usd=max(round(outcome.cost_usd - before_usd, 6), 0.0),
        turns=outcome.turns,
        wall_s=round(wall_s, 3),
        branch=outcome.branch,
        pull_request=outcome.pull_request,
    )


def fate_of_error(error: Exception, *, run: str, usd: float, wall_s: float) -> Fate:
    """Return what it means that a run could not be begun, or broke in a way that is not its own.

    Args:
        error: what was raised.
        run: the run's id.
        usd: what this night has spent on it.
        wall_s: seconds of this try.
    """
    kind: FateKind = "infrastructure"
    why: Why = ""
    if isinstance(error, IssueNotFound):
        kind = "vanished"
    elif isinstance(error, IssueNotReady | NoRoute | ConfigError):
        kind, why = "passed_over", "not_ready"  # a person's to change
    ours = isinstance(error, OrchestratorError)
    said = str(error) if ours else f"{type(error).__name__}: {error}"
    hint = error.hint if isinstance(error, OrchestratorError) else ""
    return Fate(
        kind=kind,
        why=why,
        run=run,
        said=line(said),
        hint=line(hint),
        usd=max(round(usd, 6), 0.0),
        wall_s=round(wall_s, 3),
    )


def line(text: str, most: int = 300) -> str:
    """Return the beginning of a text as one line."""
    words = " ".join(text.split())
    return words if len(words) <= most else f"{words[: most - 1]}…"
