"""Grep: search file contents with ripgrep."""

from __future__ import annotations

import os
import stat

from orchestrator_tools import search
from orchestrator_tools.children import Ended
from orchestrator_tools.contract import ToolResult, text_result
from orchestrator_tools.errors import NotFound, ToolError
from orchestrator_tools.output import (
    CONTEXT_LIMIT,
    HEAD_LIMIT,
    LINE_LIMIT,
    MATCH_LIMIT,
    MULTILINE_LIMIT,
    PATTERN_LIMIT,
    TEXT_LIMIT,
    cut_line,
    shown_text,
)
from orchestrator_tools.place import Place
from orchestrator_tools.values import field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    Line = tuple[bytes, "bytes | None"]
    """A path and the rest of a line; no rest is a mark between places."""

NAME = "Grep"
EFFECT = "none"
DESCRIPTION = (
    "Search file contents with a regular expression (ripgrep). Ignored files are left out. "
    "output_mode: files_with_matches (newest first), content or count."
)
FILES, CONTENT, COUNT = MODES = ("files_with_matches", "content", "count")
BREAK = b"--"
"""What ripgrep prints between places that do not touch."""
BINARY = b": binary file matches"
FILE = b"\0"
"""Stands for the rest of the line where only files are listed."""


@frozen
class Arguments:
    """What is looked for by content."""

    pattern: str = field(metadata={"doc": "Regular expression"})
    path: str | None = field(default=None, metadata={"doc": "File or folder; the cwd if absent"})
    glob: str | None = field(default=None, metadata={"doc": 'Only such files, e.g. "*.py"'})
    type: str | None = field(default=None, metadata={"doc": 'ripgrep file type, e.g. "py"'})
    output_mode: str = field(default=FILES, metadata={"enum": MODES})
    after: int | None = field(default=None, metadata={"name": "-A", "ge": 0})
    before: int | None = field(default=None, metadata={"name": "-B", "ge": 0})
    around: int | None = field(default=None, metadata={"name": "-C", "ge": 0})
    context: int | None = field(default=None, metadata={"doc": "Same as -C", "ge": 0})
    numbers: bool = field(default=True, metadata={"name": "-n"})
    ignore_case: bool = field(default=False, metadata={"name": "-i"})
    only_matching: bool = field(default=False, metadata={"name": "-o"})
    multiline: bool = field(default=False, metadata={"doc": "Let . match line ends"})
    head_limit: int = field(
        default=HEAD_LIMIT, metadata={"doc": "Lines or files; 0 for all", "ge": 0}
    )
    offset: int = field(default=0, metadata={"doc": "Skip so many first", "ge": 0})


def run(arguments: Arguments, place: Place) -> ToolResult:
    """Search file contents."""
    target = place.path(arguments.path or ".")
    shown = place.shown(target)
    _refuse_special(target, shown)
    relative = os.path.relpath(target, place.cwd)
    # A dash alone would be stdin.
    where = "./" if relative == "." else target if relative.startswith("..") else f"./{relative}"
    tail = [f"--regexp={arguments.pattern}", "--", where]
    flags = _flags(arguments)
    ended = _searched([place.rg, *flags, *tail], place.cwd)
    if ended.flooded:
        # Which part of a flood comes first is chance, unless it is searched in order.
        ended = _searched([place.rg, *flags, "--sort=path", *tail], place.cwd)
    if arguments.output_mode == FILES:
        names = [_named(name) for name in ended.output.split(b"\0") if name]
        ordered = names if ended.flooded else search.newest_first(names, place.cwd)
        return _answer(arguments, [(os.fsencode(name), FILE) for name in ordered], ended)
    return _answer(arguments, _by_path(ended.output, broken=any(_around(arguments))), ended)


