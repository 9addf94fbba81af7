"""Write: a whole file."""

from __future__ import annotations

import os

from orchestrator_tools.contract import ToolResult, text_result
from orchestrator_tools.errors import Changed, ToolError
from orchestrator_tools.place import Place, read_whole, replace_file
from orchestrator_tools.values import field, frozen

NAME = "Write"
EFFECT = "repeatable"
DESCRIPTION = (
    "Write a whole file, making its folders. An existing file must have been read first; "
    "prefer Edit to change one."
)


@frozen
class Arguments:
    """What is written."""

    file_path: str = field(metadata={"doc": "Path of the file"})
    content: str = field(metadata={"doc": "The whole content"})


def run(arguments: Arguments, place: Place) -> ToolResult:
    """Write a file whole."""
    path = place.path(arguments.file_path)
    shown = place.shown(path)
    data = arguments.content.encode("utf-8", "surrogatepass")
    status = None
    existed = os.path.lexists(path)
    if existed and not os.path.exists(path):
        raise ToolError(f"{shown} is a link to nothing; remove it first")
    if existed:
        old, status = read_whole(path, shown)
        if old and old != data:
            if place.last_seen(path) is None:
                raise Changed(f"{shown} exists and has not been read yet; Read it first")
            place.require_unchanged(path, old)
    replace_file(path, data, status, new=not existed)
    place.note(path, data)
    lines = arguments.content.count("\n") + (not arguments.content.endswith("\n"))
    lines = lines if arguments.content else 0
    verb = "Updated" if existed else "Created"
    return text_result(f"{verb} {shown} ({lines} lines)", path=shown, lines=lines)
