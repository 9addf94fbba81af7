"""The tools one agent may use, bound to one sandbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio

from orchestrator import arguments
from orchestrator.errors import DiskFull
from orchestrator.permissions import PATHS, Permissions
from orchestrator.records import AgentDefinition
from orchestrator.toolserver import ServerGone, Show, ToolServer
from orchestrator_tools import specs as told
from orchestrator_tools.contract import (
    StateChange,
    ToolResult,
    ToolSpec,
    ToolState,
    plain,
    result_from_wire,
    text_result,
)
from orchestrator_tools.errors import Exhausted

BASH = "Bash"
CALL_S = 90.0
MARGIN_S = 15.0


class Toolbox:
    """The tools one agent may use, bound to one sandbox.

    Args:
        server: runs the calls inside.
        permissions: the calls that the agent may make; None means all.
        is_full: tells whether no room is left where calls write. A call that fails then says
            nothing that an agent could mend, and raises.
    """

    def __init__(
        self,
        server: ToolServer,
        permissions: Permissions | None = None,
        *,
        is_full: Callable[[], bool] = lambda: False,
    ) -> None:
        self._server = server
        self._is_full = is_full
        self._permissions = permissions or Permissions(None, every=every_tool())

    def specs(self) -> list[ToolSpec]:
        """Return what the model is told about the tools."""
        return specs(self._permissions.names)

    async def call(
        self,
        tool: str,
        given: Mapping[str, object],
        state: ToolState,
        *,
        show: Show | None = None,
    ) -> tuple[ToolResult, StateChange]:
        """Run one call; what the model can mend comes back as a result with ``is_error``.

        A command whose call is cancelled is ended, and with it all that runs inside.

        Args:
            tool: its name.
            given: the arguments, as the model gave them.
            state: what the tools remember.
            show: is given new output while a command still runs.

        Raises:
            SandboxUnavailable: the sandbox cannot be started again.
            DiskFull: it failed, and there is no room.
        """
        names = self._permissions.names
        if tool not in names:
            there = ", ".join(names) or "none"
            return text_result(
                f"You have no tool {tool!r}. Your tools: {there}", is_error=True
            ), StateChange()
        try:
            checked = arguments.validated(tool, given)
        except ValueError as error:
            return text_result(f"{tool}: {error}", is_error=True), StateChange()
        why = await self._refusal(tool, checked, state)
        if why:
            return text_result(f"{tool}: {why}", is_error=True, kind="Refused"), StateChange()
        message: dict[str, Any] = {
            "op": "call",
            "tool": tool,
            "arguments": checked,
            "cwd": state.cwd,
            "seen": dict(state.seen),
        }
        if show is not None and tool == BASH:
            message["live"] = True
        return await self._ask(tool, message, _patience(tool, checked), show)

    async def _refusal(self, tool: str, checked: Mapping[str, Any], state: ToolState) -> str:
        """Return why the agent's rules do not allow a call; a path is judged by where it leads."""
        if not self._permissions.asks_for_path(tool):
            return self._permissions.refusal(tool, checked)
        given = str(checked.get(PATHS[tool]) or ".")
        try:
            answer = await self._server.ask(
                {"op": "where", "path": given, "cwd": state.cwd}, seconds=CALL_S
            )
        except (ServerGone, ValueError) as error:
            return f"it cannot be told where {given} leads: {error}"
        path = answer.get("path")
        if not isinstance(path, str):
            return f"it cannot be told where {given} leads"
        return self._permissions.refusal(tool, checked, plain(path)[:4096])

    async def _ask(
        self, tool: str, message: Mapping[str, Any], seconds: float, show: Show | None
    ) -> tuple[ToolResult, StateChange]:
        try:
            answer = await self._server.ask(message, seconds=seconds, show=show)
            if "error" in answer:
                self._require_room(tool)
                error = answer["error"]
                said = plain(error[:2000]) if isinstance(error, str) else "it does not say why"
                return text_result(f"{tool} failed: {said}", is_error=True), StateChange()
            result, change = result_from_wire(answer)
        except anyio.get_cancelled_exc_class():
            if tool == BASH:
                # Nobody waits for the command any more, and so it must not go on writing.
                with anyio.CancelScope(shield=True):
                    await self._server.stop()
            raise
        except ServerGone as gone:
            said = (
                f"{tool} ended the sandbox's server ({gone}); it is started again at the next "
                "call. Processes in the background are gone, files are kept."
            )
            return text_result(said, is_error=True), StateChange()
        except ValueError as error:
            return text_result(
                f"{tool} gave a broken result: {error}", is_error=True
            ), StateChange()
        if result.is_error:
            self._require_room(tool)
        if result.details.get("kind") == Exhausted.__name__:
            await self._server.stop()
        return result, change

    def _require_room(self, tool: str) -> None:
        if self._is_full():
            raise DiskFull(f"{tool} failed")


def specs(allowed: Sequence[str]) -> list[ToolSpec]:
    """Return the specs of some tools, in the order of the table."""
    return [spec for spec in told.specs() if spec.name in allowed]


def permissions_of(
    agent: AgentDefinition, *, workspace: str = "/workspace", home: str = "/home/agent"
) -> Permissions:
    """Return the calls that an agent may make.

    Args:
        agent: whose file says it.
        workspace: the work tree, as it is seen inside.
        home: the home folder, as it is seen inside.
    """
    return Permissions(
        agent.tools, agent.denied, every=every_tool(), workspace=workspace, home=home
    )


def every_tool() -> list[str]:
    """Return the names of all tools."""
    return told.names()


def warm_up() -> None:
    """Load what validates arguments, so that the first call need not wait for it."""
    for name in told.names():
        arguments.model(name)


def _patience(tool: str, checked: Mapping[str, Any]) -> float:
    """Return the seconds after which a call that has not answered is given up."""
    if tool != BASH:
        return CALL_S
    from orchestrator_tools import bash

    return min(float(checked.get("timeout") or bash.DEFAULT_MS), bash.MOST_MS) / 1000 + MARGIN_S
