"""The tools and the workspace alone, for programs that have an agent of their own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread

from orchestrator import config as configuration
from orchestrator import toolbox, workspaces
from orchestrator.assembly.machine import make_private, make_sandbox
from orchestrator.assembly.scratch import Scratch, pin_of
from orchestrator.collect import Collector
from orchestrator.config import Config
from orchestrator.errors import ConfigError, WorkspaceError
from orchestrator.ports import Sandbox
from orchestrator.records import (
    Mount,
    SandboxSpec,
)
from orchestrator.repository import Repository, locate
from orchestrator.workspaces import Workspace
from orchestrator_tools.contract import ToolResult, ToolState


class OpenToolbox:
    """The six tools over one folder, for programs.

    Attributes:
        tools: names of the tools that may be called.
    """

    def __init__(self, server: toolbox.ToolServer, tools: Sequence[str] | None, cwd: str) -> None:
        self._toolbox = toolbox.Toolbox(server, tools)
        self._state = ToolState(cwd=cwd)
        self.tools = tuple(spec.name for spec in self._toolbox.specs())

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, object],
        *,
        show: Callable[[str], None] | None = None,
    ) -> ToolResult:
        """Run one tool; a call that fails returns a result with ``is_error``.

        Args:
            tool: its name.
            arguments: as a model gave them.
            show: is given new output of a command that still runs; the result holds it again.

        Raises:
            SandboxUnavailable: the sandbox cannot be started.
        """
        result, change = await self._toolbox.call(tool, arguments, self._state, show=show)
        self._state = self._state.after(change)
        return result


class OpenWorkspace:
    """A private copy of a repository, with its toolbox.

    Attributes:
        toolbox: the tools, bound to the copy.
        base: the commit it started from.
    """

    def __init__(
        self, workspace: Workspace, server: toolbox.ToolServer, repository: Repository
    ) -> None:
        self._workspace = workspace
        self._server = server
        self._repository = repository
        self.base = workspace.base
        self.toolbox = OpenToolbox(server, None, workspace.layout.workspace)

    async def collect(self, ref: str, *, message: str = "Work of an agent") -> str:
        """Commit what is left, bring the commits out, and set a ref of the repository to them.

        Args:
            ref: a full ref name; it must not exist, or be continued by the new commit.
            message: for what is not committed yet.

        Returns:
            The commit.

        Raises:
            WorkspaceError: the ref has become something else, or the commits were refused.
        """
        if not ref.startswith("refs/"):
            raise ConfigError(f"{ref!r} is not a full ref name", hint="like refs/heads/feature/x")
        collector = Collector(
            workspace=self._workspace,
            server=self._server,
            repository=self._repository,
            pack_limit=Config().workspace.pack_limit_mb * 1024 * 1024,
        )
        work = await collector.collect(message=message, turn=0)
        commit = work.commit
        branch = ref.removeprefix("refs/heads/")
        if branch != ref and branch in self._repository.checked_out():
            raise WorkspaceError(f"branch {branch} is checked out, so it is not moved")
        current = self._repository.ref(ref)
        if current and not self._repository.is_ancestor(current, commit):
            raise WorkspaceError(f"{ref} has become something that this work does not continue")
        self._repository.set_ref(ref, commit, expected=current)
        return commit


@asynccontextmanager
async def open_toolbox(
    folder: str | Path,
    *,
    tools: Sequence[str] | None = None,
    state: str | Path | None = None,
    sandbox_backend: str = "auto",
) -> AsyncIterator[OpenToolbox]:
    """Open the sandboxed tools over a folder, in place; its ``.git`` is read-only inside.

    No process survives the block.

    Args:
        folder: any folder, a git checkout or not.
        tools: names of the tools that may be called; None means all six.
        state: where the sandbox's self-test is remembered.
        sandbox_backend: ``none`` gives up the walls.

    Raises:
        ConfigError: the folder is not there, or a tool's name is unknown.
        SandboxUnavailable: this machine has no working walls.
    """
    top = Path(folder).resolve()
    if not top.is_dir():
        raise ConfigError(f"{folder} is not a folder")
    unknown = set(tools or ()) - set(toolbox.every_tool())
    if unknown:
        raise ConfigError(
            f"there is no tool {min(unknown)!r}",
            hint=f"there are {', '.join(toolbox.every_tool())}",
        )
    place = Path(state) if state is not None else configuration.state_folder(os.environ)
    if place.resolve().is_relative_to(top):
        raise ConfigError(
            f"the state directory {place} lies in the folder that is opened",
            hint="name another one with state=",
        )
    make_private(place.absolute())
    sandbox = make_sandbox(sandbox_backend, place.absolute())
    await sandbox.check()
    async with AsyncExitStack() as stack:
        scratch = stack.enter_context(Scratch(place.absolute()))
        inside = workspaces.WORKSPACE if sandbox.maps_paths else str(top)
        spec = _in_place(top, scratch, inside, sandbox)
        server = toolbox.ToolServer(sandbox, lambda: spec, workspaces.boot_argv(sandbox))
        await stack.enter_async_context(server.open())
        yield OpenToolbox(server, tools, inside)


def _in_place(top: Path, scratch: Path, inside: str, sandbox: Sandbox) -> SandboxSpec:
    mounts = [Mount(str(top), workspaces.WORKSPACE, writable=True)]
    # A link cannot be mounted over; where it leads does not exist inside.
    if (top / ".git").exists() and not (top / ".git").is_symlink():
        mounts.append(Mount(str(top / ".git"), f"{workspaces.WORKSPACE}/.git"))
    mounts += [*workspaces.private_mounts(scratch), *workspaces.tool_mounts()]
    home = workspaces.HOME if sandbox.maps_paths else str(scratch / "home")
    tmp = workspaces.TMP if sandbox.maps_paths else str(scratch / "tmp")
    return SandboxSpec(
        mounts=tuple(mounts),
        cwd=inside,
        environment=(
            ("HOME", home),
            ("TMPDIR", tmp),
            ("ORCHESTRATE_WORKSPACE", inside),
            *workspaces.git_identity("toolbox"),
        ),
    )


@asynccontextmanager
async def open_workspace(
    repo: str | Path,
    base: str = "HEAD",
    *,
    branch: str = "work",
    state: str | Path | None = None,
    sandbox_backend: str = "auto",
) -> AsyncIterator[OpenWorkspace]:
    """Open a private copy of a repository at a commit, with its toolbox.

    Nothing of the repository changes until ``collect``; the copy is gone when the block ends.

    Raises:
        RepositoryRefused: it is no repository, or ``base`` names no commit.
        SandboxUnavailable: this machine has no working walls.
    """
    repository = locate(Path(repo).absolute())
    commit = repository.commit(base)
    repository.require_complete(commit)
    place = (
        Path(state) if state is not None else configuration.state_folder(os.environ)
    ).absolute()
    make_private(place)
    sandbox = make_sandbox(sandbox_backend, place)
    await sandbox.check()
    async with AsyncExitStack() as stack:
        scratch = stack.enter_context(Scratch(place, repository))
        workspace = Workspace(
            scratch / "workspace",
            repository=repository,
            base=commit,
            branch=branch,
            sandbox=sandbox,
            identity="toolbox",
        )
        repository.set_ref(f"{pin_of(scratch)}base", commit)
        stack.callback(repository.delete_refs, pin_of(scratch))
        await anyio.to_thread.run_sync(workspace.create)
        server = toolbox.ToolServer(sandbox, workspace.spec, workspaces.boot_argv(sandbox))
        await stack.enter_async_context(server.open())
        yield OpenWorkspace(workspace, server, repository)
