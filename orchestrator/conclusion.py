"""How a run's work ends once it has been judged: delivered, kept, or left to a person."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence

import anyio.to_thread

from orchestrator.delivery import deliver_branch
from orchestrator.errors import DeliveryRefused
from orchestrator.events import BranchIntended, BranchSet, Event, Reviewed, RunFinished
from orchestrator.outcomes import Outcomes
from orchestrator.publishing import Publisher, may_leave
from orchestrator.records import SECRETS_GATE, DiffStat, Outcome, OutcomeStatus, Run, Verdict
from orchestrator.repository import Repository
from orchestrator.values import frozen
from orchestrator.workflow import Required, Work, evidence_of, lacking

KEPT_BACK = "it holds a secret, so make no branch of it: revoke the secret; the work is under"
UNTESTED = "nothing was tested: no gate executed a test"


@frozen
class Judged:
    """What was handed in, and what was said of it.

    Attributes:
        words: the agent's last words.
        notes: what a person should know of how it came out.
    """

    words: str
    work: Work
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()


class Conclusion:
    """Ends one run; every end is an event before it is returned.

    Args:
        run: what was to be done.
        repository: where the branch is set.
        outcomes: makes the outcomes.
        emit: records events; when it returns they are on disk.
        events: the run's events so far; it is looked at, never changed.
        required: tells what the run has to show before it is done.
        publisher: delivers beyond this machine; None where nothing leaves it.
    """

    def __init__(  # noqa: PLR0913 - every collaborator is passed in
        self,
        run: Run,
        *,
        repository: Repository,
        outcomes: Outcomes,
        emit: Callable[..., Awaitable[None]],
        events: Sequence[Event],
        required: Callable[[], Required],
        publisher: Publisher | None = None,
    ) -> None:
        self._run = run
        self._repository = repository
        self._outcomes = outcomes
        self._emit = emit
        self._events = events
        self._required = required
        self._publisher = publisher
        self.head = f"refs/orchestrate/{run.run_id}/head"

    async def delivered(self, judged: Judged) -> Outcome:
        """Set the branch to the commit that was judged; what stands in its way is a person's.

        Where the run's own events do not show what a done run has to show, it is not done,
        whatever has led here.
        """
        without = lacking(evidence_of(self._events, judged.work, self._required()))
        if without:
            told = "; ".join(f"{one.stage}: {one.what}" for one in without)
            return await self.left_to_person(judged, f"there is no evidence of {told}")
        branch, commit = self._run.branch, judged.work.commit
        # Before the branch is set: from then on nothing but the journal can stand in the way.
        outcome = await self._done(judged)
        owed: list[Event] = []
        if BranchSet(branch, commit) not in self._events:
            known = BranchIntended(branch, commit) in self._events
            repository, emit = self._repository, self._emit
            try:
                owed.append(await deliver_branch(repository, branch, commit, emit, intended=known))
            except DeliveryRefused as refused:
                return await self.left_to_person(judged, str(refused), hint=refused.hint)
        if self._publisher is not None:
            if owed:
                await self._emit(owed.pop())  # before anything leaves this machine
            if not may_leave(judged.verdicts, commit, self._required().gates):
                error = "the gate for secrets has not passed it, so it is not pushed"
                return await self._kept("needs_human", judged, error, branch=branch)
            try:
                outcome = self._with_evidence(outcome, judged.work)
                outcome = await self._publisher.publish(outcome, judged.work.base)
            except DeliveryRefused as refused:
                return await self._kept(
                    "needs_human", judged, str(refused), refused.hint, branch=branch
                )
        return await self.finished(outcome, judged.work, *owed)

    async def _done(self, judged: Judged) -> Outcome:
        tested = any(one.tests for one in judged.verdicts)
        notes = judged.notes if tested else (*judged.notes, UNTESTED)
        branch, commit = self._run.branch, judged.work.commit
        outcome = self._outcomes.of("done", judged.words, branch=branch, commit=commit, notes=notes)
        return await self.with_work(outcome, judged)

    async def gates_failed(self, judged: Judged) -> Outcome:
        """Keep work that gates refused once too often."""
        failed = ", ".join(one.gate for one in judged.verdicts if one.state == "failed")
        return await self._kept("gate_failed", judged, f"failed: {failed}")

    async def left_to_person(self, judged: Judged, error: str, *, hint: str = "") -> Outcome:
        """Keep work that only a person can let through.

        Args:
            judged: the work.
            error: why it is not delivered.
            hint: what to do; None says where it is kept.
        """
        return await self._kept("needs_human", judged, error, hint)

    async def _kept(
        self,
        status: OutcomeStatus,
        judged: Judged,
        error: str,
        hint: str = "",
        *,
        branch: str = "",
    ) -> Outcome:
        leaky = any(one.gate == SECRETS_GATE and one.state == "failed" for one in judged.verdicts)
        where = (
            f"{KEPT_BACK} {self.head}"
            if leaky
            else f"the work is kept: git branch NAME {self.head}"
        )
        outcome = self._outcomes.of(
            status,
            judged.words,
            branch=branch,
            commit=judged.work.commit,
            error=error,
            hint=hint or where,
            notes=judged.notes,
        )
        outcome = await self.with_work(outcome, judged)
        if self._publisher is not None:
            gates = self._required().gates
            base = judged.work.base or self._run.base_commit
            outcome = await self._publisher.rescued(outcome, judged.verdicts, gates, base)
        return await self.finished(outcome, judged.work)

    async def unchanged(self, words: str, base: str = "") -> Outcome:
        """End where there is nothing to deliver: the agent's words are for a person.

        Args:
            words: its last ones.
            base: the commit that has the very same files by now, if there is one.
        """
        error = "the agent changed nothing"
        if base:
            error = f"what the agent changed is in commit {base[:12]} of your branch already"
        hint = "read its last words; say more in the issue and run it with --new"
        if self._run.continues is not None:
            hint = f"read its last words, and answer at {self._run.continues.url}"
        outcome = self._outcomes.of("needs_human", words, error=error, hint=hint)
        if self._publisher is not None:
            outcome = await self._publisher.answer(outcome)
        return await self.finished(outcome)

    async def with_work(self, outcome: Outcome, judged: Judged) -> Outcome:
        """Return an outcome with how large its change is, and what was said of it."""
        stat, work = self._repository.diff_stat, judged.work
        diff: DiffStat = await anyio.to_thread.run_sync(stat, work.base, work.commit)
        return dataclasses.replace(outcome, diff=diff, verdicts=judged.verdicts)

    async def finished(self, outcome: Outcome, work: Work | None = None, *owed: Event) -> Outcome:
        """Record the end, with the reviews that there were and the evidence for each stage.

        Args:
            outcome: how the run ends.
            work: what is delivered, or kept.
            owed: events of just now, which are recorded together with the end.
        """
        outcome = self._with_evidence(outcome, work or Work(), *owed)
        await self._emit(*owed, RunFinished(outcome))
        return outcome

    def _with_evidence(self, outcome: Outcome, work: Work, *owed: Event) -> Outcome:
        reviews = tuple(one.review for one in self._events if isinstance(one, Reviewed))
        evidence = evidence_of((*self._events, *owed), work, self._required())
        return dataclasses.replace(outcome, reviews=reviews, evidence=evidence)
