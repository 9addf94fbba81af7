"""Pages of a PDF: their text, and how they look."""

from __future__ import annotations

import re

from orchestrator_tools import decoding
from orchestrator_tools.contract import Block, ToolResult, text_result
from orchestrator_tools.errors import ToolError
from orchestrator_tools.output import PDF_PAGES, shown_text

RANGE = re.compile(r"\s*(\d{1,6})\s*(?:(-)\s*(\d{1,6})?\s*)?")
HOW = 'name them like "3", "1-5", "1,4-6" or "10-"'

Ranges = "list[tuple[int, int]]"
"""First and last page of each; a last page of 0 is the last one that there is."""


def parse_pages(given: str | None) -> list[tuple[int, int]] | None:
    """Read which pages are wanted.

    Raises:
        ToolError: it names none, or too many.
    """
    if given is None:
        return None
    ranges: list[tuple[int, int]] = []
    count = 0
    for part in given.split(",")[: PDF_PAGES + 1]:
        found = RANGE.fullmatch(part)
        if found is None:
            raise ToolError(f"pages: {given[:80]!r} names no pages; {HOW}")
        first = int(found[1])
        last = int(found[3]) if found[3] else (0 if found[2] else first)
        if first < 1 or 0 < last < first:
            raise ToolError(f"pages: {part.strip()!r} is no range of pages; {HOW}")
        ranges.append((first, last))
        count += last - first + 1 if last else 1
    if count > PDF_PAGES:
        raise ToolError(f"pages: at most {PDF_PAGES} pages can be shown at once")
    return ranges


def show(data: bytes, wanted: list[tuple[int, int]] | None, shown: str) -> ToolResult:
    """Show pages of a PDF.

    Raises:
        ToolError: it is broken, encrypted, has no such pages, or cannot be decoded here.
    """
    try:
        made = decoding.ask({"op": "pdf", "ranges": wanted}, data, shown)
    except decoding.NoDecoder as missing:
        raise ToolError(f"{shown} is a PDF and cannot be shown. {missing}") from None
    count = int(made["count"])
    if not made["shown"]:
        said = f'({shown} has {count} pages; name up to {PDF_PAGES} of them, e.g. pages="1-5")'
        return text_result(said, pages=count)
    blocks: list[Block] = []
    for page in made["shown"]:
        blocks += _blocks(page, count)
    left = made["next"]
    if left:
        rest = f"{left[0]}-{left[-1]}" if left[-1] - left[0] + 1 == len(left) else _listed(left)
        said = f'(the answer is full; go on with pages="{rest}")'
        blocks.append({"type": "text", "text": said})
    details = {"pages": count, "shown": [page["page"] for page in made["shown"]]}
    return ToolResult(content=tuple(blocks), details=details, truncated=bool(left))


def _listed(numbers: list[int]) -> str:
    return ",".join(map(str, numbers))


def _blocks(page: dict[str, object], count: int) -> list[Block]:
    text = shown_text(str(page["text"]))
    said = f"--- page {page['page']} of {count} ---\n{text}".rstrip()
    if page["more"]:
        said += f"\n[... {page['more']} more characters]"
    blocks: list[Block] = [{"type": "text", "text": said}]
    if "image" in page:
        source = {"type": "base64", "media_type": "image/jpeg", "data": page["image"]}
        blocks.append({"type": "image", "source": source})
    return blocks
