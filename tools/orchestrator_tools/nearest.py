"""Where a text that is not in a file nearly stands, and what differs: enough for one retry."""

from __future__ import annotations

import difflib
import html
import re
import unicodedata
from collections import Counter

from orchestrator_tools.output import DIFFERENCE_LINES, fit_lines, number_lines
from orchestrator_tools.values import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[[str], str]

BYTES_COMPARED = 2 * 1024 * 1024
LINES_COMPARED = 40_000
SHOWN_LIMIT = 8_000
WORK_LIMIT = 20_000_000
"""Pairs of characters that a comparison of lines by likeness may look at."""
LIKENESS = 0.6
WIDTH = 300

QUOTES = str.maketrans(
    dict.fromkeys('"`\u2018\u2019\u201a\u201b\u2032\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb', "'")
)
DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"))
UNSEEN = str.maketrans(dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f", ""))
ALIKE = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0445\u0443\u0456\u0458\u0455\u043a\u043c\u0442"
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u0406"
    "\u03bf\u03bd\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7",
    "aeopcxyijskmtABEKMHOPCTXIovABEZHIKMNOPTYX",
)


def _alike(line: str) -> str:
    return line if line.isascii() else unicodedata.normalize("NFKC", line).translate(ALIKE)


KINDS: dict[str, Change] = {
    "characters that look alike": _alike,
    "invisible characters": lambda line: line.translate(UNSEEN),
    "quotes": lambda line: line.translate(QUOTES),
    "dashes": lambda line: line.translate(DASHES),
    "upper and lower case": str.casefold,
    "carriage returns": lambda line: line.replace("\r", ""),
    "white space at line ends": str.rstrip,
    "the indentation": str.lstrip,
    "white space within lines": lambda line: "".join(line.split()),
}
"""What is easily mistaken, and how to leave it out of account; the later ones take in more."""

BLANK_LINES = "blank lines"

SPELLINGS: dict[str, Change] = {
    "": lambda old: old,
    "the line numbers, which are not part of the file": lambda old: re.sub(
        r"^[ \t]*\d+\t", "", old, flags=re.MULTILINE
    ),
    "backslash escapes": lambda old: re.sub(
        r"\\(.)", lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), old
    ),
    "HTML entities": html.unescape,
}
"""What models do to a text that they copy, and how to take it back."""


@frozen
class Found:
    """A place in a file: its first line, counted from 0, the number of lines, and what differs."""

    at: int
    span: int
    kinds: list[str]


def describe(old: str, data: bytes, shown: str) -> str:
    """Say where a text nearly stands in a file, and what differs."""
    text = data[:BYTES_COMPARED].decode("utf-8", "replace")
    lines = text.split("\n")[:LINES_COMPARED]
    for spelling, change in SPELLINGS.items():
        wanted = change(old).split("\n")
        if spelling and "\n".join(wanted) == old:
            continue
        found = _same_but_for(lines, wanted, [spelling] if spelling else [])
        if found is not None:
            kinds = _listed(found.kinds)
            said = f"lines {found.at + 1}-{found.at + found.span} differ from it only in {kinds}"
            if found.span == 1:
                said = f"line {found.at + 1} differs from it only in {kinds}"
            return _answer(shown, said, lines, found, wanted if not spelling else old.split("\n"))
    wanted = old.split("\n")
    at = _likest(lines, wanted)
    if at < 0:
        return f"old_string is not in {shown}, nor anything like it"
    found = Found(at, min(len(wanted), len(lines) - at), [])
    return _answer(shown, "the nearest place is", lines, found, wanted)


def _listed(kinds: list[str]) -> str:
    return " and ".join([", ".join(kinds[:-1]), kinds[-1]] if len(kinds) > 1 else kinds)


def _answer(shown: str, said: str, lines: list[str], found: Found, wanted: list[str]) -> str:
    there = lines[found.at : found.at + min(found.span, DIFFERENCE_LINES)]
    page, _ = fit_lines([line.rstrip("\r") for line in there], SHOWN_LIMIT)
    answer = f"old_string is not in {shown}; {said}:\n{number_lines(page, found.at + 1)}"
    if len(page) < found.span:
        answer += f"\n(and {found.span - len(page)} more lines)"
    return answer + _first_difference(there, wanted, found.at)


