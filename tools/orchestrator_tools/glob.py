"""Glob: find files by name, newest first."""

from __future__ import annotations

import fnmatch
import os
import re
from dataclasses import dataclass, field
from typing import Callable

from orchestrator_tools.contract import ToolResult, text_result
from orchestrator_tools.errors import NotFound, ToolError
from orchestrator_tools.grep import newest_first, run_bounded
from orchestrator_tools.place import Place

NAME = "Glob"
EFFECT = "none"
DESCRIPTION = (
    'Find files by pattern, e.g. "src/**/*.{py,toml}", newest first. Ignored files are left out.'
)
MOST = 100
ALTERNATIVES = 64


@dataclass(frozen=True)
class Arguments:
    pattern: str = field(metadata={"doc": "Glob pattern"})
    path: str | None = field(default=None, metadata={"doc": "Folder; the cwd if absent"})


def run(arguments: Arguments, place: Place) -> ToolResult:
    """Find files by name."""
    pattern, folder = arguments.pattern, place.path(arguments.path or ".")
    if os.path.isabs(pattern):
        folder, pattern = _split_absolute(pattern)
        pattern = f"./{pattern}"
    shown = place.shown(folder)
    if not os.path.isdir(folder):
        raise NotFound(f"{shown} is not a folder")
    matchers = [_matcher(one) for one in expand_braces(pattern)]
    argv = [
        place.rg,
        "--no-config",
        "--files",
        "--hidden",
        "--no-messages",
        "--glob=!.git",
        "--null",
    ]
    output, _, _ = run_bounded(argv, folder)
    names = [name.decode("utf-8", "surrogateescape") for name in output.split(b"\0") if name]
    names = [name.removeprefix("./") for name in names]
    found = newest_first([name for name in names if any(m(name) for m in matchers)], folder)
    return _answer(found, folder, place)


def _answer(found: list[str], folder: str, place: Place) -> ToolResult:
    if not found:
        return text_result("No files found", files=0)
    shown = [place.shown(os.path.join(folder, name)) for name in found[:MOST]]
    text = "\n".join(shown).encode("utf-8", "replace").decode("utf-8")
    if len(found) > MOST:
        text += f"\n({MOST} of {len(found)} files; narrow the pattern to see the others)"
    return text_result(text, files=len(found), truncated=len(found) > MOST)


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
        if len(done) + len(waiting) > ALTERNATIVES:
            raise ToolError(f"the pattern has more than {ALTERNATIVES} alternatives")
        one = waiting.pop()
        inner = re.search(r"\{([^{}]*)\}", one)
        if inner is None or "," not in inner.group(1):
            done.append(one)
            continue
        before, after = one[: inner.start()], one[inner.end() :]
        waiting += [before + choice + after for choice in inner.group(1).split(",")]
    return done


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Compile a pattern; ``**`` stands for any number of folders, none included."""
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if len(parts) > 32:
        raise ToolError("the pattern has more than 32 parts")
    if "/" not in pattern:
        parts = ["**", *parts]
    tests = [None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts]

    def matches(name: str) -> bool:
        pieces = name.split("/")
        memo: dict[tuple[int, int], bool] = {}

        def at(part: int, piece: int) -> bool:
            key = (part, piece)
            if key not in memo:
                memo[key] = step(part, piece)
            return memo[key]

        def step(part: int, piece: int) -> bool:
            if part == len(tests):
                return piece == len(pieces)
            test = tests[part]
            if test is None:
                last = part == len(tests) - 1
                return (last and piece < len(pieces)) or any(
                    at(part + 1, later) for later in range(piece, len(pieces))
                )
            return (
                piece < len(pieces) and bool(test.match(pieces[piece])) and at(part + 1, piece + 1)
            )

        return at(0, 0)

    return matches
