"""The user's branch moves while an agent works: it is merged in, inside, before gates judge."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio.to_thread

from orchestrator.collect import Collector
from orchestrator.errors import WorkspaceError, is_machine_fault
from orchestrator.events import (
    BASE,
    BaseMerged,
    BranchIntended,
    BranchSet,
    Collected,
    Event,
    SnapshotTaken,
)
from orchestrator.objects import FULL_ID
from orchestrator.records import Run
from orchestrator.repository import Repository
from orchestrator.values import frozen
from orchestrator.workflow import Work

REWRITTEN = (
    "{ref} was rewritten meanwhile: the work was judged as a change of the commit it started from"
)


@frozen
class Standing:
    """What is to be judged, once the user's branch is in it.

    Attributes:
        changed: whether anything differs from that branch.
        conflicts: files that both sides changed, and nobody has resolved.
        error: why it cannot be merged at all.
        merged: whether the branch was merged in this round.
    """

    work: Work
    changed: bool
    conflicts: tuple[str, ...] = ()
    error: str = ""
    merged: bool = False
    notes: tuple[str, ...] = ()


class BaseBranch:
    """The branch that a run started from.

    Args:
        run: which names it.
        repository: where it is looked up.
        collector: merges, and brings out what comes of it.
        emit: records events; when it returns they are on disk.
        events: the run's events so far; it is looked at, never changed.
        follow: whether it is looked at again at all.
    """

    def __init__(
        self,
        run: Run,
        *,
        repository: Repository,
        collector: Collector,
        emit: Callable[..., Awaitable[None]],
        events: Sequence[Event],
        follow: bool,
    ) -> None:
        self._run = run
        self._repository = repository
        self._collector = collector
        self._emit = emit
        self._events = events
        self._follow = follow

    async def standing(self, collected: Collected, turn: int) -> Standing:
        """Return what is to be judged, with the branch merged in where it has moved.

        Args:
            collected: what came out of the workspace this round.
            turn: the turn after which it did.

        Raises:
            WorkspaceError: the machine is at fault, or what came out was refused.
        """
        done = [e for e in self._merges() if e.round == collected.round]
        if done:
            return self._of(done[0], collected)
        base, notes = await self._wanted()
        if base == self._run.base_commit or await self._is_in(base, collected.commit):
            return await self._as_collected(collected, base, notes)
        event = await self._merged(collected, base, turn)
        return self._of(event, collected)

    def _merges(self) -> list[BaseMerged]:
        return [one for one in self._events if isinstance(one, BaseMerged)]

    async def _wanted(self) -> tuple[str, tuple[str, ...]]:
        """Return the commit that the work has to contain, and what people should know of it."""
        known = next((e.base for e in reversed(self._merges())), self._run.base_commit)
        ref = self._run.base_ref
        begun = any(isinstance(one, BranchIntended | BranchSet) for one in self._events)
        if not ref or not self._follow or begun:
            return known, ()  # what is being delivered stays what it is
        now = await anyio.to_thread.run_sync(self._repository.ref, ref)
        if not FULL_ID.fullmatch(now) or now == known:
            return known, ()
        if await self._is_in(known, now):
            return now, ()
        return known, (REWRITTEN.format(ref=ref.removeprefix("refs/heads/")),)

    async def _is_in(self, older: str, newer: str) -> bool:
        return await anyio.to_thread.run_sync(self._repository.is_ancestor, older, newer)

    async def _as_collected(
        self, collected: Collected, base: str, notes: tuple[str, ...]
    ) -> Standing:
        """Return work that holds the branch already; a conflict in it must have been resolved."""
        work = Work(base, collected.commit, collected.tree)
        if base == self._run.base_commit:
            return Standing(work, collected.changed, notes=notes)
        tree, left = await anyio.to_thread.run_sync(
            lambda: (self._repository.tree(base), self._unresolved(collected.commit, base))
        )
        return Standing(work, collected.tree != tree, conflicts=left, notes=notes)

    def _unresolved(self, commit: str, base: str) -> tuple[str, ...]:
        """Return the files that still hold the marks of a conflict with a commit."""
        asked = {path for e in self._merges() if e.base == base for path in e.conflicts}
        if not asked:
            return ()
        entries = self._repository.entries(commit, *sorted(asked))
        files = {name: sha for name, (mode, sha) in entries.items() if mode.startswith("100")}
        contents = self._repository.blobs(list(files.values()))
        mark = f">>>>>>> {base}".encode()
        return tuple(
            name
            for name, data in zip(files, contents, strict=True)
            if any(line.rstrip() == mark for line in data.splitlines())
        )

    def _of(self, event: BaseMerged, collected: Collected) -> Standing:
        commit, tree = event.commit or collected.commit, event.tree or collected.tree
        return Standing(
            Work(event.base, commit, tree),
            event.changed,
            conflicts=event.conflicts,
            error=event.error,
            merged=bool(event.commit),
        )

    async def _merged(self, collected: Collected, base: str, turn: int) -> BaseMerged:
        """Merge the branch into the workspace, and record what came of it and how it is now."""
        pin = f"refs/orchestrate/{self._run.run_id}/moved"
        await anyio.to_thread.run_sync(self._repository.set_ref, pin, base)
        name = self._run.base_ref.removeprefix("refs/heads/")
        message = f"Merge {name or base[:12]} into {self._run.branch}"
        try:
            came = await self._collector.merge(collected.commit, base, message=message, turn=turn)
        except WorkspaceError as error:
            if is_machine_fault(error):
                raise
            event = BaseMerged(collected.round, base, error=str(error))
            await self._emit(event)
            return event
        tree, changed = "", True
        if came.commit:
            tree = await anyio.to_thread.run_sync(self._repository.tree, came.commit)
            changed = tree != await anyio.to_thread.run_sync(self._repository.tree, base)
        event = BaseMerged(collected.round, base, came.commit, tree, changed, came.conflicts)
        await self._emit(event, SnapshotTaken(BASE, turn, came.snapshot))
        return event
