"""What follows when an agent says it is done: collect, merge, judge, review; or send it back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from orchestrator import prompts
from orchestrator.agent import Agent
from orchestrator.asking import Ending
from orchestrator.change import CommittedChange
from orchestrator.collect import CollectedWork, Collector
from orchestrator.conclusion import Conclusion, Judged
from orchestrator.errors import WorkspaceError
from orchestrator.events import (
    AUTHOR,
    BaseMerged,
    Collected,
    Event,
    Notice,
    Prompted,
    Signal,
    SnapshotTaken,
    begun_at,
)
from orchestrator.following import BaseBranch, Standing
from orchestrator.judging import judge_change
from orchestrator.limits import Ledger
from orchestrator.means import Means
from orchestrator.records import Outcome, Review, Run, Verdict
from orchestrator.removal import remove_tree
from orchestrator.session import Session
from orchestrator.setups import Setups
from orchestrator.toolserver import ToolServer
from orchestrator.workflow import Required
from orchestrator.workspaces import Workspace

if TYPE_CHECKING:
    from orchestrator.review import Reviewer

SENT_BACK = ("gates", "conflict", "review")
"""Causes of messages by which a round ends and another begins."""


class Rounds:
    """Judges what an agent hands in, round by round.

    Args:
        run: what is to be done.
        means: what it is done with.
        workspace: where the agent works.
        server: runs what has to run inside.
        setups: installs what a commit needs.
        conclusion: ends the run.
        ledger: the run's account.
        time_left: tells the seconds that the run still has; None means no limit.
        events: the run's events so far; it is looked at, never changed.
        emit: records events; when it returns they are on disk.
        show: shows a signal.
    """

    def __init__(  # noqa: PLR0913 - every collaborator is passed in
        self,
        *,
        run: Run,
        means: Means,
        workspace: Workspace,
        server: ToolServer,
        setups: Setups | None,
        conclusion: Conclusion,
        ledger: Ledger,
        time_left: Callable[[], float | None],
        events: Sequence[Event],
        emit: Callable[..., Awaitable[None]],
        show: Callable[[Signal], None],
    ) -> None:
        self._run = run
        self._means = means
        self._setups = setups
        self._server = server
        self._conclusion = conclusion
        self._ledger = ledger
        self._time_left = time_left
        self._events = events
        self._emit = emit
        self._show = show
        self._held = ""
        self._collector = Collector(
            workspace=workspace,
            server=server,
            repository=means.repository,
            pack_limit=means.pack_limit,
            merged=self._merged,
        )
        self._branch = BaseBranch(
            run,
            repository=means.repository,
            collector=self._collector,
            emit=emit,
            events=events,
            follow=means.judges.follow_base,
        )

    # -- one round -------------------------------------------------------------------------

    async def next(self, agent: Agent, words: str) -> Outcome | Ending | None:
        """Judge what the agent has handed in.

        Args:
            agent: who did it, and is told what is wrong.
            words: its last ones.

        Returns:
            How the run ends, or why it stops; None where the agent has been sent back to work.
        """
        collected = await self._collect(agent.session)
        if not collected.changed:
            return await self._conclusion.unchanged(words)
        standing = await self._branch.standing(collected, agent.session.turn - 1)
        notes = (*collected.notes, *standing.notes)
        judged = Judged(words, standing.work, notes=notes)
        if standing.error or standing.conflicts:
            return await self._unmerged(agent, standing, judged)
        if not standing.changed:
            return await self._conclusion.unchanged(words, standing.work.base)
        verdicts = await self._judge(standing, collected.round)
        judged = Judged(words, standing.work, tuple(verdicts), notes)
        failed = [one for one in verdicts if one.state == "failed"]
        if failed:
            return await self._refused(agent, standing, judged, failed)
        if self._means.judges.review is None:
            return await self._conclusion.delivered(judged)
        return await self._reviewed(agent, standing, judged, collected.round)

    async def _unmerged(self, agent: Agent, standing: Standing, judged: Judged) -> Outcome | None:
        base = standing.work.base
        if standing.conflicts and not self._sent("conflict"):
            self._show(Notice(f"the base has moved to {base[:12]}, and does not merge"))
            agent.prompt(prompts.conflict_message(base, standing.conflicts), "conflict")
            return None
        named = ", ".join(standing.conflicts[:5])
        why = standing.error or f"these files conflict: {named}"
        error = f"the branch it started from has moved to {base[:12]}, and does not merge: {why}"
        return await self._conclusion.left_to_person(judged, error)

    async def _refused(
        self, agent: Agent, standing: Standing, judged: Judged, failed: Sequence[Verdict]
    ) -> Outcome | None:
        """Send the agent back with what it can mend; what it cannot is a person's."""
        for verdict in failed:
            self._show(Notice(f"gate {verdict.gate} failed: {verdict.reason}"))
        mendable = [one for one in failed if not one.person]
        if not mendable:
            told = "; ".join(f"{one.gate}: {one.reason}" for one in failed)
            return await self._conclusion.left_to_person(judged, f"a person has to approve: {told}")
        left = self._means.judges.rounds - self._sent("gates") - 1
        if left < 0:
            return await self._conclusion.gates_failed(judged)
        merged = standing.work.base if standing.merged else ""
        agent.prompt(prompts.gate_message(mendable, left, merged), "gates")
        return None

    async def _reviewed(
        self, agent: Agent, standing: Standing, judged: Judged, number: int
    ) -> Outcome | Ending | None:
        means = self._means.judges.review
        if means is None:
            raise AssertionError("asked for where there is a review")
        found = await self._reviewer().reviewed(standing.work, number)
        if isinstance(found, Ending):
            return found
        if found.state == "passed":
            return await self._conclusion.delivered(judged)
        if found.state == "not_executed":
            error = f"not reviewed: {found.reason}"
            return await self._conclusion.left_to_person(judged, error)
        left = means.rounds - self._sent("review") - 1
        if left < 0:
            error = f"review {found.number}: {found.reason}, and it was the last"
            return await self._conclusion.left_to_person(judged, error)
        self._send_findings(agent, standing, found, left)
        return None

    def _send_findings(self, agent: Agent, standing: Standing, found: Review, left: int) -> None:
        merged = standing.work.base if standing.merged else ""
        from orchestrator.reviewfindings import at_least

        findings = at_least(found.floor, found.findings)
        agent.prompt(prompts.findings_message(findings, left, merged), "review")

    def _sent(self, cause: str) -> int:
        """Tell how often the agent has been sent back for a cause."""
        return sum(self._is_sent(e) and e.cause == cause for e in self._prompts())

    def _prompts(self) -> list[Prompted]:
        return [e for e in self._events if isinstance(e, Prompted)]

    @staticmethod
    def _is_sent(event: Prompted) -> bool:
        return event.session == AUTHOR and event.cause in SENT_BACK

    # -- bringing the work out -------------------------------------------------------------

    async def _collect(self, session: Session) -> Collected:
        """Bring the work out, once a round."""
        number = sum(map(self._is_sent, self._prompts())) + 1
        done = [e for e in self._events if isinstance(e, Collected) and e.round == number]
        if done:
            return done[0]
        turn = session.turn - 1
        work = await self.brought_out(turn)
        collected = Collected(number, work.commit, work.out.tree, work.out.changed, work.notes)
        events: list[Event] = [collected]
        taken = [e for e in self._events if isinstance(e, SnapshotTaken) and e.session == AUTHOR]
        if not any(one.turn == turn for one in taken):
            events.insert(0, SnapshotTaken(AUTHOR, turn, work.snapshot))
        await self._emit(*events)
        return collected

    async def brought_out(self, turn: int) -> CollectedWork:
        """Bring the work out of the workspace, and hold it by a ref.

        Args:
            turn: the turn after which this is done.

        Raises:
            WorkspaceError: what came out was refused, or git inside failed.
        """
        message = prompts.commit_message(self._run.issue)
        # A run that was taken up right here makes its workspace first, which takes a place too.
        await self._server.start()
        async with self._means.pacing.place():
            work = await self._collector.collect(message=message, turn=turn)
            await self._hold(work.commit)
        return work

    async def _hold(self, commit: str) -> None:
        if commit == self._held:
            return
        set_ref, ref = self._means.repository.set_ref, self._conclusion.head
        await anyio.to_thread.run_sync(set_ref, ref, commit)
        self._held = commit

    def known_base(self) -> str:
        """Return the commit that the work is a change of, as far as it is known."""
        return next(reversed(self._merged()), self._run.base_commit)

    def _merged(self) -> list[str]:
        return [e.base for e in self._events if isinstance(e, BaseMerged)]

    # -- judging ---------------------------------------------------------------------------

    async def _judge(self, standing: Standing, number: int) -> list[Verdict]:
        work = standing.work
        await self._hold(work.commit)
        await anyio.to_thread.run_sync(self._clear_others)
        change = CommittedChange(
            folder=self._checkouts(),
            repository=self._means.repository,
            sandbox=self._means.sandbox,
            issue_key=self._run.issue.key,
            branch=self._run.branch,
            base=work.base,
            commit=work.commit,
            tree=work.tree,
            clock=self._means.clock,
            setups=self._setups,
            shared=self._means.shared,
        )
        judges = self._means.judges
        async with self._ledger.account.place():
            await change.load()
        return await judge_change(
            change,
            judges.gates(),
            self._events,
            self._emit,
            number=number,
            parallel=judges.parallel,
            place=self._ledger.account.place,
        )

    def _checkouts(self) -> Path:
        """Return where checkouts are made: what a killed process started may not have ended yet."""
        return self._means.folder / f"gates{begun_at(self._events)}"

    def _clear_others(self) -> None:
        """Remove checkouts that killed processes left; what cannot go yet goes with the run."""
        own = self._checkouts()
        left = [one for one in self._means.folder.glob("gates*") if one != own]
        with suppress(WorkspaceError):
            remove_tree(*left)

    def _reviewer(self) -> Reviewer:
        means = self._means
        if means.judges.review is None:
            raise AssertionError("asked for where there is a review")
        from orchestrator.review import Reviewer

        return Reviewer(
            run=self._run,
            means=means.judges.review,
            folder=self._checkouts(),
            repository=means.repository,
            sandbox=means.sandbox,
            guidance=means.guidance,
            ledger=self._ledger,
            time_left=self._time_left,
            events=self._events,
            emit=self._emit,
            show=self._show,
            clock=means.clock,
            patience=means.patience,
            dice=means.dice,
            care=means.care,
            shared=means.shared,
            governor=means.governor,
            fallback=means.fallback,
        )


def required_of(means: Means) -> Required:
    """Return what a run has to show before it is done."""
    judges = means.judges
    return Required(
        tuple(judges.names()), tests=judges.require_tests, review=judges.review is not None
    )
