"""Places for commands: a call that starts programs waits where too many run already."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from orchestrator.accounts import Account
from orchestrator.events import Signal, Waiting
from orchestrator.ports import Tools
from orchestrator_tools.contract import StateChange, ToolResult, ToolSpec, ToolState


class PlacedTools:
    """Tools whose commands have a place on every level of an account while they run.

    Args:
        tools: what runs the calls.
        account: whose ``limits.tools`` count, and those above it.
        show: is told when a call has to wait.
    """

    def __init__(self, tools: Tools, account: Account, show: Callable[[Signal], None]) -> None:
        self._tools = tools
        self._account = account
        self._show = show
        effects = {"none", "repeatable"}
        self._commands = {spec.name for spec in tools.specs() if spec.effect not in effects}

    def specs(self) -> Sequence[ToolSpec]:
        """Return what the model is told about the tools."""
        return self._tools.specs()

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, object],
        state: ToolState,
        *,
        show: Callable[[str], None] | None = None,
    ) -> tuple[ToolResult, StateChange]:
        """Run one call, once there is a place for it."""
        if tool not in self._commands:
            return await self._tools.call(tool, arguments, state, show=show)
        if self._account.is_full():
            self._show(Waiting("as many commands run as may at once", 0.0))
        async with self._account.place():
            return await self._tools.call(tool, arguments, state, show=show)
