"""Replaying a run: the fresh workspace that its calls are made in, and its end."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from orchestrator import toolbox, toolcode, toolserver
from orchestrator.assembly.scratch import Scratch, pin_of
from orchestrator.assembly.surroundings import needs_of
from orchestrator.errors import NoSuchRun
from orchestrator.events import Event, RunStarted
from orchestrator.pacing import Pacing
from orchestrator.ports import Sandbox
from orchestrator.preparation import Preparation
from orchestrator.records import Run
from orchestrator.replaying import Replay, Replayed
from orchestrator.repository import Repository
from orchestrator.settings import Config
from orchestrator.workspaces import Workspace


async def replayed(
    run: Run,
    events: Sequence[Event],
    *,
    config: Config,
    state: Path,
    repository: Repository,
    sandbox: Sandbox,
) -> Replayed:
    """Make a run's recorded calls again and return what differs; nothing of it is left.

    Raises:
        OrchestratorError: no workspace for it can be made.
    """
    started = next((one for one in events if isinstance(one, RunStarted)), None)
    if started is None:
        raise NoSuchRun(f"run {run.run_id} never began")
    needs = needs_of(
        config, state=state, repository=repository, sandbox=sandbox, environment=os.environ
    )
    # What a command did elsewhere is not done a second time.
    needs = dataclasses.replace(needs, network=dataclasses.replace(needs.network, agent=()))
    with Scratch(state, repository) as folder:
        workspace = Workspace(
            folder / "workspace",
            repository=repository,
            base=run.base_commit,
            branch=run.branch,
            sandbox=sandbox,
            identity=started.agent.name,
        )
        preparation = Preparation(
            run=dataclasses.replace(run, run_id=folder.name),
            workspace=workspace,
            folder=folder,
            needs=needs,
            repository=repository,
            sandbox=sandbox,
            emit=_not_kept,
            show=lambda _: None,
            clock=time.monotonic,
            pacing=Pacing(),
        )

        async def prepare(launch: Callable[[], Awaitable[toolserver.Ask]]) -> None:
            await preparation.prepare(launch, interrupted=False)

        server = toolserver.ToolServer(
            sandbox, preparation.spec, toolcode.boot_argv(sandbox), prepare=prepare
        )
        layout = workspace.layout
        permissions = toolbox.permissions_of(
            started.agent, workspace=layout.workspace, home=layout.home
        )
        tools = toolbox.Toolbox(server, permissions, is_full=server.is_full)
        try:
            async with preparation.open([]), server.open():
                return await Replay(run, tools, server, cwd=layout.workspace).replay(events)
        finally:
            repository.delete_refs(pin_of(folder))


async def _not_kept(*_: Event) -> None:
    """Keep no event: the journal is the run's, and it has them."""
