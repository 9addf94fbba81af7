"""What a checking tool complains of, told apart from what it complained of before."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from orchestrator.ports import CommandRun
from orchestrator.records import VerdictState

OUTPUT = 8 * 1024 * 1024
"""Bytes of a tool's output that are compared."""
SHOWN = 100
"""New messages that are told."""
KILLED = 126
"""From here on an exit status is the shell's: not found, or ended by a signal."""

COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
PLACE = re.compile(
    r"^(?P<path>[^\s:()][^:()]*?)(?::\d+(?:[:,]\d+)?(?:-\d+(?::\d+)?)?|\(\d+(?:,\d+)?\))(?=[:\s,]|$)"
)
ARROW = re.compile(r"^\s*-->\s*(?P<path>.+?):\d+(?::\d+)?\s*$")
BELOW = re.compile(r"^\s+\d+:\d+\s+(?P<said>\S.*)$")
"""A message under the name of its file, as eslint prints them."""
TITLE = re.compile(r"^(?:[A-Za-z]:)?[./\w@-][^\s:]*\.\w+$")
FRAME = re.compile(r"^\s*\d*\s*(?:\||\^|\.\.\.)")
LONGEST = 4000
SUMMARY = re.compile(
    r"^\W*(?:found |all |success|oh no|checked )?(?:\d+|no|all) "
    r"(?:\w+ )?(?:file|error|warning|problem|issue|fix|check|note|hidden)"
    r"|^\W*(?:all done|oh no|success|finished|checking|compiling|error: could not compile)\b"
    r"|^\W*(?:warn\W+)?code style issues|^\W*\[\*\]|^(?:error|warning): .*generated \d+ ",
    re.IGNORECASE,
)
LINES = re.compile(r"\b(lines?|columns?) \d+(?:-\d+)?", re.IGNORECASE)


def compare(before: CommandRun, now: CommandRun) -> tuple[VerdictState, str, str]:
    """Judge a check that failed by what it did not complain of on the base.

    Args:
        before: the same command on the base.
        now: the command on the commit; its exit status is not 0.

    Returns:
        The state, the reason, and the new messages.
    """
    failed = f"exit status {now.exit_status}"
    for why in _not_comparable(before, now):
        return "failed", f"{failed}{why}", now.output
    old = Counter(key for key, _ in _each(before.output))
    new = list(_each(now.output))
    fresh = list(_beyond(old, new))
    if fresh:
        told = "\n".join(fresh[:SHOWN])
        more = f"\n... and {len(fresh) - SHOWN} more" if len(fresh) > SHOWN else ""
        return "failed", f"{len(fresh)} messages that the base does not have", told + more
    if not any(key for key, _ in new):
        return "failed", f"{failed}, and nothing that it says can be compared", now.output
    return "passed", f"{failed}, but nothing new: all {len(new)} are on the base too", now.output


def _not_comparable(before: CommandRun, now: CommandRun) -> Iterator[str]:
    if before.exit_status == 0:
        yield "; the base has no such errors"
    if before.exit_status is None:
        yield "; on the base it took too long to be compared"
    if now.exit_status != before.exit_status or (now.exit_status or 0) >= KILLED:
        yield f", {before.exit_status} on the base"
    if max(_size(before), _size(now)) >= OUTPUT:
        yield "; it says too much to be compared with the base"


def _size(done: CommandRun) -> int:
    return len(done.output.encode("utf-8", "replace"))


def _beyond(old: Counter[str], new: list[tuple[str, str]]) -> Iterator[str]:
    """Yield the lines that are more often there than before."""
    left = Counter(old)
    for key, line in new:
        if left[key] > 0:
            left[key] -= 1
        else:
            yield line


def _each(output: str) -> Iterator[tuple[str, str]]:
    """Yield every message: what it says wherever it stands, and the line itself."""
    title = ""
    for raw in COLOURS.sub("", output).splitlines():
        line = raw.rstrip()[:LONGEST]
        below = BELOW.match(line)
        arrow = ARROW.match(line)
        if below and title:
            yield f"{title}: {_worded(below['said'])}", f"{title}: {line.strip()}"
        elif arrow:
            yield f"--> {arrow['path']}", line
        elif not line.strip() or FRAME.match(line) or SUMMARY.match(line):
            continue
        elif TITLE.match(line) and not PLACE.match(line):
            title = line
            yield title, line
        else:
            yield _key(line.strip()), line


def _key(line: str) -> str:
    place = PLACE.match(line)
    if place:
        return f"{place['path']}: {_worded(line[place.end() :])}"
    return _worded(line)


def _worded(text: str) -> str:
    """Return what a message says, without the lines that it points to."""
    return " ".join(LINES.sub(r"\1", text).split()).lstrip(": ")
