"""The tool table: one row a tool. A tool is loaded when it is first called: few runs need all."""

from __future__ import annotations

from orchestrator_tools.contract import ToolResult
from orchestrator_tools.errors import ToolError
from orchestrator_tools.place import Place
from orchestrator_tools.values import fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ROOMS = {
    "Read": "read",
    "Write": "write",
    "Edit": "edit",
    "Bash": "bash",
    "Grep": "grep",
    "Glob": "glob",
}
"""Where each tool is, in the order in which models see them."""


def load(tool: str) -> Any:
    """Return a tool's room: its arguments, description, effect, and what runs it.

    Raises:
        KeyError: there is no such tool.
        ImportError: it cannot be loaded now; the next call tries again.
        OSError: the same.
    """
    return getattr(__import__(f"{__package__}.{ROOMS[tool]}"), ROOMS[tool])


def run(tool: str, arguments: dict[str, Any], place: Place) -> ToolResult:
    """Run one tool.

    Raises:
        ToolError: no such tool, arguments that do not fit, or what the tool itself says.
    """
    if tool not in ROOMS:
        raise ToolError(f"there is no tool {tool!r}; there are {', '.join(ROOMS)}")
    module = load(tool)
    named = {
        field.metadata.get("name", name): name for name, field in fields(module.Arguments).items()
    }
    unknown = [name for name in arguments if name not in named]
    if unknown:
        raise ToolError(f"{tool} has no parameter {unknown[0]!r}")
    values = {named[name]: value for name, value in arguments.items()}
    try:
        parsed = module.Arguments(**values)
    except TypeError as error:
        raise ToolError(f"{tool}: {error}") from None
    result: ToolResult = module.run(parsed, place)
    return result
