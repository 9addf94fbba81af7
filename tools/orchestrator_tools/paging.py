"""A page of numbered lines out of a text of any size, at a cost that its size bounds."""

from __future__ import annotations

import codecs

from orchestrator_tools.output import LINE_LIMIT, READ_LIMIT, cut_line, cut_note, line_cost
from orchestrator_tools.values import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

QUICK = 1024 * 1024
"""Bytes of a text that is split into lines whole; a larger one is walked through in blocks."""

MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
UNKNOWN = "\N{REPLACEMENT CHARACTER}"


@frozen
class Page:
    """Some lines of a text.

    Attributes:
        lines: each cut to the limit of a line.
        total: the lines of the whole text, or None where it was not walked to its end.
        full: whether the limit of a page, not of lines, ended it.
        invalid: whether bytes that are not UTF-8 are shown by a mark in their place.
        cut: the index of the first line that is cut, or -1.
    """

    lines: list[str]
    total: int | None
    full: bool = False
    invalid: bool = False
    cut: int = -1


def page_of(data: bytes, first: int, wanted: int) -> Page:
    """Return the page of a text that begins at line ``first``, from 1."""
    if data.startswith(MARKS):
        data = data.decode("utf-16", "replace").encode("utf-8", "replace")
    elif data.startswith(codecs.BOM_UTF8):
        data = data[len(codecs.BOM_UTF8) :]
    if len(data) <= QUICK:
        return _quick(data, first, wanted)
    walk = Walk(first, wanted)
    for at in range(0, len(data), QUICK):
        walk.feed(data[at : at + QUICK])
    return walk.page()


def page_of_blocks(blocks: Iterable[bytes], first: int, wanted: int) -> Page:
    """Return a page of a text too large to hold, looking no further than its end."""
    walk = Walk(first, wanted)
    start = True
    for block in blocks:
        walk.feed(block.removeprefix(codecs.BOM_UTF8) if start else block)
        start = False
        if walk.done:
            return Page(walk.lines, None, walk.full, walk.invalid, walk.cut)
    return walk.page()


def _quick(data: bytes, first: int, wanted: int) -> Page:
    try:
        text, invalid = data.decode("utf-8"), False
    except UnicodeDecodeError:
        text, invalid = data.decode("utf-8", "replace"), True
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[-1] == "":
        lines.pop()
    chosen: list[str] = []
    size, cut, full = 0, -1, False
    for line in lines[first - 1 : first - 1 + wanted]:
        size += line_cost(len(line))
        if size > READ_LIMIT and chosen:
            full = True
            break
        if len(line) > LINE_LIMIT and cut < 0:
            cut = len(chosen)
        chosen.append(cut_line(line))
    invalid = invalid and any(UNKNOWN in line for line in chosen)
    return Page(chosen, len(lines), full, invalid, cut)


class Walk:
    """Walks through a text block by block, keeping nothing but the lines of one page."""

    def __init__(self, first: int, wanted: int) -> None:
        self.lines: list[str] = []
        self.done = self.full = self.invalid = False
        self.cut = -1
        self._first = first
        self._wanted = wanted
        self._ended = 0
        self._open = False
        self._size = 0
        self._line = _Line()

    def feed(self, block: bytes) -> None:
        """Take the next block."""
        at = 0
        if not self.done and self._ended + 1 < self._first:
            at = self._skip(block)
        while not self.done and 0 <= at < len(block):
            end = block.find(b"\n", at)
            if end < 0:
                self._line.feed(block[at:])
                break
            self._line.feed(block[at:end])
            self._finish(terminated=True)
            self._ended += 1
            at = end + 1
        if self.done:
            self._ended += block.count(b"\n", at)
        if block:
            self._open = not block.endswith(b"\n")

    def _skip(self, block: bytes) -> int:
        """Pass over what comes before the page; return where it begins, or -1."""
        missing = self._first - 1 - self._ended
        count = block.count(b"\n")
        if count < missing:
            self._ended += count
            return -1
        at = 0
        for _ in range(missing):
            at = block.index(b"\n", at) + 1
        self._ended += missing
        return at

    def _finish(self, *, terminated: bool) -> None:
        """Close a line, and the page where it is full."""
        text, length, invalid = self._line.end(terminated=terminated)
        self._line = _Line()
        self._size += line_cost(length)
        if self._size > READ_LIMIT and self.lines:
            self.done = self.full = True
            return
        if length > LINE_LIMIT and self.cut < 0:
            self.cut = len(self.lines)
        self.lines.append(text)
        self.invalid = self.invalid or invalid
        self.done = len(self.lines) >= self._wanted

    def page(self) -> Page:
        """Return the page once the text has ended."""
        if self._open and not self.done and self._ended + 1 >= self._first:
            self._finish(terminated=False)
        total = self._ended + self._open
        return Page(self.lines, total, self.full, self.invalid, self.cut)


class _Line:
    """One line of any length: its head, and how much more there is."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._more = 0
        self._last = ""
        self._invalid = False

    def feed(self, data: bytes, *, final: bool = False) -> None:
        text = self._decoder.decode(data, final)
        if not text:
            return
        room = LINE_LIMIT + 1 - len(self._text)
        shown = text[:room]
        self._text += shown
        self._more += len(text) - len(shown)
        self._last = text[-1]
        if UNKNOWN in shown and UNKNOWN.encode() not in data:
            self._invalid = True

    def end(self, *, terminated: bool) -> tuple[str, int, bool]:
        """Return the line as it is shown, its length, and whether it shows unknown bytes."""
        self.feed(b"", final=True)
        length = len(self._text) + self._more
        if terminated and self._last == "\r":
            length -= 1
        if length > LINE_LIMIT:
            head = self._text[:LINE_LIMIT]
            return f"{head}{cut_note(length - LINE_LIMIT)}", length, self._invalid
        return self._text[:length], length, self._invalid
