"""How a run's work ends once gates have judged it: delivered, kept, or left to a person."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence

import anyio.to_thread

from orchestrator.delivery import deliver_branch
from orchestrator.errors import DeliveryRefused
from orchestrator.events import BranchIntended, BranchSet, Collected, Event, RunFinished
from orchestrator.outcomes import Outcomes
from orchestrator.records import DiffStat, Outcome, Run, Verdict
from orchestrator.repository import Repository

UNTESTED = "nothing was tested: no gate executed a test"


class Conclusion:
    """Ends one run; every end is an event before it is returned.

    Args:
        run: what was to be done.
        repository: where the branch is set.
        outcomes: makes the outcomes.
        emit: records events; when it returns they are on disk.
        events: the run's events so far; it is looked at, never changed.
    """

    def __init__(
        self,
        run: Run,
        *,
        repository: Repository,
        outcomes: Outcomes,
        emit: Callable[..., Awaitable[None]],
        events: Sequence[Event],
    ) -> None:
        self._run = run
        self._repository = repository
        self._outcomes = outcomes
        self._emit = emit
        self._events = events
        self.head = f"refs/orchestrate/{run.run_id}/head"

    async def delivered(
        self, words: str, collected: Collected, verdicts: Sequence[Verdict]
    ) -> Outcome:
        """Set the branch to the commit that was judged; what stands in its way is a person's.

        Args:
            words: the agent's last words.
            collected: the commit.
            verdicts: what the gates said of it.
        """
        branch, commit = self._run.branch, collected.commit
        if not any(isinstance(one, BranchSet) for one in self._events):
            known = BranchIntended(branch, commit) in self._events
            try:
                await deliver_branch(self._repository, branch, commit, self._emit, intended=known)
            except DeliveryRefused as refused:
                outcome = self._outcomes.of(
                    "needs_human",
                    words,
                    commit=commit,
                    error=str(refused),
                    hint=refused.hint,
                    notes=collected.notes,
                )
                return await self.finished(await self.with_work(outcome, commit, verdicts))
        tested = any(one.tests for one in verdicts)
        notes = collected.notes if tested else (*collected.notes, UNTESTED)
        outcome = self._outcomes.of("done", words, branch=branch, commit=commit, notes=notes)
        return await self.finished(await self.with_work(outcome, commit, verdicts))

    async def gates_failed(
        self, words: str, collected: Collected, verdicts: Sequence[Verdict]
    ) -> Outcome:
        """Keep work that gates refused once too often.

        Args:
            words: the agent's last words.
            collected: the commit.
            verdicts: what the gates said of it.
        """
        failed = ", ".join(one.gate for one in verdicts if one.state == "failed")
        outcome = self._outcomes.of(
            "gate_failed",
            words,
            commit=collected.commit,
            error=f"failed: {failed}",
            hint=f"the work is kept: git branch NAME {self.head}",
            notes=collected.notes,
        )
        return await self.finished(await self.with_work(outcome, collected.commit, verdicts))

    async def unchanged(self, words: str) -> Outcome:
        """End where the agent changed nothing: its words are for a person."""
        return await self.finished(
            self._outcomes.of(
                "needs_human",
                words,
                error="the agent changed nothing",
                hint="read its last words; say more in the issue and run it with --new",
            )
        )

    async def with_work(
        self, outcome: Outcome, commit: str, verdicts: Sequence[Verdict]
    ) -> Outcome:
        """Return an outcome with how large its change is, and what was said of it."""
        stat, base = self._repository.diff_stat, self._run.base_commit
        diff: DiffStat = await anyio.to_thread.run_sync(stat, base, commit)
        return dataclasses.replace(outcome, diff=diff, verdicts=tuple(verdicts))

    async def finished(self, outcome: Outcome) -> Outcome:
        """Record the end."""
        await self._emit(RunFinished(outcome))
        return outcome
