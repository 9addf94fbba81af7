"""Edit: replace an exact piece of a file."""

from __future__ import annotations

import codecs
import itertools
import os

from orchestrator_tools.contract import ToolResult, text_result
from orchestrator_tools.errors import NotFound, NotUnique, ToolError
from orchestrator_tools.output import FILE_LIMIT
from orchestrator_tools.place import Place, read_whole, replace_file
from orchestrator_tools.values import field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "Edit"
EFFECT = "repeatable"
DESCRIPTION = (
    "Replace old_string by new_string in a file. old_string must match exactly (without line "
    "numbers) and be unique, unless replace_all is set."
)
NAMED_PLACES = 10
COUNTED = 1000
UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


@frozen
class Arguments:
    """What an edit is told."""

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
        return _make(arguments, path, place)
    data, status = read_whole(path, shown)
    place.require_unchanged(path, data)
    old, new, step = _in_file_form(arguments, data)
    places = list(itertools.islice(_places(data, old, step), COUNTED))
    if not places:
        raise NotFound(_miss(arguments.old_string, data, shown))
    if len(places) > 1 and not arguments.replace_all:
        raise NotUnique(_several(data, places, shown))
    _refuse_growth(data, old, new, shown)
    changed = data.replace(old, new) if step == 1 else _replaced(data, old, new)
    replace_file(path, changed, status)
    place.note(path, changed)
    at = data.count(b"\n", 0, places[0]) + 1
    count = data.count(old) if step == 1 else len(places)
    times = "" if count == 1 else f" ({count} places)"
    return text_result(f"Edited {shown} at line {at}{times}", path=shown, line=at, count=count)


def _refuse_growth(data: bytes, old: bytes, new: bytes, shown: str) -> None:
    """Refuse what would become larger than a file that can be edited again."""
    size = len(data) + data.count(old) * (len(new) - len(old))
    if size > max(FILE_LIMIT, len(data)):
        raise ToolError(f"{shown} would become too large ({size} bytes); use Bash")


def _make(arguments: Arguments, path: str, place: Place) -> ToolResult:
    """Make a file of ``new_string``: what an empty ``old_string`` means where there is none."""
    shown = place.shown(path)
    if os.path.lexists(path):
        raise ToolError(
            f"old_string is empty; use Write to replace {shown} whole, "
            "or give the text that the new one is to stand in place of"
        )
    data = arguments.new_string.encode("utf-8", "surrogatepass")
    replace_file(path, data, None, new=True)
    place.note(path, data)
    return text_result(f"Created {shown}", path=shown, line=1, count=1)


def _in_file_form(arguments: Arguments, data: bytes) -> tuple[bytes, bytes, int]:
    """Give both strings the file's own encoding and line ends, and the width of its units."""
    old = arguments.old_string.encode("utf-8", "surrogatepass")
    new = arguments.new_string.encode("utf-8", "surrogatepass")
    encoding = UTF16.get(data[:2])
    if encoding and old not in data and len(data) % 2 == 0:
        crlf = "\r\n".encode(encoding) in data
        wide = [
            (text.replace("\r\n", "\n").replace("\n", "\r\n") if crlf else text).encode(
                encoding, "surrogatepass"
            )
            for text in (arguments.old_string, arguments.new_string)
        ]
        return wide[0], wide[1], 2
    if b"\n" in old + new and b"\r\n" in data and b"\r\n" not in old:
        crlf_old = old.replace(b"\n", b"\r\n")
        if crlf_old in data or old not in data or b"\n" not in old:
            return crlf_old, new.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"), 1
    if b"\r\n" in old and b"\r" not in data:
        return old.replace(b"\r\n", b"\n"), new.replace(b"\r\n", b"\n"), 1
    return old, new, 1


def _places(data: bytes, old: bytes, step: int) -> Iterator[int]:
    """Find the places where a piece stands, those that overlap included."""
    at = data.find(old)
    while at >= 0:
        if at % step == 0:
            yield at
        at = data.find(old, at + 1)


def _replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    """Replace a piece of two-byte units where it stands, and not where it only seems to."""
    parts: list[bytes] = []
    end = 0
    for at in _places(data, old, 2):
        if at >= end:
            parts += [data[end:at], new]
            end = at + len(old)
    return b"".join([*parts, data[end:]])


def _several(data: bytes, places: list[int], shown: str) -> str:
    """Say where the text stands, so that one of the places can be chosen."""
    numbers = [data.count(b"\n", 0, at) + 1 for at in places[:NAMED_PLACES]]
    named = ", ".join(map(str, dict.fromkeys(numbers)))
    more = " ..." if len(places) > NAMED_PLACES else ""
    count = f"{COUNTED} or more" if len(places) == COUNTED else len(places)
    return (
        f"old_string occurs {count} times in {shown}; "
        f"give more surrounding lines, or set replace_all (at line {named}{more})"
    )


def _miss(old: str, data: bytes, shown: str) -> str:
    """Say where the text nearly stands; what finds that is loaded when it is needed."""
    from orchestrator_tools import nearest

    encoding = UTF16.get(data[:2])
    if encoding:
        data = data[2:].decode(encoding, "replace").encode("utf-8", "replace")
    return nearest.describe(old, data, shown)
