"""The branch-name gate: ``feature/<issue>-<words>``."""

from __future__ import annotations

import re

from orchestrator.ports import Change
from orchestrator.records import Verdict


class BranchGate:
    """Judges the name that the work is delivered under."""

    name = "branch-name"

    async def judge(self, change: Change) -> Verdict:
        """Pass a name that carries the issue's key and plain words."""
        pattern = rf"feature/{re.escape(change.issue_key)}-[a-z0-9]+(-[a-z0-9]+)*"
        fits = re.fullmatch(pattern, change.branch) is not None
        return Verdict(
            gate=self.name,
            state="passed" if fits else "failed",
            reason=change.branch
            if fits
            else f"{change.branch!r} is not feature/{change.issue_key}-...",
            commit=change.commit,
            tree=change.tree,
        )
