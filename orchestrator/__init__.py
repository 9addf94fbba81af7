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
    from orchestrator.assembly.nights import Nights
    from orchestrator.assembly.onebatch import run_batch
    from orchestrator.assembly.runtime import Orchestrator
    from orchestrator.batches.nights import Night, Planned, Site, Wanted
    from orchestrator.batches.views import NightView
    from orchestrator.errors import OrchestratorError
    from orchestrator.events import Event, Signal
    from orchestrator.ports import Change, Gate
    from orchestrator.records import AgentDefinition, Issue, Limits, Outcome, Usage, Verdict
    from orchestrator.tuning import tune_process
    from orchestrator_tools.contract import ToolResult

_HOMES = {
    "AgentDefinition": "orchestrator.records",
    "Change": "orchestrator.ports",
    "Event": "orchestrator.events",
    "Gate": "orchestrator.ports",
    "Issue": "orchestrator.records",
    "Night": "orchestrator.batches.nights",
    "NightView": "orchestrator.batches.views",
    "Nights": "orchestrator.assembly.nights",
    "Limits": "orchestrator.records",
    "OpenToolbox": "orchestrator.assembly.embedding",
    "OpenWorkspace": "orchestrator.assembly.embedding",
    "Orchestrator": "orchestrator.assembly.runtime",
    "OrchestratorError": "orchestrator.errors",
    "Outcome": "orchestrator.records",
    "Planned": "orchestrator.batches.nights",
    "Signal": "orchestrator.events",
    "Site": "orchestrator.batches.nights",
    "ToolResult": "orchestrator_tools.contract",
    "Usage": "orchestrator.records",
    "Wanted": "orchestrator.batches.nights",
    "Verdict": "orchestrator.records",
    "open_toolbox": "orchestrator.assembly.embedding",
    "open_workspace": "orchestrator.assembly.embedding",
    "run_batch": "orchestrator.assembly.onebatch",
    "tune_process": "orchestrator.tuning",
}

__all__ = [
    "AgentDefinition",
    "Change",
    "Event",
    "Gate",
    "Issue",
    "Limits",
    "Night",
    "NightView",
    "Nights",
    "OpenToolbox",
    "OpenWorkspace",
    "Orchestrator",
    "OrchestratorError",
    "Outcome",
    "Planned",
    "Signal",
    "Site",
    "ToolResult",
    "Usage",
    "Verdict",
    "Wanted",
    "open_toolbox",
    "open_workspace",
    "run_batch",
    "tune_process",
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
