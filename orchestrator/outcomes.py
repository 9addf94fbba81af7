"""The outcomes of one run, filled in with what it has used up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from orchestrator import prompts
from orchestrator.accounts import RUN as OWN
from orchestrator.amounts import Reached
from orchestrator.contextevents import Compacted, ResultsCleared, told
from orchestrator.errors import (
    MACHINE,
    OrchestratorError,
    RemoteUnavailable,
    SandboxUnavailable,
    TrackerError,
    WorkspaceError,
)
from orchestrator.events import Event, ModelReplied
from orchestrator.limits import Ledger
from orchestrator.records import Outcome, OutcomeStatus, Run

STATUS: dict[str, OutcomeStatus] = {
    "refused": "needs_human",
    "limit": "limit_reached",
    "unavailable": "unavailable",
    "failed": "failed",
    "full": "failed",
    "stuck": "needs_human",
}
"""What the ends of an agent's work mean for the run."""


def go_on(run: Run, limit: Reached | None = None) -> str:
    """Say how a parked run goes on.

    Args:
        run: the run.
        limit: what stopped it; where it is the run's own, it goes on with a higher one.
    """
    named = f"runs resume {run.run_id}" if run.forked_from else f"issue {run.issue.key}"
    return f"go on with: orchestrate {named}{_higher(run, limit)}"


def _higher(run: Run, limit: Reached | None) -> str:
    """Return the option for twice the run's own limit; time begins anew with each sitting."""
    if limit is None or limit.whose != OWN:
        return ""
    limits = run.limits
    match limit.kind:
        case "turns" if limits.turns is not None:
            return f" --limit-turns {limits.turns * 2}"
        case "tokens" if limits.tokens is not None:
            return f" --limit-tokens {limits.tokens * 2}"
        case "usd" if limits.usd is not None:
            return f" --limit-usd {max(limits.usd * 2, 1.0):g}"  # less pays for no reply
    return ""


PARKING = (SandboxUnavailable, WorkspaceError, RemoteUnavailable, TrackerError)
"""What a person or time mends, after which the run goes on where it stood."""


NOTED = 3
"""How many of a kind are told one by one."""


def context_notes(events: Sequence[Event]) -> list[str]:
    """Return what a person should know of a run's transcripts and of the service's cache."""
    missed = [e.missed for e in events if isinstance(e, ModelReplied) and e.missed]
    shorter = [told(e) for e in events if isinstance(e, ResultsCleared | Compacted)]
    return [*_counted("the transcript was made shorter: ", shorter), *_counted("cache: ", missed)]


def _counted(before: str, said: Sequence[str]) -> list[str]:
    more = [f"{before}{len(said) - NOTED} times more"] if len(said) > NOTED else []
    return [*(f"{before}{one}" for one in said[:NOTED]), *more]


class Outcomes:
    """Makes the outcomes of one run.

    Args:
        run: what was to be done.
        ledger: what it has used up.
        events: the run's events so far.

    Attributes:
        notes: what every outcome of the run tells.
    """

    def __init__(
        self, run: Run, ledger: Ledger, events: Callable[[], Sequence[Event]] = tuple
    ) -> None:
        self.notes: tuple[str, ...] = ()
        self._run = run
        self._ledger = ledger
        self._events = events

    def of_error(self, error: Exception, words: str, *, work: Path) -> Outcome:
        """Return what an error means: a machine's fault parks the run, everything else ends it.

        Args:
            error: what was raised.
            words: the agent's last words.
            work: where its files are.
        """
        hint = error.hint if isinstance(error, OrchestratorError) else ""
        if isinstance(error, PARKING) or (isinstance(error, OSError) and error.errno in MACHINE):
            return self.of("unavailable", words, error=str(error), hint=hint)
        ours = isinstance(error, OrchestratorError)
        said = str(error) if ours else f"{type(error).__name__}: {error}"
        return self.of("failed", words, error=said, hint=hint or f"its work tree is kept in {work}")

    def of(  # noqa: PLR0913 - one value a part
        self,
        status: OutcomeStatus,
        summary: str,
        *,
        branch: str = "",
        commit: str = "",
        error: str = "",
        hint: str = "",
        limit: Reached | None = None,
        notes: tuple[str, ...] = (),
    ) -> Outcome:
        """Return an outcome."""
        run, ledger = self._run, self._ledger
        return Outcome(
            status=status,
            run=run.run_id,
            issue=run.issue.key,
            agent=run.route.agent,
            model=run.model,
            summary=prompts.cleaned(summary),
            branch=branch,
            commit=commit,
            usage=ledger.usage,
            cost_usd=round(ledger.spent_usd, 6),
            turns=ledger.turns,
            error=error,
            hint=hint,
            limit=limit,
            scripted=run.scripted,
            notes=(*self.notes, *notes, *context_notes(self._events())),
            cache_read_share=round(ledger.usage.cache_read_share, 4),
        )
