"""One policy for everything that tools print: limits, truncation, line numbers."""

from __future__ import annotations

TEXT_LIMIT = 30_000
"""Characters of one Bash, Grep or Glob result."""

READ_LIMIT = 60_000
"""Characters of one Read result."""

LINE_LIMIT = 2_000
"""Characters of one line; the rest is cut and counted."""


def cut_line(line: str, limit: int = LINE_LIMIT) -> str:
    """Cut one long line, saying how much is missing."""
    if len(line) <= limit:
        return line
    return f"{line[:limit]} [... {len(line) - limit} more characters]"


def number_lines(lines: list[str], first: int) -> str:
    """Number lines from ``first``: number, tab, text."""
    return "\n".join(f"{first + index}\t{cut_line(line)}" for index, line in enumerate(lines))


def fit_lines(lines: list[str], limit: int) -> tuple[list[str], bool]:
    """Keep as many whole lines from the start as fit ``limit`` characters, at least one."""
    size = 0
    for index, line in enumerate(lines):
        size += min(len(line), LINE_LIMIT) + 8
        if size > limit and index:
            return lines[:index], True
    return lines, False


def head_and_tail(text: str, limit: int = TEXT_LIMIT) -> tuple[str, bool]:
    """Keep the head and the tail of a long text and count what lies between."""
    if len(text) <= limit:
        return text, False
    head = text[: limit // 2]
    tail = text[-(limit - limit // 2) :]
    missing = len(text) - len(head) - len(tail)
    return f"{head}\n[... {missing} characters left out ...]\n{tail}", True
