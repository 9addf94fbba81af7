"""What reviewers say, and what came of it."""

from __future__ import annotations

from typing import Any

from orchestrator.events import BranchSet, Reviewed
from orchestrator.records import ModelReply, Review
from orchestrator.testing import says
from tests.runs.conftest import git
from tests.runs.stage import Stage, mended

ON = "review: {enabled: true}\n"


def finding(**changes: Any) -> dict[str, Any]:
    """Build a finding as a reviewer writes it."""
    found = {
        "severity": "major",
        "file": "shop/pricing.py",
        "line": 8,
        "problem": "It rounds in the wrong direction.",
        "advice": "Round half up.",
    }
    return found | changes


def judges(*findings: dict[str, Any], summary: str = "I looked.") -> ModelReply:
    """Build the reply of a reviewer that gives its verdict."""
    return says("", ("verdict", {"summary": summary, "findings": list(findings)}))


def review(stage: Stage) -> Review:
    """Return the last review."""
    return stage.all(Reviewed)[-1].review


def report(stage: Stage, run: str) -> str:
    """Return a run's report."""
    return (stage.state / "runs" / run / "report.md").read_text(encoding="utf-8")


async def no_verdict(stage: Stage, *script: ModelReply, said: str) -> None:
    """Play a review that gives no verdict, and check that nothing passes."""
    outcome = await stage.play(*mended(), *script)
    assert review(stage).state == "not_executed"
    assert said in review(stage).reason
    assert (outcome.status, outcome.branch) == ("needs_human", "")
    assert "not reviewed" in outcome.error
    assert not stage.all(BranchSet)
    assert git(stage.repo, "rev-parse", f"refs/orchestrate/{outcome.run}/head") == outcome.commit
    assert "review 1: not executed" in report(stage, outcome.run)
    assert "review: MISSING" in report(stage, outcome.run)
