"""Whether an agent can be put to work."""

from __future__ import annotations

from orchestrator.errors import DefinitionError
from orchestrator.records import AgentDefinition
from orchestrator.toolbox import every_tool, permissions_of

CHANGING = frozenset({"Write", "Edit", "Bash"})


def require_tools(agent: AgentDefinition) -> None:
    """Refuse an agent that could do nothing, or by a typo everything.

    Raises:
        DefinitionError: none of the tools that its file names is here, or it has none; or a key of
            its file may have been meant to say so.
    """
    if agent.mistaken:
        raise DefinitionError(
            f"{agent.source}: agent {agent.name} has a key {agent.mistaken!r}, which says nothing "
            "here, so it would have every tool",
            hint="write tools: or disallowedTools:, or take the key out",
        )
    if permissions_of(agent).names:
        return
    named = ", ".join(agent.tools or ()) or "none"
    raise DefinitionError(
        f"{agent.source}: agent {agent.name} has no tool that is here (its file names: {named})",
        hint=f"there are {', '.join(every_tool())}; `orchestrate agents check` tells more",
    )


def can_change(agent: AgentDefinition) -> bool:
    """Tell whether an agent has a tool by which a file can be changed."""
    return any(tool in CHANGING for tool in permissions_of(agent).names)
