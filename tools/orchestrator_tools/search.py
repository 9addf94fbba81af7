"""Runs ripgrep: with bounds, and with one thread where more cannot be had."""

from __future__ import annotations

import os

from orchestrator_tools import children
from orchestrator_tools.children import Bounds, Ended
from orchestrator_tools.errors import ToolError
from orchestrator_tools.output import SEARCH_LIMIT, SEARCH_SECONDS

FLAGS = ("--no-config", "--color=never", "--hidden", "--no-messages", "--no-require-git")
"""What every search has: no settings of the machine, ignore files honoured in any folder."""

LONGEST = 16_000
"""Characters of one argument: in any encoding fewer bytes than a kernel takes."""

NO_THREAD = b"failed to spawn thread"
NO_GIT = "--glob=!.git"

SECONDS: float = SEARCH_SECONDS
LIMIT: int = SEARCH_LIMIT


def run(argv: list[str], cwd: str) -> Ended:
    """Run ripgrep within its time and its output; what it found until then counts.

    Raises:
        ToolError: it found nothing in its time.
    """
    if any("\0" in word for word in argv):
        raise ToolError("a pattern or path cannot hold a NUL character")
    if any(len(word) > LONGEST for word in argv):
        raise ToolError(f"a pattern or path has more than {LONGEST} characters; search for less")
    ended = children.run(argv, Bounds(SECONDS, LIMIT, fatal=NO_THREAD), cwd=cwd)
    if ended.stopped:
        # Those of its threads that did start would wait for the missing one for ever.
        argv = [argv[0], "--threads=1", *argv[1:]]
        ended = children.run(argv, Bounds(SECONDS, LIMIT), cwd=cwd)
    if ended.late and not ended.output:
        raise ToolError(f"the search took more than {SECONDS} s; narrow it")
    return ended


def note(ended: Ended) -> str:
    """Return what must be said of a search that did not come to its end, or nothing."""
    if ended.late:
        return f"\n(the search was ended after {SECONDS} s: there may be more; narrow it)"
    if ended.flooded:
        return f"\n(the search was ended after {LIMIT} bytes: there is more; narrow it)"
    return ""


def newest_first(paths: list[str], cwd: str) -> list[str]:
    """Order paths by the time of their last change, newest first, names breaking ties."""

    def key(path: str) -> tuple[int, str]:
        try:
            return (-os.lstat(os.path.join(cwd, path)).st_mtime_ns, path)
        except OSError:
            return (0, path)

    return sorted(paths, key=key)
