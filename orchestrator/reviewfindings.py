"""What a reviewer found, held against the floor from which findings go back to the author."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator import prompts
from orchestrator.amounts import counted
from orchestrator.hearing import Judgement
from orchestrator.records import SEVERITIES, Finding, Severity, VerdictState


def judged(
    judgement: Judgement | None, broken: Sequence[str], error: str, floor: Severity
) -> tuple[VerdictState, str, tuple[Finding, ...]]:
    """Return what a review comes to: its state, the reason in a line, and all that was found.

    Args:
        judgement: the reviewer's verdict; None where it gave none.
        broken: why each verdict that was given was none.
        error: what ended the review early; empty where nothing did.
        floor: the least severity that fails it.
    """
    if judgement is None:
        why = error or "the reviewer gave no verdict"
        if broken and not error:
            why = f"the reviewer gave no valid verdict: {broken[-1]}"
        return "not_executed", why, ()
    found = tuple(map(cleaned, judgement.findings))
    high = at_least(floor, found)
    below = len(found) - len(high)
    if high:
        return "failed", f"{counted(len(high), 'finding')} at or above {floor}", found
    more = f", {counted(below, 'finding')} below it" if below else ""
    return "passed", f"no finding at or above {floor}{more}", found


def at_least(floor: Severity, findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings whose severity is a floor or more."""
    least = SEVERITIES.index(floor)
    return [one for one in findings if SEVERITIES.index(one.severity) >= least]


def cleaned(finding: Finding) -> Finding:
    """Return a finding without characters that a reader would not see."""
    return Finding(
        finding.severity,
        prompts.cleaned(finding.path),
        finding.line,
        prompts.cleaned(finding.problem),
        prompts.cleaned(finding.advice),
    )
