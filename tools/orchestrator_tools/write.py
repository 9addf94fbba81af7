"""Write: a whole file."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from orchestrator_tools.contract import ToolResult, text_result
from orchestrator_tools.errors import Changed, ToolError
from orchestrator_tools.place import Place, fingerprint, read_whole, replace_file

NAME = "Write"
EFFECT = "repeatable"
DESCRIPTION = (
    "Write a whole file, making its folders. An existing file must have been read first; "
    "prefer Edit to change one."
)


@dataclass(frozen=True)
class Arguments:
    file_path: str = field(metadata={"doc": "Path of the file"})
    content: str = field(metadata={"doc": "The whole content"})


def run(arguments: Arguments, place: Place) -> ToolResult:
    """Write a file whole."""
    path = place.path(arguments.file_path)
    shown = place.shown(path)
    data = arguments.content.encode("utf-8", "surrogatepass")
    mode = None
    existed = os.path.lexists(path)
    if existed and not os.path.exists(path):
        raise ToolError(f"{shown} is a link to nothing; remove it first")
    if existed:
        old, mode = read_whole(path, shown)
        seen = place.last_seen(path)
        if seen is None and old:
            raise Changed(f"{shown} exists and has not been read yet; Read it first")
        if old and seen != fingerprint(old):
            raise Changed(f"{shown} has changed since it was last read; Read it again first")
    replace_file(path, data, mode)
    place.note(path, data)
    lines = arguments.content.count("\n") + (not arguments.content.endswith("\n"))
    lines = lines if arguments.content else 0
    verb = "Updated" if existed else "Created"
    return text_result(f"{verb} {shown} ({lines} lines)", path=shown, lines=lines)
