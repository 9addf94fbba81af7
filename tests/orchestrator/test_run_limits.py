"""What a run may use up: what was asked for, what it had, what the settings say."""

from __future__ import annotations

from orchestrator.assembly.sharing import limits_of
from orchestrator.planning import Wish
from orchestrator.records import Limits

USUAL = Limits(usd=5.0, turns=200, wall_s=7200.0, tokens=1000, tools=4)


def test_what_is_asked_for_wins() -> None:
    """Each limit that is named replaces the usual one, and the others stay."""
    wish = Wish(limit_usd=1.0, limit_minutes=3.0)
    assert limits_of(wish, USUAL) == Limits(1.0, 200, 180.0, 1000, 4)
    assert limits_of(Wish(), USUAL) == USUAL


def test_waiting_for_a_batch_is_no_work() -> None:
    """Where replies come hours later no usual time limit holds; one that is asked for does."""
    assert limits_of(Wish(), USUAL, slow=True).wall_s is None
    assert limits_of(Wish(limit_minutes=3.0), USUAL, slow=True).wall_s == 180.0
