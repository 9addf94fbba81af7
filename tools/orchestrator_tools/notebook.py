"""A notebook as its cells: sources, outputs, pictures."""

from __future__ import annotations

import binascii
import json
import re
import time

from orchestrator_tools import images
from orchestrator_tools.contract import Block, ToolResult
from orchestrator_tools.errors import ToolError
from orchestrator_tools.output import (
    CELL_OUTPUT,
    DECODER_SECONDS,
    IMAGES_BYTES,
    NOTEBOOK_BYTES,
    NOTEBOOK_IMAGES,
    READ_LIMIT,
    cut_line,
    head_and_tail,
    shown_text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b.")
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
NOTE = "(a notebook: cells are numbered, and offset and limit count them; Edit matches its JSON)"


def show(data: bytes, first: int, wanted: int | None, shown: str) -> ToolResult | None:
    """Show cells of a notebook; None where it is none and has to be shown as text.

    Raises:
        ToolError: there is no such cell.
    """
    cells = _cells(data)
    if cells is None:
        return None
    page = Shown()
    last = first - 1
    chosen = cells[first - 1 : first - 1 + wanted] if wanted else cells[first - 1 :]
    if not chosen and cells:
        raise ToolError(f"{shown} has {len(cells)} cells; offset {first} is past its end")
    for number, cell in enumerate(chosen, first):
        if not page.take(number, cell):
            break
        last = number
    said = NOTE if cells else f"({shown} is a notebook without cells)"
    if last < len(cells):
        limit = f", limit={wanted}" if wanted else ""
        said += f"\n(cells {first}-{last} of {len(cells)}; go on with offset={last + 1}{limit})"
    details = {"cells": len(cells), "shown": len(cells) and last - first + 1}
    blocks = page.blocks(said)
    return ToolResult(content=blocks, details=details, truncated=page.full)


def _cells(data: bytes) -> list[dict[str, Any]] | None:
    """Return the cells, or None where these bytes are no notebook."""
    if len(data) > NOTEBOOK_BYTES:
        return None
    try:
        book = json.loads(data)
    except (ValueError, RecursionError):
        return None
    cells = book.get("cells") if isinstance(book, dict) else None
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        return None
    return cells


class Shown:
    """What is shown of a notebook, within the limits of one result."""

    def __init__(self) -> None:
        self.full = False
        self._blocks: list[Block] = []
        self._text: list[str] = []
        self._size = 0
        self._images = 0
        self._bytes = 0
        self._end = time.monotonic() + DECODER_SECONDS

    def take(self, number: int, cell: dict[str, Any]) -> bool:
        """Add a cell, unless the result is full."""
        kind = str(cell.get("cell_type"))[:20]
        run = cell.get("execution_count")
        run = f", run {run}" if isinstance(run, int) else ""
        text = f"--- cell {number}, {kind}{run} ---\n{_cut(_joined(cell.get('source')))}"
        outputs = cell.get("outputs")
        outputs = (
            [one for one in outputs if isinstance(one, dict)] if isinstance(outputs, list) else []
        )
        said = "\n".join(filter(None, map(_output_text, outputs)))
        if said:
            text += (
                f"\n--- output of cell {number} ---\n{head_and_tail(_cut(said), CELL_OUTPUT)[0]}"
            )
        if self._size + len(text) > READ_LIMIT and self._size:
            self.full = True
            return False
        if len(text) > READ_LIMIT:
            text = head_and_tail(text, READ_LIMIT)[0]
        self._size += len(text)
        self._text.append(text)
        for output in outputs:
            self._take_pictures(number, output)
        return True

    def _take_pictures(self, number: int, output: dict[str, Any]) -> None:
        bundle = output.get("data")
        if not isinstance(bundle, dict):
            return
        for media in PICTURES:
            if media in bundle:
                self._take_picture(f"the {media} of cell {number}", _joined(bundle[media]))
                return  # the others are the same picture in another form

    def _take_picture(self, name: str, encoded: str) -> None:
        if self._images >= NOTEBOOK_IMAGES or self._bytes >= IMAGES_BYTES:
            self._text.append(f"({name} is not shown: the answer holds enough images)")
            return
        if time.monotonic() > self._end:
            self._text.append(f"({name} is not shown: the others took too long to decode)")
            return
        try:
            made, about = images.prepared(binascii.a2b_base64(encoded), name)
        except (ToolError, ValueError) as error:
            self._text.append(f"({name} cannot be shown: {error})")
            return
        size = len(made["source"]["data"]) * 3 // 4
        if self._bytes + size > IMAGES_BYTES:
            self._text.append(f"({name} is not shown: the answer holds enough images)")
            return
        self._images += 1
        self._bytes += size
        self._text.append(f"({name}: {about})")
        self._flush()
        self._blocks.append(made)

    def _flush(self) -> None:
        if self._text:
            self._blocks.append({"type": "text", "text": shown_text("\n".join(self._text))})
            self._text = []

    def blocks(self, note: str) -> tuple[Block, ...]:
        """Return all that is shown, with a note at its end."""
        self._text.append(note)
        self._flush()
        return tuple(self._blocks)


def _joined(text: Any) -> str:
    """Return a text that notebooks store as one string or as many."""
    if isinstance(text, list):
        return "".join(one for one in text if isinstance(one, str))
    return text if isinstance(text, str) else ""


def _cut(text: str) -> str:
    return "\n".join(cut_line(line.rstrip("\r")) for line in text.split("\n")).rstrip("\n")


def _output_text(output: dict[str, Any]) -> str:
    """Return the words of one output, without colours."""
    kind = output.get("output_type")
    if kind == "stream":
        text = _joined(output.get("text"))
    elif kind == "error":
        text = "\n".join(map(str, output.get("traceback") or [])) or str(output.get("evalue"))
    else:
        bundle = output.get("data")
        text = _joined(bundle.get("text/plain")) if isinstance(bundle, dict) else ""
    return ESCAPES.sub("", text).replace("\0", "").rstrip("\n")
