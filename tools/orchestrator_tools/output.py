"""One policy for everything that tools print: every limit, truncation, line numbers.

The page for users, docs/tools.md, states these numbers; a test holds it to them.
"""

from __future__ import annotations

# -- text ----------------------------------------------------------------------------------------

TEXT_LIMIT = 30_000
"""Characters of one Bash, Grep or Glob result."""

READ_LIMIT = 60_000
"""Characters of one Read result."""

LINE_LIMIT = 2_000
"""Characters of one line; the rest is cut and counted."""

PAGE_LINES = 2_000
"""Lines of one Read that names no limit."""

DIFFERENCE_LINES = 40
"""Lines that tell what changed in a file, or what stands where a text was looked for."""

# -- files ---------------------------------------------------------------------------------------

FILE_LIMIT = 64 * 1024 * 1024
"""Bytes of a file that is loaded whole: by Edit, by Write, and for images and PDFs."""

SCAN_LIMIT = 256 * 1024 * 1024
"""Bytes that are looked at to reach a page; what lies further must be searched with Grep."""

RECALL_LIMIT = 4 * 1024 * 1024
"""Bytes of file contents kept in memory to say what changed; purely a convenience."""

# -- Grep and Glob -------------------------------------------------------------------------------

SEARCH_SECONDS = 15
"""Seconds of one search."""

SEARCH_LIMIT = 8 * 1024 * 1024
"""Bytes that a search may print; they are all that it holds in memory."""

MATCH_LIMIT = 500
"""Characters of one matching line."""

HEAD_LIMIT = 250
"""Lines or files of one Grep result that names no head_limit."""

CONTEXT_LIMIT = 1_000
"""Lines of context on either side of a match."""

MULTILINE_LIMIT = 64 * 1024 * 1024
"""Bytes of a file that is searched across lines: ripgrep holds such a file whole."""

PATTERN_LIMIT = 32 * 1024 * 1024
"""Bytes that a regular expression may take once it is compiled."""

GLOB_FILES = 100
"""Files of one Glob result."""

GLOB_ALTERNATIVES = 64
"""Patterns that the brace sets of one pattern may stand for."""

GLOB_LENGTH = 4_096
"""Characters of one pattern."""

GLOB_PARTS = 32
"""Parts of one pattern, between slashes."""

# -- images, PDFs, notebooks ---------------------------------------------------------------------

IMAGE_SIDE = 1_568
"""Pixels of the longest side that models look at; a larger image is scaled down to it."""

IMAGE_BYTES = 1_500_000
"""Bytes of one image as it is sent; every later request of a session carries it again."""

IMAGES_BYTES = 4_500_000
"""Bytes of all images of one result."""

IMAGE_PIXELS = 100_000_000
"""Pixels of an image that is decoded at all."""

PDF_PAGES = 20
"""Pages of one Read of a PDF."""

PDF_WHOLE = 10
"""Pages of a PDF that is shown without `pages`."""

NOTEBOOK_BYTES = 16 * 1024 * 1024
"""Bytes of a notebook that is shown as cells; a larger one is shown as text."""

CELL_OUTPUT = 4_000
"""Characters of one cell's output."""

NOTEBOOK_IMAGES = 8
"""Images of one Read of a notebook."""

DECODER_SECONDS = 25
"""Seconds of the decoder for one file."""

DECODER_MEMORY = 1024 * 1024 * 1024
"""Bytes of address space of the decoder."""

DECODERS = 2
"""Decoders that run at the same time."""


def cut_line(line: str, limit: int = LINE_LIMIT) -> str:
    """Cut one long line, saying how much is missing."""
    if len(line) <= limit:
        return line
    return f"{line[:limit]}{cut_note(len(line) - limit)}"


def cut_note(missing: int) -> str:
    """Return what stands in place of the rest of a line."""
    return f" [... {missing} more characters]"


def number_lines(lines: list[str], first: int) -> str:
    """Number lines from ``first``: number, tab, text."""
    return numbered([cut_line(line) for line in lines], first)


def numbered(lines: list[str], first: int) -> str:
    """Number lines that are cut already."""
    return "\n".join([f"{first + index}\t{line}" for index, line in enumerate(lines)])


def fit_lines(lines: list[str], limit: int) -> tuple[list[str], bool]:
    """Keep as many whole lines from the start as fit ``limit`` characters, at least one."""
    size = 0
    for index, line in enumerate(lines):
        size += line_cost(len(line))
        if size > limit and index:
            return lines[:index], True
    return lines, False


def line_cost(length: int) -> int:
    """Return what a line of some length counts against the limit of a page, number included."""
    return min(length, LINE_LIMIT) + 8


def head_and_tail(text: str, limit: int = TEXT_LIMIT) -> tuple[str, bool]:
    """Keep the head and the tail of a long text and count what lies between."""
    if len(text) <= limit:
        return text, False
    head = text[: limit // 2]
    tail = text[-(limit - limit // 2) :]
    missing = len(text) - len(head) - len(tail)
    return f"{head}\n[... {missing} characters left out ...]\n{tail}", True


def shown_text(text: str) -> str:
    """Return text without lone surrogates, which no message can carry."""
    return text.encode("utf-8", "replace").decode("utf-8")
