"""The tool table: one row a tool."""

from __future__ import annotations

import dataclasses
from typing import Any

from orchestrator_tools import bash, edit, glob, grep, read, write
from orchestrator_tools.contract import ToolResult
from orchestrator_tools.errors import ToolError
from orchestrator_tools.place import Place

TOOLS = {module.NAME: module for module in (read, write, edit, bash, grep, glob)}


def run(tool: str, arguments: dict[str, Any], place: Place) -> ToolResult:
    """Run one tool.

    Raises:
        ToolError: no such tool, arguments that do not fit, or what the tool itself says.
    """
    module = TOOLS.get(tool)
    if module is None:
        raise ToolError(f"there is no tool {tool!r}; there are {', '.join(TOOLS)}")
    fields = {
        field.metadata.get("name", field.name): field.name
        for field in dataclasses.fields(module.Arguments)
    }
    unknown = [name for name in arguments if name not in fields]
    if unknown:
        raise ToolError(f"{tool} has no parameter {unknown[0]!r}")
    values = {fields[name]: value for name, value in arguments.items()}
    try:
        parsed = module.Arguments(**values)
    except TypeError as error:
        raise ToolError(f"{tool}: {error}") from None
    result: ToolResult = module.run(parsed, place)
    return result
