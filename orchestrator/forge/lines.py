"""Marks as the last line of a comment, for services that have no place to hide one."""

from __future__ import annotations

import re

from orchestrator.forge.marks import MARKER, shortened

LAST = re.compile(r"(?:\A|\n)orchestrate: (?P<marker>[A-Za-z0-9:_./-]{1,200})\s*\Z")


def lined(marker: str, body: str) -> str:
    """Return a comment's text with its marker as the last line, not longer than services take.

    Raises:
        ValueError: it is no marker.
    """
    if not MARKER.fullmatch(marker):
        raise ValueError(f"not a marker: {marker!r}")
    return f"{shortened(body.rstrip())}\n\norchestrate: {marker}"


def last_line(body: str) -> str:
    """Return the marker in the last line of a text; empty where it has none.

    Only the last line counts: what stands before it may be a model's. Services that keep rich text
    give plain letters back with a backslash in front.
    """
    found = LAST.search(body[-1000:].replace("\\", "").rstrip())
    return found["marker"] if found else ""
