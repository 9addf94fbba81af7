"""What comes out of a workspace: committed inside, packed, and checked in quarantine."""

from __future__ import annotations

from dataclasses import dataclass

import anyio.to_thread

from orchestrator.repository import Repository
from orchestrator.snapshots import operation
from orchestrator.toolserver import ToolServer
from orchestrator.workspaces import Workspace


@dataclass(frozen=True, slots=True)
class CollectedWork:
    """The commit that came out.

    Attributes:
        snapshot: the name of the workspace's state right after the last commit.
        notes: what a person should know of how it came out.
    """

    commit: str
    snapshot: str
    notes: tuple[str, ...] = ()


class Collector:
    """Brings the work out of one workspace.

    Args:
        workspace: where the work is.
        server: runs what has to run inside.
        repository: takes the objects in.
        pack_limit: the largest pack that is accepted, in bytes.
    """

    def __init__(
        self, *, workspace: Workspace, server: ToolServer, repository: Repository, pack_limit: int
    ) -> None:
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

    async def _bring_out(self, head: str) -> str:
        base, limit = self._workspace.base, self._pack_limit
        if head == base:
            return base
        pack = self._workspace.folder / "collected.pack"
        try:
            await self._workspace.pack(head, pack, limit=limit)
            return await anyio.to_thread.run_sync(
                lambda: self._repository.import_pack(pack, base=base, head=head, limit=limit)
            )
        finally:
            pack.unlink(missing_ok=True)