def _first_difference(there: list[str], wanted: list[str], at: int) -> str:
    """Name the first line that is not what the text says, spelled out so that all is seen."""
    for index, (own, asked) in enumerate(zip(there, wanted)):
        middle = 0 < index < len(wanted) - 1
        if own != asked and (middle or asked not in own):
            column = next(
                (place for place, (a, b) in enumerate(zip(own, asked)) if a != b),
                min(len(own), len(asked)),
            )
            start = max(column - 40, 0) if len(own) > 100 or len(asked) > 100 else 0
            spell = repr if own.isascii() and asked.isascii() else ascii
            has, is_there = (spell(one[start : start + 100]) for one in (asked, own))
            return f"\nLine {at + index + 1}: old_string has {has}, the file has {is_there}"
    return ""


def _same_but_for(lines: list[str], wanted: list[str], spelled: list[str]) -> Found | None:
    """Find the text where everything that is easily mistaken is left out of account."""
    every = list(KINDS)
    own, numbers = _reduced(lines, every, blank=False)
    asked, _ = _reduced(wanted, every, blank=False)
    if not asked.strip():
        return None
    position = own.find(asked)
    if position < 0:
        return None
    first = own.count("\n", 0, position)
    last = own.count("\n", 0, position + len(asked))
    at, end = numbers[first], numbers[last] + 1
    window = lines[max(at - _blanks(wanted), 0) : end + _blanks(wanted[::-1])]
    kinds = [*every, BLANK_LINES]
    for kind in (BLANK_LINES, *reversed(every)):
        fewer = [one for one in kinds if one != kind]
        blank = BLANK_LINES not in fewer
        if _reduced(wanted, fewer, blank=blank)[0] in _reduced(window, fewer, blank=blank)[0]:
            kinds = fewer
    return Found(at, end - at, [*spelled, *kinds]) if spelled or kinds else None


def _blanks(lines: list[str]) -> int:
    """Count the blank lines at the start."""
    return next((number for number, line in enumerate(lines) if line.strip()), len(lines))


def _reduced(lines: list[str], kinds: list[str], *, blank: bool) -> tuple[str, list[int]]:
    """Reduce lines to what must agree, and tell which line each reduced one was."""
    kept: list[str] = []
    numbers: list[int] = []
    changes = [KINDS[kind] for kind in kinds if kind in KINDS]
    for number, line in enumerate(lines):
        reduced = line
        for change in changes:
            reduced = change(reduced)
        if blank or reduced.strip():
            kept.append(reduced)
            numbers.append(number)
    return "\n".join(kept), numbers


def _likest(lines: list[str], wanted: list[str]) -> int:
    """Return the line where most of the text's lines stand, or one that is like its longest."""
    stripped = [line.strip()[:WIDTH] for line in lines]
    asked = [line.strip()[:WIDTH] for line in wanted]
    places: dict[str, list[int]] = {line: [] for line in asked if len(line) > 2}
    for number, line in enumerate(stripped):
        if line in places and len(places[line]) < 50:
            places[line].append(number)
    votes: Counter[int] = Counter()
    for index, line in enumerate(asked):
        for number in places.get(line, ()):
            votes[max(number - index, 0)] += len(line)
    if votes:
        return max(votes, key=lambda start: (votes[start], -start))
    index = max(range(len(asked)), key=lambda one: len(asked[one]))
    number = _alike_line(stripped, asked[index])
    return max(number - index, 0) if number >= 0 else -1


def _alike_line(lines: list[str], wanted: str) -> int:
    """Return the line that is most like one, or -1; the work is bounded."""
    best, best_ratio, work = -1, LIKENESS, 0
    matcher = difflib.SequenceMatcher(b=wanted)
    for number, line in enumerate(lines):
        matcher.set_seq1(line)
        if matcher.real_quick_ratio() < best_ratio or matcher.quick_ratio() < best_ratio:
            continue
        work += len(line) * len(wanted) + 100
        if work > WORK_LIMIT:
            break
        ratio = matcher.ratio()
        if ratio > best_ratio:
            best, best_ratio = number, ratio
    return best
