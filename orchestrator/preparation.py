"""What a run's workspace needs before an agent can work in it, and the way out while it works."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from orchestrator import toolserver
from orchestrator.checkout import hand_over
from orchestrator.errors import RepositoryRefused
from orchestrator.events import Event, Notice, Signal
from orchestrator.pacing import Pacing
from orchestrator.ports import Clock, Sandbox
from orchestrator.records import Run, SandboxSpec
from orchestrator.repository import Repository
from orchestrator.snapshots import put_back
from orchestrator.values import frozen
from orchestrator.wayoutevents import EgressEnded, WorkspaceSetUp
from orchestrator.workspaces import Workspace

if TYPE_CHECKING:
    from orchestrator.egress.allowed import Host
    from orchestrator.egress.proxy import EgressProxy
    from orchestrator.setups import SetupPlan, SetupResult, Setups


@frozen
class Network:
    """What may be reached from inside.

    Attributes:
        agent: by an agent's tools.
        setup: by the commands that prepare workspaces.
        received: bytes that one run may receive.
        sent: bytes that one run may send.
    """

    received: int
    sent: int
    agent: tuple[Host, ...] = ()
    setup: tuple[Host, ...] = ()


@frozen
class Needs:
    """What workspaces of a repository need.

    Attributes:
        plan: what has to be installed; None where nothing has.
        store: where what was installed is kept.
    """

    network: Network
    plan: SetupPlan | None
    store: Path


class Preparation:
    """Has a run's workspace ready, and serves what it may reach.

    Args:
        run: what is worked on.
        workspace: the run's own.
        folder: the run's folder.
        emit: records events; when it returns they are on disk.
        show: shows a signal.
        pacing: lets a few runs at a time make their workspaces.
    """

    def __init__(  # noqa: PLR0913 - every collaborator is passed in
        self,
        *,
        run: Run,
        workspace: Workspace,
        folder: Path,
        needs: Needs,
        repository: Repository,
        sandbox: Sandbox,
        emit: Callable[..., Awaitable[None]],
        show: Callable[[Signal], None],
        clock: Clock,
        pacing: Pacing,
    ) -> None:
        self._run = run
        self._pacing = pacing
        self._workspace = workspace
        self._folder = folder
        self._network = needs.network
        self._repository = repository
        self._emit = emit
        self._show = show
        self._proxy: EgressProxy | None = None
        self._owner = sandbox.owner
        self._socket: Path | None = None
        self._events: Sequence[Event] = ()
        self.setups = self._setups(needs, sandbox, clock) if needs.plan is not None else None

    def _setups(self, needs: Needs, sandbox: Sandbox, clock: Clock) -> Setups | None:
        if needs.plan is None:
            return None
        from orchestrator.setups import Setups

        allowed = needs.network.setup
        return Setups(
            store=needs.store,
            plan=needs.plan,
            repository=self._repository,
            sandbox=sandbox,
            clock=clock,
            serve=self._serve_setup if allowed else None,
        )

    @asynccontextmanager
    async def _serve_setup(self, folder: Path) -> AsyncIterator[Path]:
        async with self._opened(self._network.setup).open(folder) as socket:
            hand_over(socket, self._owner)
            yield socket

    def _opened(self, allowed: tuple[Host, ...]) -> EgressProxy:
        from orchestrator.egress.allowed import EgressLimits
        from orchestrator.egress.proxy import EgressProxy

        ended = [one for one in self._events if isinstance(one, EgressEnded)]
        used = (sum(one.sent for one in ended), sum(one.received for one in ended))
        limits = EgressLimits(received=self._network.received, sent=self._network.sent)
        return EgressProxy(allowed, limits, self._emit, used=used)

    @asynccontextmanager
    async def open(self, events: Sequence[Event]) -> AsyncIterator[None]:
        """Serve what the agent may reach while the block lasts.

        Args:
            events: the run's events; it is looked at whenever something is opened.
        """
        self._events = events
        async with AsyncExitStack() as stack:
            if self._network.agent:
                self._proxy = self._opened(self._network.agent)
                self._socket = await stack.enter_async_context(self._proxy.open(self._folder))
                hand_over(self._socket, self._owner)
            yield

    def spec(self) -> SandboxSpec:
        """Return what the sandbox of the agent's tools shows."""
        spec = self._workspace.spec()
        if self._socket is None:
            return spec
        from orchestrator.egress.opening import opened

        return opened(spec, self._socket)

    def told(self) -> tuple[str, ...]:
        """Return what the agent is told of its surroundings before it begins."""
        if not self._network.agent:
            return ()
        from orchestrator.egress.opening import told

        return (told(self._network.agent),)

    def notes(self) -> list[str]:
        """Return what the agent should be told of them now, once."""
        return self._proxy.notes() if self._proxy is not None else []

    async def takes_long(self) -> bool:
        """Tell whether something has to be installed first that no earlier run has left."""
        if self.setups is None or self._workspace.furnished:
            return False
        return await self.setups.kept(self._run.base_commit) is None

    async def prepare(
        self, launch: Callable[[], Awaitable[toolserver.Ask]], *, interrupted: bool
    ) -> None:
        """Pin the base, so that no gc takes it away, and have the workspace where it was.

        Args:
            launch: starts the tool server and returns what asks it.
            interrupted: whether the last reply's calls may have been begun.

        Raises:
            WorkspaceError: it cannot be made, put back, or prepared.
        """
        made = partial(put_back, self._workspace, launch, self._events, interrupted=interrupted)
        setups = None if self._workspace.furnished else self.setups
        if setups is None:
            async with self._pacing.place():
                await anyio.to_thread.run_sync(self._pin)
                await made()
            return
        await anyio.to_thread.run_sync(self._pin)
        result = await self._result(setups, self._run.base_commit)
        if result is not None:
            self._workspace.expect(await anyio.to_thread.run_sync(result.names))
        async with self._pacing.place():
            await made()
        if result is not None:
            await setups.put(result, self._workspace)
            place = self._workspace.folder.name
            took = round(result.duration_s, 3)
            await self._emit(WorkspaceSetUp(place, setups.commands, result.kept, took))

    def _pin(self) -> None:
        base = self._run.base_commit
        if not self._repository.has(base):
            raise RepositoryRefused(
                f"the commit that the run started from is gone: {base}",
                hint=f"start anew: orchestrate issue {self._run.issue.key} --new",
            )
        self._repository.set_ref(f"refs/orchestrate/{self._run.run_id}/base", base)

    async def _result(self, setups: Setups, base: str) -> SetupResult:
        kept = await setups.kept(base)
        if kept is not None:
            return kept
        self._show(Notice(f"setting the workspace up: {'; '.join(setups.commands)}"))
        return await setups.made(base)
