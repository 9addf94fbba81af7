"""Read: a page of a text file with line numbers, an image, a PDF, or a notebook."""

from __future__ import annotations

import os

from orchestrator_tools.contract import ToolResult, text_result
from orchestrator_tools.errors import ToolError
from orchestrator_tools.output import (
    FILE_LIMIT,
    LINE_LIMIT,
    PAGE_LINES,
    SCAN_LIMIT,
    numbered,
    shown_text,
)
from orchestrator_tools.paging import MARKS, Page, page_of, page_of_blocks
from orchestrator_tools.place import Place, open_regular, read_bounded
from orchestrator_tools.values import field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Show = Callable[[bytes], "ToolResult | None"]

NAME = "Read"
EFFECT = "none"
DESCRIPTION = (
    "Read a file. Text comes as numbered lines (number, tab, text); large files in pages: the "
    "answer names the next offset. Images, PDFs and notebooks are shown as such."
)
BLOCK = 1024 * 1024
HEAD = 64 * 1024
LOOKED_AT = 8192
"""Bytes by which a text is told from a binary file."""

SIGNS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")
"""How files begin that may be images; the room that shows them looks closer."""
PDF_SIGN = b"%PDF-"


@frozen
class Arguments:
    """What is read."""

    file_path: str = field(metadata={"doc": "Path of the file"})
    offset: int | None = field(default=None, metadata={"doc": "First line, from 1", "ge": 0})
    limit: int | None = field(default=None, metadata={"doc": "Number of lines", "ge": 1})
    pages: str | None = field(
        default=None, metadata={"doc": 'Pages of a PDF, e.g. "1-5"; at most 20'}
    )


def run(arguments: Arguments, place: Place) -> ToolResult:
    """Read a file, or a page of it."""
    path = place.path(arguments.file_path)
    shown = place.shown(path)
    descriptor, status = open_regular(path, shown)
    try:
        head = _some(descriptor, HEAD, shown)
        show = _other_than_text(arguments, path, head, shown)
        if show is None:
            _refuse_binary(head[:LOOKED_AT], shown)  # before it is read whole
        data = read_bounded(descriptor, shown, head) if status.st_size <= FILE_LIMIT else None
        if data is None or len(data) > FILE_LIMIT:
            if show is not None:
                raise ToolError(f"{shown} is too large ({status.st_size} bytes) to be shown")
            return _of_huge(descriptor, arguments, shown, status.st_size)
    finally:
        os.close(descriptor)
    place.note(path, data)
    result = show(data) if show is not None else None
    if result is not None:
        return result
    _refuse_binary(head[:LOOKED_AT], shown)
    page = page_of(data, _first(arguments), arguments.limit or PAGE_LINES)
    return _answer(arguments, page, shown, len(data))


def _first(arguments: Arguments) -> int:
    return max(arguments.offset or 1, 1)


def _some(descriptor: int, size: int, shown: str) -> bytes:
    try:
        return os.read(descriptor, size)
    except OSError as error:
        raise ToolError(f"{shown} cannot be read: {error.strerror}") from None


def _other_than_text(arguments: Arguments, path: str, head: bytes, shown: str) -> Show | None:
    """Return what shows a file that is no text; only then is that room loaded."""
    name = path.lower()
    if head.startswith(PDF_SIGN) or (name.endswith(".pdf") and PDF_SIGN in head[:1024]):
        from orchestrator_tools import pdf

        wanted = pdf.parse_pages(arguments.pages)
        return lambda data: pdf.show(data, wanted, shown)
    if arguments.pages is not None:
        raise ToolError(f"pages is for PDF files, and {shown} is none; use offset and limit")
    if head.startswith(SIGNS):
        from orchestrator_tools import images

        if images.inspect(head) is not None:
            return lambda data: images.show(data, shown)
    if name.endswith(".ipynb"):
        from orchestrator_tools import notebook

        return lambda data: notebook.show(data, _first(arguments), arguments.limit, shown)
    return None


def _refuse_binary(head: bytes, shown: str) -> None:
    if b"\0" in head and not head.startswith(MARKS):
        raise ToolError(f"{shown} is a binary file; look into it with Bash, e.g. xxd or file")


def _of_huge(descriptor: int, arguments: Arguments, shown: str, size: int) -> ToolResult:
    """Show a page of a file too large to hold, walking to it in blocks."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    first = _first(arguments)
    blocks = _blocks(descriptor, shown)
    page = page_of_blocks(blocks, first, arguments.limit or PAGE_LINES)
    if not page.lines and size > SCAN_LIMIT:
        raise ToolError(f"line {first} of {shown} lies too deep in a huge file; use Grep")
    return _answer(arguments, page, shown, size)


def _blocks(descriptor: int, shown: str) -> Iterator[bytes]:
    passed = 0
    while passed < SCAN_LIMIT:
        block = _some(descriptor, BLOCK, shown)
        if not block:
            return
        passed += len(block)
        yield block


def _answer(arguments: Arguments, page: Page, shown: str, size: int) -> ToolResult:
    first, total = _first(arguments), page.total
    if not page.lines:
        if total == 0:
            return text_result(f"({shown} is empty)", lines=0)
        raise ToolError(f"{shown} has {total} lines; offset {first} is past its end")
    last = first + len(page.lines) - 1
    text = shown_text(numbered(page.lines, first))
    if total is None or last < total:
        of = f"of {total}" if total is not None else f"of a file of {size} bytes"
        limit = f", limit={arguments.limit}" if arguments.limit else ""
        text += f"\n(lines {first}-{last} {of}; go on with offset={last + 1}{limit})"
    if page.cut >= 0:
        text += (
            f"\n(line {first + page.cut} is cut; with Bash: "
            f"sed -n {first + page.cut}p FILE | cut -c {LINE_LIMIT + 1}-{2 * LINE_LIMIT})"
        )
    if page.invalid:
        text += (
            "\n(not valid UTF-8: a \N{REPLACEMENT CHARACTER} stands for bytes that are not shown; "
            "Edit keeps them, but its old_string cannot hold them)"
        )
    return text_result(text, lines=len(page.lines), total=total, truncated=page.full)
