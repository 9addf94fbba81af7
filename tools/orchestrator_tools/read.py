"""Read: a page of a text file, with line numbers."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import BinaryIO

from orchestrator_tools.contract import ToolResult, text_result
from orchestrator_tools.errors import ToolError
from orchestrator_tools.output import READ_LIMIT, fit_lines, number_lines
from orchestrator_tools.place import FILE_LIMIT, Place, open_regular

NAME = "Read"
EFFECT = "none"
DESCRIPTION = (
    "Read a text file. Returns numbered lines (number, tab, text). "
    "Large files come in pages; the answer names the next offset."
)
PAGE_LINES = 2000
SCAN_LIMIT = 256 * 1024 * 1024
"""Bytes that are looked at to reach a page; what lies further must be searched with Grep."""


@dataclass(frozen=True)
class Arguments:
    file_path: str = field(metadata={"doc": "Path of the file"})
    offset: int | None = field(default=None, metadata={"doc": "First line, from 1", "ge": 0})
    limit: int | None = field(default=None, metadata={"doc": "Number of lines", "ge": 1})


def run(arguments: Arguments, place: Place) -> ToolResult:
    """Read a page of a file."""
    path = place.path(arguments.file_path)
    shown = place.shown(path)
    first = max(arguments.offset or 1, 1)
    wanted = arguments.limit or PAGE_LINES
    descriptor, status = open_regular(path, shown)
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size <= FILE_LIMIT:
            data = file.read(FILE_LIMIT + 1)
            _refuse_binary(data[:8192], shown)
            place.note(path, data)
            page, total = _page_of(data, first, wanted)
        else:
            _refuse_binary(file.read(8192), shown)
            file.seek(0)
            page, total = _scan(file, first, wanted, shown)
    return _answer(shown, page, first, total)


def _refuse_binary(head: bytes, shown: str) -> None:
    if b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ToolError(f"{shown} is a binary file")


def _page_of(data: bytes, first: int, wanted: int) -> tuple[list[str], int]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", "replace")
    else:
        text = data.decode("utf-8-sig", "replace")
    lines = text.replace("\r\n", "\n").split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    return lines[first - 1 : first - 1 + wanted], len(lines)


def _scan(file: BinaryIO, first: int, wanted: int, shown: str) -> tuple[list[str], int]:
    """Walk a file too large to hold; the total is the last line looked at."""
    page: list[str] = []
    number, passed, inside = 0, 0, False
    while passed < SCAN_LIMIT:
        line = file.readline(64 * 1024)
        if not line:
            return page, number
        passed += len(line)
        starts, inside = not inside, not line.endswith(b"\n")
        if not starts:
            continue
        number += 1
        if number >= first + wanted:
            return page, number
        if number >= first:
            page.append(line.decode("utf-8", "replace").rstrip("\r\n"))
    if not page:
        raise ToolError(f"line {first} of {shown} lies too deep in a huge file; use Grep")
    return page, number


def _answer(shown: str, page: list[str], first: int, total: int) -> ToolResult:
    if not page:
        if total == 0:
            return text_result(f"({shown} is empty)", lines=0)
        raise ToolError(f"{shown} has {total} lines; offset {first} is past its end")
    page, cut = fit_lines(page, READ_LIMIT)
    last = first + len(page) - 1
    text = number_lines(page, first)
    if last < total:
        text += f"\n(lines {first}-{last} of {total}; go on with offset={last + 1})"
    return text_result(text, lines=len(page), total=total, truncated=cut)
