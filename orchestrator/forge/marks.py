"""Hidden marks, by which our own comments are found again, and lines that name blockers."""

from __future__ import annotations

import re

MARK = re.compile(r"<!-- orchestrate: ([A-Za-z0-9:_./-]{1,200}) -->")
MARKER = re.compile(r"[A-Za-z0-9:_./-]{1,200}")
COMMENT_LIMIT = 60_000
"""Characters; GitHub takes 65,536, and the others more."""
BLOCKED = re.compile(
    r"^[ \t>*+-]*(?:blocked by|depends on|blocked_by)[ \t]*:?[ \t]*(?P<rest>[^\n]{1,500})",
    re.IGNORECASE | re.MULTILINE,
)
NUMBER = re.compile(r"(?<![\w/#&])#([1-9][0-9]{0,9})\b")
BLOCKERS = 20


def hidden(marker: str) -> str:
    """Return a marker as it stands in a comment, unseen.

    Raises:
        ValueError: it holds what could end a comment in HTML.
    """
    if not MARKER.fullmatch(marker) or "--" in marker:
        raise ValueError(f"not a marker: {marker!r}")
    return f"<!-- orchestrate: {marker} -->"


def marked(marker: str, body: str) -> str:
    """Return a comment's text with its marker in front, not longer than services take."""
    return f"{hidden(marker)}\n{shortened(body)}"


def shortened(body: str) -> str:
    """Return a text that is not longer than services take; what is cut is said."""
    if len(body) <= COMMENT_LIMIT:
        return body
    return f"{body[:COMMENT_LIMIT]}\n\n[cut here: {len(body) - COMMENT_LIMIT} characters more]"


def markers(body: str) -> list[str]:
    """Return the markers that a text begins with."""
    found = MARK.match(body)
    return [found[1]] if found else []


def numbers_blocking(body: str) -> list[str]:
    """Return the numbers of issues that lines like ``Blocked by #7, #8`` name."""
    lines = [found["rest"] for found in BLOCKED.finditer(body)]
    found = [number for line in lines for number in NUMBER.findall(line)]
    return list(dict.fromkeys(found))[:BLOCKERS]
