"""Work that nobody goes on with: brought out of its workspace, and kept under a ref of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread

from orchestrator import prompts, toolcode, toolserver
from orchestrator.collect import Collector
from orchestrator.events import AUTHOR, BaseMerged, Event, ModelReplied
from orchestrator.hostgit import environment, run_git
from orchestrator.lifeevents import taken_at
from orchestrator.ports import Sandbox
from orchestrator.records import Run
from orchestrator.repository import Repository
from orchestrator.workspaces import Workspace

RESCUE = "refs/orchestrate/rescue/"
"""Below it stands what is kept of runs that are gone; nothing here ever removes it."""


class Rescue:
    """Keeps the work of runs that have ended or are given up.

    Args:
        repository: gets the refs.
        sandbox: the walls in which what is left uncommitted is committed.
        pack_limit: the largest pack that is accepted, in bytes.
    """

    def __init__(self, repository: Repository, sandbox: Sandbox, *, pack_limit: int) -> None:
        self._repository = repository
        self._sandbox = sandbox
        self._pack_limit = pack_limit

    async def from_workspace(self, run: Run, events: Sequence[Event], folder: Path) -> str:
        """Bring out what a run's workspace holds.

        Args:
            run: whose it is.
            events: the run's.
            folder: the run's own.

        Returns:
            The commit; empty where there is no workspace, or nothing in it but the base.

        Raises:
            OrchestratorError: it cannot be brought out.
        """
        workspace = Workspace(
            folder,
            repository=self._repository,
            base=run.base_commit,
            branch=run.branch,
            sandbox=self._sandbox,
            identity=run.route.agent,
        )
        workspace.leave(taken_at(events))
        if workspace.is_seeded or not await anyio.to_thread.run_sync(workspace.work.is_dir):
            return ""
        await self._sandbox.check()
        server = toolserver.ToolServer(
            self._sandbox, workspace.spec, toolcode.boot_argv(self._sandbox)
        )
        turns = [e.turn for e in events if isinstance(e, ModelReplied) and e.session == AUTHOR]
        collector = Collector(
            workspace=workspace,
            server=server,
            repository=self._repository,
            pack_limit=self._pack_limit,
            merged=lambda: [e.base for e in events if isinstance(e, BaseMerged)],
        )
        async with server.open():
            message = prompts.commit_message(run.issue)
            work = await collector.collect(message=message, turn=max(turns, default=0))
        return "" if work.commit == run.base_commit else work.commit

    async def kept(self, run: str, commit: str) -> str:
        """Hold a commit that no branch or tag has by a rescue ref, and return that.

        Returns:
            The ref; empty where the commit is safe without one.
        """
        return await anyio.to_thread.run_sync(self._kept, run, commit)

    def _kept(self, run: str, commit: str) -> str:
        if not commit or is_safe(self._repository, commit):
            return ""
        ref = f"{RESCUE}{run}"
        there = self._repository.ref(ref)
        if there and there != commit and not self._repository.is_ancestor(there, commit):
            ref = f"{ref}-{commit[:12]}"
        self._repository.set_ref(ref, commit)
        return ref


def is_safe(repository: Repository, commit: str) -> bool:
    """Tell whether a branch, local or of a remote, or a tag holds a commit."""
    where = ("refs/heads/", "refs/remotes/", "refs/tags/")
    return _has(repository, f"--contains={commit}", *where)


def has_refs(repository: Repository, prefix: str) -> bool:
    """Tell whether there is a ref below a prefix."""
    return _has(repository, prefix)


def _has(repository: Repository, *which: str) -> bool:
    asked = ("for-each-ref", "--count=1", *which)
    env = environment(GIT_DIR=str(repository.common))
    return bool(run_git(asked, cwd=repository.common, env=env, check=False).stdout.strip())
