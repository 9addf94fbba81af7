"""Routes issues to agents that work in a sandbox, are judged by gates, and deliver a branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.assembly.embedding import (
        OpenToolbox,
        OpenWorkspace,
        open_toolbox,
        open_workspace,
    )
    from orchestrator.assembly.runtime import Orchestrator
    from orchestrator.errors import OrchestratorError
    from orchestrator.events import Event, Signal
    from orchestrator.ports import Change, Gate
    from orchestrator.records import AgentDefinition, Issue, Limits, Outcome, Usage, Verdict
    from orchestrator_tools.contract import ToolResult

_HOMES = {
    "AgentDefinition": "orchestrator.records",
    "Change": "orchestrator.ports",
    "Event": "orchestrator.events",
    "Gate": "orchestrator.ports",
    "Issue": "orchestrator.records",
    "Limits": "orchestrator.records",
    "OpenToolbox": "orchestrator.assembly.embedding",
    "OpenWorkspace": "orchestrator.assembly.embedding",
    "Orchestrator": "orchestrator.assembly.runtime",
    "OrchestratorError": "orchestrator.errors",
    "Outcome": "orchestrator.records",
    "Signal": "orchestrator.events",
    "ToolResult": "orchestrator_tools.contract",
    "Usage": "orchestrator.records",
    "Verdict": "orchestrator.records",
    "open_toolbox": "orchestrator.assembly.embedding",
    "open_workspace": "orchestrator.assembly.embedding",
}

__all__ = [
    "AgentDefinition",
    "Change",
    "Event",
    "Gate",
    "Issue",
    "Limits",
    "OpenToolbox",
    "OpenWorkspace",
    "Orchestrator",
    "OrchestratorError",
    "Outcome",
    "Signal",
    "ToolResult",
    "Usage",
    "Verdict",
    "open_toolbox",
    "open_workspace",
]


def __getattr__(name: str) -> object:
    """Load a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
