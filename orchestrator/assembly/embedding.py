"""The tools and the workspace alone, for programs that have an agent of their own."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from orchestrator import config as configuration
from orchestrator import toolbox, toolcode, toolserver, workspaces
from orchestrator.assembly.machine import make_private, make_sandbox
from orchestrator.assembly.scratch import Scratch, pin_of
from orchestrator.assembly.surroundings import MB, hosts
from orchestrator.checkout import hand_over
from orchestrator.collect import Collector
from orchestrator.egress.allowed import EgressLimits
from orchestrator.egress.opening import opened
from orchestrator.errors import ConfigError, WorkspaceError
from orchestrator.permissions import Permissions, parse_rule
from orchestrator.ports import Sandbox
from orchestrator.records import (
    Mount,
    SandboxSpec,
)
from orchestrator.repository import Repository, locate
from orchestrator.sandboxes.identity import User
from orchestrator.settings import Config, NetworkSettings, SandboxSettings
from orchestrator.wayoutevents import EgressDecided, EgressEnded
from orchestrator.workspaces import Workspace
from orchestrator_tools.contract import ToolResult, ToolState

if TYPE_CHECKING:
    from orchestrator.egress.proxy import EgressProxy


class OpenToolbox:
    """The six tools over one folder, for programs.

    Attributes:
        tools: names of the tools that may be called.
    """

    def __init__(
        self,
        server: toolserver.ToolServer,
        tools: Sequence[str] | None,
        cwd: str,
        notes: Callable[[], list[str]] = list,
    ) -> None:
        permissions = Permissions(tools, every=toolbox.every_tool(), workspace=cwd)
        self._toolbox = toolbox.Toolbox(server, permissions)
        self._notes = notes
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
            show: is given new output of a command that still runs; the result holds it again. One
                that raises is given nothing further, and the call goes on.

        Raises:
            SandboxUnavailable: the sandbox cannot be started, or its block has ended.
        """
        result, change = await self._toolbox.call(tool, arguments, self._state, show=show)
        self._state = self._state.after(change)
        told = tuple({"type": "text", "text": note} for note in self._notes())
        return dataclasses.replace(result, content=(*result.content, *told)) if told else result


class OpenWorkspace:
    """A private copy of a repository, with its toolbox.

    Attributes:
        toolbox: the tools, bound to the copy.
        base: the commit it started from.
    """

    def __init__(
        self, workspace: Workspace, server: toolserver.ToolServer, repository: Repository
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
        if branch != ref and self._repository.is_checked_out(branch):
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
    network: Sequence[str] = (),
    decided: Callable[[EgressDecided | EgressEnded], Awaitable[None]] | None = None,
    state: str | Path | None = None,
    sandbox_backend: str | SandboxSettings = "auto",
) -> AsyncIterator[OpenToolbox]:
    """Open the sandboxed tools over a folder, in place; its ``.git`` is read-only inside.

    No process survives the block. A connection that was refused is told in the next result.

    Args:
        folder: any folder, a git checkout or not.
        tools: the tools that may be called, or rules like ``Bash(git *)``; None means all six.
        network: what may be reached from inside, as ``host:port``; nothing unless it is named.
        decided: is told of every connection that was asked for, and of its end.
        state: where the sandbox's self-test is remembered.
        sandbox_backend: ``none`` gives up the walls; settings say more than a name.

    Raises:
        ConfigError: the folder is not there, a tool's name is unknown, or the walls that were
            chosen cannot protect a folder that is worked on in place.
        SandboxUnavailable: this machine has no working walls.
    """
    top = Path(folder).resolve()
    if not top.is_dir():
        raise ConfigError(f"{folder} is not a folder")
    unknown = {parse_rule(one).tool for one in tools or ()} - set(toolbox.every_tool())
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
    _require_in_place(top, sandbox)
    await sandbox.check()
    async with AsyncExitStack() as stack:
        scratch = stack.enter_context(Scratch(place.absolute()))
        hand_over(scratch, sandbox.owner)
        inside = workspaces.WORKSPACE if sandbox.maps_paths else str(top)
        spec = _in_place(top, scratch, inside, sandbox)
        notes: Callable[[], list[str]] = list
        if network:
            proxy = _proxy(network, sandbox, decided)
            notes = proxy.notes
            socket = await stack.enter_async_context(proxy.open(scratch))
            hand_over(socket, sandbox.owner)
            spec = opened(spec, socket)
        server = toolserver.ToolServer(sandbox, lambda: spec, toolcode.boot_argv(sandbox))
        await stack.enter_async_context(server.open())
        yield OpenToolbox(server, tools, inside, notes)


