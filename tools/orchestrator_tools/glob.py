"""Glob: find files by name, newest first."""

from __future__ import annotations

import fnmatch
import os
import re

from orchestrator_tools import search
from orchestrator_tools.contract import ToolResult, text_result
from orchestrator_tools.errors import NotFound, ToolError
from orchestrator_tools.output import (
    GLOB_ALTERNATIVES,
    GLOB_FILES,
    GLOB_LENGTH,
    GLOB_PARTS,
    shown_text,
)
from orchestrator_tools.place import Place
from orchestrator_tools.values import field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Fits = Callable[[str], object]

NAME = "Glob"
EFFECT = "none"
DESCRIPTION = (
    'Find files by pattern, e.g. "src/**/*.{py,toml}", newest first. Ignored files are left out.'
)


@frozen
class Arguments:
    """What is looked for by name."""

    pattern: str = field(metadata={"doc": "Glob pattern"})
    path: str | None = field(default=None, metadata={"doc": "Folder; the cwd if absent"})


def run(arguments: Arguments, place: Place) -> ToolResult:
    """Find files by name."""
    pattern, folder = arguments.pattern, place.path(arguments.path or ".")
    if len(pattern) > GLOB_LENGTH:
        raise ToolError(f"the pattern has more than {GLOB_LENGTH} characters")
    if os.path.isabs(pattern):
        folder, pattern = _split_absolute(pattern)
        pattern = f"./{pattern}"
    shown = place.shown(folder)
    if not os.path.isdir(folder):
        raise NotFound(f"{shown} is not a folder")
    matchers = [_matcher(one) for one in expand_braces(pattern)]
    argv = [place.rg, *search.FLAGS, "--files", search.NO_GIT, "--null"]
    ended = search.run(argv, folder)
    names = ended.output.decode("utf-8", "surrogateescape").split("\0")
    names.pop()  # what follows the last NUL: nothing, or a name that was cut
    if len(matchers) == 1:
        found = list(filter(matchers[0], names))
    else:
        found = [name for name in names if any(fits(name) for fits in matchers)]
    return _answer(search.newest_first(found, folder), folder, place, search.note(ended))


def _answer(found: list[str], folder: str, place: Place, note: str) -> ToolResult:
    if not found:
        return text_result(f"No files found{note}", files=0, truncated=bool(note))
    shown = [place.shown(os.path.join(folder, name)) for name in found[:GLOB_FILES]]
    text = shown_text("\n".join(shown))
    more = len(found) > GLOB_FILES
    if more:
        text += f"\n({GLOB_FILES} of {len(found)} files; narrow the pattern to see the others)"
    return text_result(text + note, files=len(found), truncated=more or bool(note))


def _split_absolute(pattern: str) -> tuple[str, str]:
    parts = pattern.split("/")
    fixed = 1
    while fixed < len(parts) - 1 and not re.search(r"[*?\[{]", parts[fixed]):
        fixed += 1
    return "/".join(parts[:fixed]) or "/", "/".join(parts[fixed:])


def expand_braces(pattern: str) -> list[str]:
    """Expand ``{a,b}`` sets, nested ones too, up to a bound.

    Raises:
        ToolError: more alternatives than the bound.
    """
    done: list[str] = []
    waiting = [pattern]
    while waiting:
        if len(done) + len(waiting) > GLOB_ALTERNATIVES:
            raise ToolError(f"the pattern has more than {GLOB_ALTERNATIVES} alternatives")
        one = waiting.pop()
        inner = re.search(r"\{([^{}]*)\}", one)
        if inner is None or "," not in inner.group(1):
            done.append(one)
            continue
        before, after = one[: inner.start()], one[inner.end() :]
        waiting += [before + choice + after for choice in inner.group(1).split(",")]
    return done


def _matcher(pattern: str) -> Fits:
    """Compile a pattern; ``**`` stands for any number of folders, none included."""
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if len(parts) > GLOB_PARTS:
        raise ToolError(f"the pattern has more than {GLOB_PARTS} parts")
    if "/" not in pattern:
        parts = ["**", *parts]
    tests: list[Any] = []
    for part in parts:
        if part != "**":
            tests.append(re.compile(fnmatch.translate(part)).match)
        elif not tests or tests[-1] is not None:
            tests.append(None)
    if tests.count(None) > 1:
        return _anywhere(tests)
    if None not in tests:
        return _between(tests, None, [])
    at = tests.index(None)
    return _between(tests[:at], at, tests[at + 1 :])


def _between(head: list[Any], stars: int | None, tail: list[Any]) -> Fits:
    """Match what stands before and after the only ``**``, or the whole where there is none."""
    if stars == 0 and len(tail) == 1:
        fits_last = tail[0]
        return lambda name: fits_last(name[name.rfind("/") + 1 :])
    least = len(head) + (len(tail) or stars is not None)

    def matches(name: str) -> bool:
        pieces = name.split("/")
        if len(pieces) < least or (stars is None and len(pieces) != least):
            return False
        last = pieces[len(pieces) - len(tail) :]
        return all(fits(piece) for fits, piece in zip(head, pieces)) and all(
            fits(piece) for fits, piece in zip(tail, last)
        )

    return matches


def _anywhere(tests: list[Any]) -> Fits:
    """Match a pattern with several ``**``, in a time that only their number multiplies."""

    def matches(name: str) -> bool:
        pieces = name.split("/")
        # Which numbers of pieces can have been used up by the parts so far.
        used = {0}
        for index, fits in enumerate(tests):
            if fits is None:
                last = index == len(tests) - 1
                used = set(range(min(used) + last, len(pieces) + 1))
            else:
                used = {at + 1 for at in used if at < len(pieces) and fits(pieces[at])}
            if not used:
                return False
        return len(pieces) in used

    return matches
