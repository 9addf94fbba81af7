"""Grep: search file contents with ripgrep."""

from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import dataclass, field

from orchestrator_tools.contract import ToolResult, text_result
from orchestrator_tools.errors import NotFound, ToolError
from orchestrator_tools.output import TEXT_LIMIT, cut_line
from orchestrator_tools.place import Place

NAME = "Grep"
EFFECT = "none"
DESCRIPTION = (
    "Search file contents with a regular expression (ripgrep). Ignored files are left out. "
    "output_mode: files_with_matches (newest first), content or count."
)
SECONDS = 15
OUTPUT_LIMIT = 8 * 1024 * 1024
MODES = ("files_with_matches", "content", "count")


@dataclass(frozen=True)
class Arguments:
    pattern: str = field(metadata={"doc": "Regular expression"})
    path: str | None = field(default=None, metadata={"doc": "File or folder; the cwd if absent"})
    glob: str | None = field(default=None, metadata={"doc": 'Only such files, e.g. "*.py"'})
    type: str | None = field(default=None, metadata={"doc": 'ripgrep file type, e.g. "py"'})
    output_mode: str = field(default="files_with_matches", metadata={"enum": MODES})
    after: int | None = field(default=None, metadata={"name": "-A", "ge": 0})
    before: int | None = field(default=None, metadata={"name": "-B", "ge": 0})
    around: int | None = field(default=None, metadata={"name": "-C", "ge": 0})
    context: int | None = field(default=None, metadata={"doc": "Same as -C", "ge": 0})
    numbers: bool = field(default=True, metadata={"name": "-n"})
    ignore_case: bool = field(default=False, metadata={"name": "-i"})
    only_matching: bool = field(default=False, metadata={"name": "-o"})
    multiline: bool = field(default=False, metadata={"doc": "Let . match line ends"})
    head_limit: int = field(default=250, metadata={"doc": "Lines or files; 0 for all", "ge": 0})
    offset: int = field(default=0, metadata={"doc": "Skip so many first", "ge": 0})


def run(arguments: Arguments, place: Place) -> ToolResult:
    """Search file contents."""
    target = place.path(arguments.path or ".")
    shown = place.shown(target)
    _refuse_special(target, shown)
    relative = os.path.relpath(target, place.cwd)
    below = not relative.startswith("..")
    argv = [place.rg, *_flags(arguments), f"--regexp={arguments.pattern}", "--"]
    argv.append(relative if below else target)
    lines = _lines(argv, place.cwd)
    if below:
        lines = [line.removeprefix("./") for line in lines]
    if arguments.output_mode == "files_with_matches":
        lines = newest_first(lines, place.cwd)
    return _answer(arguments, lines)


def _flags(arguments: Arguments) -> list[str]:
    flags = ["--no-config", "--color=never", "--hidden", "--no-messages", "--no-heading"]
    flags += ["--max-columns=2000", "--max-columns-preview"]
    flags += ["--with-filename", "--sort=path"] if arguments.output_mode != MODES[0] else []
    if arguments.output_mode == "files_with_matches":
        flags += ["--files-with-matches", "--null"]
    elif arguments.output_mode == "count":
        flags.append("--count")
    else:
        flags.append("--line-number" if arguments.numbers else "--no-line-number")
        flags += ["--only-matching"] if arguments.only_matching else []
        around = arguments.around if arguments.around is not None else arguments.context
        for flag, value in (
            ("after-context", arguments.after if arguments.after is not None else around),
            ("before-context", arguments.before if arguments.before is not None else around),
        ):
            flags += [f"--{flag}={min(value, 1000)}"] if value else []
    flags += ["--ignore-case"] if arguments.ignore_case else []
    flags += ["--multiline", "--multiline-dotall"] if arguments.multiline else []
    flags += [f"--glob={arguments.glob}"] if arguments.glob else []
    flags.append("--glob=!.git")
    flags += [f"--type={arguments.type}"] if arguments.type else []
    return flags


def _refuse_special(path: str, shown: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        raise NotFound(f"{shown} does not exist") from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ToolError(f"{shown} is neither a file nor a folder")


def _lines(argv: list[str], cwd: str) -> list[str]:
    output, status, errors = run_bounded(argv, cwd)
    if status > 1 and not output:
        raise ToolError(errors.strip()[:2000] or f"rg ended with status {status}")
    lines = output.decode("utf-8", "replace").split("\0" if "--null" in argv else "\n")
    return [line.removesuffix("\r") for line in lines if line]


def run_bounded(argv: list[str], cwd: str) -> tuple[bytes, int, str]:
    """Run ripgrep with a bound on its time and its output."""
    if any("\0" in word for word in argv):
        raise ToolError("a pattern or path cannot hold a NUL character")
    with subprocess.Popen(
        argv,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            output, errors = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise ToolError(f"the search took more than {SECONDS} s; narrow it") from None
    return output[:OUTPUT_LIMIT], process.returncode, errors.decode("utf-8", "replace")


def newest_first(paths: list[str], cwd: str) -> list[str]:
    """Order paths by the time of their last change, newest first, names breaking ties."""

    def key(path: str) -> tuple[int, str]:
        try:
            return (-os.lstat(os.path.join(cwd, path)).st_mtime_ns, path)
        except OSError:
            return (0, path)

    return sorted(paths, key=key)


def _answer(arguments: Arguments, lines: list[str]) -> ToolResult:
    if not lines:
        return text_result("No matches", matches=0)
    total = len(lines)
    end = arguments.offset + arguments.head_limit if arguments.head_limit else total
    page = [cut_line(line, 500) for line in lines[arguments.offset : end]]
    if not page:
        return text_result(f"Nothing at offset {arguments.offset}: {total} in all", matches=total)
    kept, size = 0, 0
    for line in page:
        size += len(line) + 1
        if size > TEXT_LIMIT and kept:
            break
        kept += 1
    text = "\n".join(page[:kept])
    last = arguments.offset + kept
    if last < total:
        text += f"\n({arguments.offset + 1}-{last} of {total}; go on with offset={last})"
    return text_result(text, matches=total, truncated=last < total)
