"""What comes out of a workspace: committed inside, packed, and checked in quarantine."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import anyio.to_thread

from orchestrator.errors import WorkspaceError, only
from orchestrator.objects import FULL_ID
from orchestrator.repository import Repository
from orchestrator.snapshots import operation
from orchestrator.toolserver import ServerGone, ToolServer
from orchestrator.values import frozen
from orchestrator.workspaces import Workspace
from orchestrator_tools.contract import PACK_PART

NAMED_MOST = 200
PATH_LIMIT = 4096
"""Files in conflict that are taken up, and characters of a path; they are told from inside."""

PATIENCE_S = 600.0
"""Seconds that packing may take; the first commits of a large repository need some minutes."""
ERRORS_LIMIT = 500
FAILED = "git pack-objects failed inside"


class PackingFailed(WorkspaceError):
    """The inside did not tell its pack; another sandbox may."""


@frozen
class BroughtOut:
    """A commit that the repository has now, its tree, and whether the base has another one."""

    commit: str
    tree: str
    changed: bool


@frozen
class CollectedWork:
    """The commit that came out.

    Attributes:
        snapshot: the name of the workspace's state right after the last commit.
        notes: what a person should know of how it came out.
    """

    out: BroughtOut
    snapshot: str
    notes: tuple[str, ...] = ()

    @property
    def commit(self) -> str:
        """Return its id."""
        return self.out.commit


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
        # Nothing that the agent left running takes part any more.
        if not await self._server.end_the_rest():
            await self._server.stop()
        asked: dict[str, object] = {"op": "commit", "message": message, "turn": turn}
        said = await operation(self._server, asked)
        head = str(said.get("head"))
        out = await self._bring_out(head)
        notes = []
        if said.get("aside"):
            notes.append("repositories inside the workspace were delivered as plain files")
        if out.commit != head:
            notes.append("the agent's history did not continue the base: delivered as one commit")
        return CollectedWork(out, str(said["snapshot"]), tuple(notes))

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
        conflicts = tuple(str(one)[:PATH_LIMIT] for one in said.get("conflicts") or ())
        if conflicts:
            await self._server.stop()
        merged = "" if conflicts else (await self._bring_out(str(said.get("head")), base)).commit
        if merged and not await self._descends(merged, commit, base):
            raise WorkspaceError("what came out of the merge does not hold both sides of it")
        return MergedWork(merged, str(kept["snapshot"]), conflicts[:NAMED_MOST])

    async def _descends(self, merged: str, *sides: str) -> bool:
        for side in sides:
            if not await anyio.to_thread.run_sync(self._repository.is_ancestor, side, merged):
                return False
        return True

    async def _bring_out(self, head: str, *merged: str) -> BroughtOut:
        """Take in what a commit adds; all that runs inside is ended when its pack is looked at."""
        base = self._workspace.base
        if head == base:
            await self._server.stop()
            return await anyio.to_thread.run_sync(self._told_of, base)
        if not FULL_ID.fullmatch(head):
            raise WorkspaceError("the workspace names no commit")
        pack = self._workspace.folder / "collected.pack"
        try:
            try:
                with anyio.fail_after(PATIENCE_S):
                    await self._packed(pack, head, (base, *self._merged(), *merged))
            except BaseException as error:
                await self._server.stop()
                if isinstance(error, TimeoutError):
                    raise WorkspaceError(f"{FAILED}: it took over {PATIENCE_S:g} s") from None
                raise
            return await self._taken_in(pack, head)
        finally:
            pack.unlink(missing_ok=True)

    async def _taken_in(self, pack: Path, head: str) -> BroughtOut:
        """Take a pack in while the kernel clears away what was inside, which is killed first.

        Nobody inside has ever seen the pack.
        """
        taken: list[BroughtOut] = []
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._server.stop)
                taken.append(await anyio.to_thread.run_sync(self._take_in, pack, head))
        except BaseExceptionGroup as group:
            raise only(group) from None
        return taken[0]

    def _take_in(self, pack: Path, head: str) -> BroughtOut:
        base, limit = self._workspace.base, self._pack_limit
        return self._told_of(self._repository.import_pack(pack, base=base, head=head, limit=limit))

    def _told_of(self, commit: str) -> BroughtOut:
        tree = self._repository.tree(commit)
        return BroughtOut(commit, tree, tree != self._repository.tree(self._workspace.base))

    async def _packed(self, target: Path, head: str, known: Sequence[str]) -> None:
        try:
            await self._pack(target, head, known)
        except PackingFailed:
            # The agent may have set limits on its server that leave it no room for this.
            await self._server.stop()
            await self._pack(target, head, known)

    async def _pack(self, target: Path, head: str, known: Sequence[str]) -> None:
        """Write what a commit adds to known ones into a file, as it is told from inside."""
        asked: dict[str, object] = {"op": "pack", "head": head, "without": list(known)}
        with target.open("wb") as file:
            more = True
            while more:
                data, more = await self._part(asked)
                if file.tell() + len(data) > self._pack_limit:
                    raise WorkspaceError(
                        f"the agent's commits are larger than {self._pack_limit // 1024**2} MB",
                        hint="raise workspace.pack_limit_mb if that is right",
                    )
                file.write(data)
                asked = {"op": "packed"}

    async def _part(self, asked: dict[str, object]) -> tuple[bytes, bool]:
        try:
            answer = await self._server.ask(asked, seconds=PATIENCE_S)
        except ServerGone as gone:
            raise PackingFailed(f"{FAILED}: {gone}") from None
        if "error" in answer:
            raise PackingFailed(f"{FAILED}: {str(answer['error'])[-ERRORS_LIMIT:]}")
        data, more = _decoded(answer.get("data")), answer.get("more") is True
        # Only the last part may be small: what trickles would keep the host busy for long.
        if data is None or len(data) > PACK_PART or (more and len(data) < PACK_PART):
            raise PackingFailed(f"{FAILED}: what was told is no part of a pack")
        return data, more


def _decoded(data: object) -> bytes | None:
    try:
        return binascii.a2b_base64(data, strict_mode=True) if isinstance(data, str) else None
    except ValueError:
        return None
