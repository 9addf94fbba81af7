"""Edit: replace an exact piece of a file."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator_tools.contract import ToolResult, text_result
from orchestrator_tools.errors import Changed, NotFound, NotUnique, ToolError
from orchestrator_tools.output import cut_line, number_lines
from orchestrator_tools.place import Place, fingerprint, read_whole, replace_file

NAME = "Edit"
EFFECT = "repeatable"
DESCRIPTION = (
    "Replace old_string by new_string in a file. old_string must match exactly (without line "
    "numbers) and be unique, unless replace_all is set."
)
LINES_COMPARED = 20_000


@dataclass(frozen=True)
class Arguments:
    file_path: str = field(metadata={"doc": "Path of the file"})
    old_string: str = field(metadata={"doc": "Text to replace"})
    new_string: str = field(metadata={"doc": "Text to put in its place"})
    replace_all: bool = field(default=False, metadata={"doc": "Replace every occurrence"})


def run(arguments: Arguments, place: Place) -> ToolResult:
    """Replace text in a file."""
    path = place.path(arguments.file_path)
    shown = place.shown(path)
    if arguments.old_string == arguments.new_string:
        raise ToolError("old_string and new_string are the same")
    if not arguments.old_string:
        raise ToolError("old_string is empty; use Write to make a file")
    data, mode = read_whole(path, shown)
    seen = place.last_seen(path)
    if seen is not None and seen != fingerprint(data):
        raise Changed(f"{shown} has changed since it was last seen; Read it again first")
    old, new = _in_file_form(arguments, data)
    count = _places(data, old)
    if count == 0:
        raise NotFound(_miss(arguments.old_string, data, shown))
    if count > 1 and not arguments.replace_all:
        raise NotUnique(
            f"old_string occurs {count} times in {shown}; "
            "give more surrounding lines, or set replace_all"
        )
    changed = data.replace(old, new)
    replace_file(path, changed, mode)
    place.note(path, changed)
    at = data[: data.index(old)].count(b"\n") + 1
    times = "" if count == 1 else f" ({count} places)"
    return text_result(f"Edited {shown} at line {at}{times}", path=shown, line=at, count=count)


def _in_file_form(arguments: Arguments, data: bytes) -> tuple[bytes, bytes]:
    """Give both strings the file's own line ends, so that CRLF survives."""
    old = arguments.old_string.encode("utf-8", "surrogatepass")
    new = arguments.new_string.encode("utf-8", "surrogatepass")
    if b"\n" in old + new and b"\r\n" in data and b"\r\n" not in old:
        crlf = old.replace(b"\n", b"\r\n")
        if crlf in data or old not in data or b"\n" not in old:
            return crlf, new.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return old, new


def _places(data: bytes, old: bytes) -> int:
    """Count the places where a piece stands, those that overlap included."""
    count, at = 0, data.find(old)
    while at >= 0:
        count, at = count + 1, data.find(old, at + 1)
    return count


def _miss(old: str, data: bytes, shown: str) -> str:
    """Say where the text nearly stands, and what differs."""
    lines = data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")[:LINES_COMPARED]
    wanted = old.replace("\r\n", "\n").split("\n")
    at = _nearest(lines, wanted)
    if at < 0:
        return f"old_string is not in {shown}, nor anything like it"
    found = lines[at : at + len(wanted)]
    same = [line.split() for line in found] == [line.split() for line in wanted]
    hint = "only white space differs" if same else "the nearest place is"
    return f"old_string is not in {shown}; {hint}:\n{number_lines(found[:12], at + 1)}"


def _nearest(lines: list[str], wanted: list[str]) -> int:
    anchor = max(wanted, key=lambda line: len(line.strip())).strip()
    offset = next(index for index, line in enumerate(wanted) if line.strip() == anchor)
    stripped = [cut_line(line.strip(), 300) for line in lines]
    if anchor in stripped:
        return max(stripped.index(anchor) - offset, 0)
    import difflib

    close = difflib.get_close_matches(anchor[:300], stripped[:4000], n=1, cutoff=0.6)
    return max(stripped.index(close[0]) - offset, 0) if close else -1
