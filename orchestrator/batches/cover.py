"""Whether there is room for another issue under the ceiling of a night."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.batches.views import IssueView
from orchestrator.records import Limits
from orchestrator.values import frozen

SMALLEST = 1e-9
"""Dollars that sums of fractions may be off by."""


def needs(view: IssueView, per_issue: Limits) -> float:
    """Return the dollars that an issue is taken to need from here on.

    Where nobody knows, it is what its run may use up.
    """
    expected = view.planned.expected.usd
    if expected <= 0:
        expected = per_issue.usd or 0.0
    if per_issue.usd is not None:
        expected = min(expected, per_issue.usd)
    return max(expected - view.usd, 0.0)


@frozen
class Cover:
    """What a ceiling still covers.

    Attributes:
        ceiling: in dollars; None covers everything.
        spent: what is gone.
        working: of each issue that is worked on, what it was taken to need and what it took so far.
    """

    ceiling: float | None
    spent: float
    working: Sequence[tuple[float, float]]

    def has(self, usd: float) -> bool:
        """Tell whether an issue that needs so much can be begun."""
        if self.ceiling is None:
            return True
        promised = sum(max(need - took, 0.0) for need, took in self.working)
        left = self.ceiling - self.spent - promised
        return left > SMALLEST and usd <= left + SMALLEST
