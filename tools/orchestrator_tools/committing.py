"""The commit at the end of a run: all that the agent left, and where HEAD is then."""

from __future__ import annotations

import os

from orchestrator_tools.errors import ToolError
from orchestrator_tools.gitstate import remove
from orchestrator_tools.snapshot import add_all, run_git, try_git

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

POINTS = "ref: "
BRANCHES = "refs/heads/"
NOT_IN_NAMES = frozenset(":?*[\\^~")
DIGITS = frozenset("0123456789abcdef")
LINE_BYTES = 4096


def commit(git: str, workspace: str, message: str, turn: int | None = None) -> dict[str, Any]:
    """Commit what is left uncommitted, and say where HEAD is.

    Args:
        git: the private git directory.
        workspace: the work tree.
        message: of the commit.
        turn: after which this is done; what is set aside then is told again to who asks again.
    """
    remove_locks(git)
    index = os.path.join(git, "index")
    before = _mark(index)
    aside = add_all(git, workspace, None, turn)
    # A merge whose result is what was there before has no difference, and is a commit all the same.
    merging = os.path.exists(os.path.join(git, "MERGE_HEAD"))
    # Where staging has changed the index there is almost always something to commit: git is asked
    # whether there is only where it has not, or where the commit failed.
    changed = merging or _mark(index) != before
    if changed or _differs(git, workspace):
        arguments = ("commit", "--quiet", "--no-verify", "--message", message)
        status, errors = try_git(git, workspace, arguments)
        if status and (merging or _differs(git, workspace)):
            raise ToolError(f"git commit failed: {errors.strip()[-500:]}")
    return {"head": head(git, workspace), "aside": aside}


def head(git: str, workspace: str) -> str:
    """Return the commit that HEAD names; git is asked where its files do not say so plainly."""
    said = _line(os.path.join(git, "HEAD"))
    # With this file refs would be somewhere else.
    plain = not os.path.lexists(os.path.join(git, "commondir"))
    branch = _branch(said) if plain else ""
    if branch:
        said = _line(os.path.join(git, branch))
    if len(said) in {40, 64} and DIGITS.issuperset(said):
        return said
    return run_git(git, workspace, "rev-parse", "HEAD").strip()


def _branch(said: str) -> str:
    """Return the branch that HEAD is said to be, where that is a plain name; else nothing."""
    if not said.startswith(POINTS + BRANCHES):
        return ""
    name = said[len(POINTS) :]
    strange = ".." in name or any(one.isspace() or one in NOT_IN_NAMES for one in name)
    return "" if strange or name == BRANCHES else name


def _line(path: str) -> str:
    """Return the line that a small file of git's consists of; empty where it does not."""
    try:
        with open(path, "rb") as file:
            said = file.read(LINE_BYTES)
    except OSError:
        return ""
    line, ended, rest = said.decode("utf-8", "surrogateescape").partition("\n")
    return line if ended and not rest else ""


def _differs(git: str, workspace: str) -> bool:
    """Tell whether something is staged."""
    return bool(try_git(git, workspace, ("diff", "--cached", "--quiet"))[0])


def _mark(path: str) -> tuple[int, int, int] | None:
    """Tell one state of a file from another: git replaces an index that it changes."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def remove_locks(git: str) -> None:
    """Remove the locks that killed commands have left; nothing runs beside a commit."""
    for name in os.listdir(git):
        if name.endswith(".lock"):
            remove(os.path.join(git, name))
    for folder, _, files in os.walk(os.path.join(git, "refs")):
        for name in files:
            if name.endswith(".lock"):
                remove(os.path.join(folder, name))