def _flags(arguments: Arguments) -> list[str]:
    flags = [*search.FLAGS, "--no-heading", "--null"]
    flags += [f"--max-columns={LINE_LIMIT}", "--max-columns-preview"]
    flags.append(f"--regex-size-limit={PATTERN_LIMIT}")
    if arguments.output_mode == FILES:
        flags.append("--files-with-matches")
    elif arguments.output_mode == COUNT:
        flags += ["--with-filename", "--count"]
    else:
        flags += ["--with-filename"]
        flags.append("--line-number" if arguments.numbers else "--no-line-number")
        flags += ["--only-matching"] if arguments.only_matching else []
        before, after = _around(arguments)
        flags += [f"--before-context={before}"] if before else []
        flags += [f"--after-context={after}"] if after else []
    flags += ["--ignore-case"] if arguments.ignore_case else []
    if arguments.multiline:
        flags += ["--multiline", "--multiline-dotall", f"--max-filesize={MULTILINE_LIMIT}"]
    flags += [f"--glob={arguments.glob.removeprefix('./')}"] if arguments.glob else []
    flags.append(search.NO_GIT)
    flags += [f"--type={arguments.type}"] if arguments.type else []
    return flags


def _around(arguments: Arguments) -> tuple[int, int]:
    """Return how many lines before and after a match are wanted; the narrower wish counts."""
    around = arguments.around if arguments.around is not None else arguments.context
    before = arguments.before if arguments.before is not None else around
    after = arguments.after if arguments.after is not None else around
    return min(before or 0, CONTEXT_LIMIT), min(after or 0, CONTEXT_LIMIT)


def _refuse_special(path: str, shown: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        raise NotFound(f"{shown} does not exist") from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ToolError(f"{shown} is neither a file nor a folder")


def _searched(argv: list[str], cwd: str) -> Ended:
    ended = search.run(argv, cwd)
    if ended.status > 1 and not ended.output and not ended.late:
        raise ToolError(ended.errors.strip()[:2000] or f"rg ended with status {ended.status}")
    return ended


def _by_path(output: bytes, *, broken: bool) -> list[Line]:
    """Put the lines that were found in the order of their files, as one thread finds them.

    Args:
        output: what ripgrep printed: a path, a NUL, the rest of the line.
        broken: whether it prints a mark between places that do not touch.
    """
    groups: dict[bytes, list[bytes | None]] = {}
    path, before = b"", b""
    pieces = output.split(b"\n")
    pieces.pop()
    for piece in pieces:
        name, found, rest = piece.partition(b"\0")
        if found:
            path, before = before + name, b""
            groups.setdefault(path, []).append(rest)
        elif BINARY in piece:
            path, _, rest = piece.partition(BINARY)
            groups.setdefault(path, []).append(BINARY + rest)
        elif piece == BREAK and broken:
            groups.get(path, []).append(None)
        else:
            before += piece + b"\n"  # of a name that holds a line end
    lines: list[Line] = []
    for path in sorted(groups):
        group = groups[path]
        if group[-1] is None:
            group.pop()
        lines += [(b"", None)] if broken and lines else []
        lines += [(path, rest) for rest in group]
    return lines


def _shown(line: Line) -> str:
    """Join path and rest by what stands between a line's number and its text."""
    path, rest = line
    if rest is None:
        return BREAK.decode()
    if rest == FILE:
        return _named(path)
    if rest.startswith(BINARY):
        return f"{_named(path)}{rest.decode('utf-8', 'replace')}"
    text = rest.removesuffix(b"\r")
    after = text.lstrip(b"0123456789")
    mark = "-" if len(after) < len(text) and after.startswith(b"-") else ":"
    return f"{_named(path)}{mark}{text.decode('utf-8', 'replace')}"


def _named(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape").removeprefix("./")


def _answer(arguments: Arguments, found: list[Line], ended: Ended) -> ToolResult:
    total = len(found)
    if not total:
        return text_result(f"No matches{search.note(ended)}", matches=0)
    end = arguments.offset + arguments.head_limit if arguments.head_limit else total
    page: list[str] = []
    size = 0
    for line in found[arguments.offset : end]:
        shown = cut_line(_shown(line), MATCH_LIMIT)
        size += len(shown) + 1
        if size > TEXT_LIMIT and page:
            break
        page.append(shown)
    if not page:
        return text_result(f"Nothing at offset {arguments.offset}: {total} in all", matches=total)
    text = shown_text("\n".join(page))
    last = arguments.offset + len(page)
    if last < total:
        text += f"\n({arguments.offset + 1}-{last} of {total}; go on with offset={last})"
    text += search.note(ended)
    cut = last < total or ended.flooded or ended.late
    return text_result(text, matches=total, truncated=cut)
