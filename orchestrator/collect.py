"""What comes out of a workspace: committed inside, packed, and checked in quarantine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio.to_thread

from orchestrator.errors import WorkspaceError
from orchestrator.repository import Repository
from orchestrator.snapshots import operation
from orchestrator.toolserver import ToolServer
from orchestrator.values import frozen
from orchestrator.workspaces import Workspace

NAMED_MOST = 200
PATH_LIMIT = 4096
"""Files in conflict that are taken up, and characters of a path; they are told from inside."""


@frozen
class CollectedWork:
    """The commit that came out.

    Attributes:
        snapshot: the name of the workspace's state right after the last commit.
        notes: what a person should know of how it came out.
    """

    commit: str
    snapshot: str
    notes: tuple[str, ...] = ()


@frozen
class MergedWork:
    """What came of merging a commit in.

    Attributes:
        commit: the merge; empty where both sides conflict.
        snapshot: the name of the workspace's state after it, half done or not.
        conflicts: files that both sides changed.
    """

    commit: str
    snapshot: str
    conflicts: tuple[str, ...] = ()


class Collector:
    """Brings the work out of one workspace.

    Args:
        workspace: where the work is.
        server: runs what has to run inside.
        repository: takes the objects in.
        pack_limit: the largest pack that is accepted, in bytes.
        merged: tells the commits of the repository that were merged in, so that they do not come
            out again.
    """

    def __init__(
        self,
        *,
        workspace: Workspace,
        server: ToolServer,
        repository: Repository,
        pack_limit: int,
        merged: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._merged = merged
        self._workspace = workspace
        self._server = server
        self._repository = repository
        self._pack_limit = pack_limit

    async def collect(self, *, message: str, turn: int) -> CollectedWork:
        """Commit what is left and bring the commits out; doing it again gives the same tree.

        Args:
            message: for what is not committed yet.
            turn: the turn after which this is done; it names the snapshot.

        Raises:
            WorkspaceError: what came out was refused, or git inside failed.
        """
        # A fresh sandbox: nothing that the agent left running takes part any more.
        await self._server.stop()
        said = await operation(self._server, {"op": "commit", "message": message})
        kept = await operation(self._server, {"op": "snapshot", "turn": turn})
        await self._server.stop()
        head = str(said.get("head"))
        commit = await self._bring_out(head)
        notes = []
        if said.get("aside"):
            notes.append("repositories inside the workspace were delivered as plain files")
        if commit != head:
            notes.append("the agent's history did not continue the base: delivered as one commit")
        return CollectedWork(commit, str(kept["snapshot"]), tuple(notes))

    async def merge(self, commit: str, base: str, *, message: str, turn: int) -> MergedWork:
        """Merge a commit of the repository in, inside; where both conflict it is left half done.

        Args:
            commit: what was collected, at which the workspace is.
            base: what is merged into it.
            message: of the merge commit.
            turn: the turn after which this is done; it names the snapshot.

        Raises:
            WorkspaceError: git cannot merge them, or what came out was refused.
        """
        asked: dict[str, object] = {"op": "merge", "commit": commit, "base": base}
        said = await operation(self._server, {**asked, "message": message})
        kept = await operation(self._server, {"op": "snapshot", "turn": turn})
        await self._server.stop()
        conflicts = tuple(str(one)[:PATH_LIMIT] for one in said.get("conflicts") or ())
        head = str(said.get("head"))
        merged = "" if conflicts else await self._bring_out(head, base)
        if merged and not await self._descends(merged, commit, base):
            raise WorkspaceError("what came out of the merge does not hold both sides of it")
        return MergedWork(merged, str(kept["snapshot"]), conflicts[:NAMED_MOST])

    async def _descends(self, merged: str, *sides: str) -> bool:
        for side in sides:
            if not await anyio.to_thread.run_sync(self._repository.is_ancestor, side, merged):
                return False
        return True

    async def _bring_out(self, head: str, *merged: str) -> str:
        base, limit = self._workspace.base, self._pack_limit
        if head == base:
            return base
        pack = self._workspace.folder / "collected.pack"
        try:
            known = (*self._merged(), *merged)
            await self._workspace.pack(head, pack, limit=limit, without=known)
            return await anyio.to_thread.run_sync(
                lambda: self._repository.import_pack(pack, base=base, head=head, limit=limit)
            )
        finally:
            pack.unlink(missing_ok=True)
