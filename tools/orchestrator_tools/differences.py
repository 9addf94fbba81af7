"""What has changed in a file since it was seen, said in a few lines."""

from __future__ import annotations

import difflib

from orchestrator_tools.output import DIFFERENCE_LINES, cut_line

COMPARED = 800
"""Lines compared one by one; of a larger change only the place is told."""
WIDTH = 300


def what_changed(before: bytes, after: bytes) -> str:
    """Tell what differs between what was seen and what is there now, by the lines of today."""
    if _unended(before) == _unended(after):
        return "Only its line ends changed: " + f"{_ends(before)} became {_ends(after)}"
    old, new = _lines(before), _lines(after)
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    old, new = old[head : len(old) - tail], new[head : len(new) - tail]
    if len(old) > COMPARED or len(new) > COMPARED:
        return f"What changed: {len(old)} lines became {len(new)}, from line {head + 1} on"
    said = _differences(old, new, head)
    more = len(said) - DIFFERENCE_LINES
    if more > 0:
        said = [*said[:DIFFERENCE_LINES], f"(and {more} more lines)"]
    return "\n".join(["What changed (- as it was seen, + as it is now, by line number):", *said])


def _differences(old: list[str], new: list[str], head: int) -> list[str]:
    said: list[str] = []
    for kind, old_at, old_end, new_at, new_end in difflib.SequenceMatcher(
        None, old, new
    ).get_opcodes():
        if kind == "equal":
            continue
        looks_same = [one.strip() for one in old[old_at:old_end]] == [
            one.strip() for one in new[new_at:new_end]
        ]
        said += [f"-{_shown(line, looks_same)}" for line in old[old_at:old_end]]
        said += [
            f"+{head + number + 1}\t{_shown(new[number], looks_same)}"
            for number in range(new_at, new_end)
        ]
    return said


def _shown(line: str, looks_same: bool) -> str:
    """Return a line, spelled out where it would look like another that it is not."""
    return repr(cut_line(line, WIDTH)) if looks_same else cut_line(line.rstrip("\r"), WIDTH)


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8", "replace").split("\n")


def _common(one: list[str], other: list[str]) -> int:
    """Count the lines that both begin with."""
    for index, (mine, theirs) in enumerate(zip(one, other)):
        if mine != theirs:
            return index
    return min(len(one), len(other))


def _unended(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n")


def _ends(data: bytes) -> str:
    crlf = data.count(b"\r\n")
    if not crlf:
        return "LF"
    return "CRLF" if crlf == data.count(b"\n") else "a mixture of LF and CRLF"