def _proxy(
    network: Sequence[str],
    sandbox: Sandbox,
    decided: Callable[[EgressDecided | EgressEnded], Awaitable[None]] | None,
) -> EgressProxy:
    from orchestrator.egress.proxy import EgressProxy

    if not sandbox.maps_paths:
        raise ConfigError("network= needs bubblewrap or a container: this sandbox has no walls")
    usual = NetworkSettings()
    limits = EgressLimits(received=usual.receive_mb * MB, sent=usual.send_mb * MB)

    async def tell(event: EgressDecided | EgressEnded) -> None:
        if decided is not None:
            await decided(event)

    return EgressProxy(hosts(network), limits, tell)


def _require_in_place(top: Path, sandbox: Sandbox) -> None:
    """Refuse a folder that these walls could not protect, or where nothing could be written."""
    if sandbox.name == "landlock" and os.path.lexists(top / ".git"):
        raise ConfigError(
            f"landlock cannot protect {top}/.git, and git would run what is planted there",
            hint="use open_workspace, which works on a private copy, or bubblewrap",
        )
    if sandbox.owner is not None and not User(*sandbox.owner).may_write(top):
        raise ConfigError(
            f"sandbox.run_as: user {sandbox.owner[0]} cannot write to {top}, used in place",
            hint="give the folder to that user, or use open_workspace",
        )


def _in_place(top: Path, scratch: Path, inside: str, sandbox: Sandbox) -> SandboxSpec:
    mounts = [Mount(str(top), workspaces.WORKSPACE, writable=True)]
    # A link cannot be mounted over; where it leads does not exist inside.
    if (top / ".git").exists() and not (top / ".git").is_symlink():
        mounts.append(Mount(str(top / ".git"), f"{workspaces.WORKSPACE}/.git"))
    mounts += [*workspaces.private_mounts(scratch), *toolcode.tool_mounts()]
    home = workspaces.HOME if sandbox.maps_paths else str(scratch / "home")
    tmp = workspaces.TMP if sandbox.maps_paths else str(scratch / "tmp")
    return SandboxSpec(
        mounts=tuple(mounts),
        cwd=inside,
        environment=(
            ("HOME", home),
            ("TMPDIR", tmp),
            ("ORCHESTRATE_WORKSPACE", inside),
            *toolcode.tool_environment(sandbox),
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
    sandbox_backend: str | SandboxSettings = "auto",
) -> AsyncIterator[OpenWorkspace]:
    """Open a private copy of a repository at a commit, with its toolbox.

    Nothing of the repository changes until ``collect``; the copy is gone when the block ends.

    Raises:
        RepositoryRefused: it is no repository, ``base`` names no commit, or ``branch`` is no name.
        SandboxUnavailable: this machine has no working walls.
    """
    repository = locate(Path(repo).absolute())
    async with AsyncExitStack() as stack:
        stack.callback(repository.close)
        commit = repository.commit(base)
        repository.require_complete(commit)
        repository.require_branch_name(branch)
        folder = Path(state) if state is not None else configuration.state_folder(os.environ)
        place = folder.absolute()
        make_private(place)
        sandbox = make_sandbox(sandbox_backend, place)
        await sandbox.check()
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
        server = toolserver.ToolServer(sandbox, workspace.spec, toolcode.boot_argv(sandbox))
        await stack.enter_async_context(server.open())
        yield OpenWorkspace(workspace, server, repository)
