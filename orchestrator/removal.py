"""Removing and copying what an agent has written."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator.errors import WorkspaceError

FEW, DEEP = 256, 16
"""Files and levels up to which no program is started to remove them: it costs as much as those."""
AS_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _TooMuch(Exception):
    """There is more than is removed quickly."""


def remove_tree(*folders: Path) -> None:
    """Remove folders that an agent has written to, however deep they are, whatever their modes.

    Raises:
        WorkspaceError: something of them is still there.
    """
    left = [one for one in folders if os.path.lexists(one) and not _is_quickly_removed(one)]
    if not left:
        return
    paths = [str(one.absolute()) for one in left]
    said = _removed(paths)
    if said and shutil.which("chmod"):
        asked = ["chmod", "-R", "u+rwX", "--", *paths]
        subprocess.run(asked, capture_output=True, check=False)
        said = _removed(paths)
    if said:
        raise WorkspaceError(f"{' '.join(map(str, left))} cannot be removed: {said}")


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder that an agent has written to, and that something may still write to.

    Args:
        source: what is copied; no link in it is followed.
        target: must not exist.

    Raises:
        WorkspaceError: something of it could not be copied, but for what vanished meanwhile.
    """
    command = ["cp", "-a", "--reflink=auto", "--", str(source.absolute()), str(target.absolute())]
    done = subprocess.run(
        command,
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
    )
    said = done.stderr.decode("utf-8", "replace").splitlines()
    problems = [one for one in said if not one.endswith("No such file or directory")]
    if problems or not target.is_dir():
        why = (problems or said or ["it is not there"])[-1]
        raise WorkspaceError(
            f"{source} cannot be copied: {why[-200:]}",
            hint="free some disk space, or look at the folder",
        )


def _is_quickly_removed(folder: Path) -> bool:
    """Remove a small folder without starting a program; tell whether all of it is gone.

    No link is followed, whatever is put in a folder's place meanwhile, and no other disk is
    entered. What is large, deep or in any way in the way is left to ``rm``.
    """
    try:
        opened = os.open(folder, AS_FOLDER)
    except OSError:
        return False
    try:
        room = iter(range(FEW))
        _empty(opened, os.fstat(opened).st_dev, room, DEEP)
        folder.rmdir()
    except (OSError, _TooMuch):
        return False
    finally:
        os.close(opened)
    return True


def _empty(opened: int, device: int, room: Iterator[int], depth: int) -> None:
    with os.scandir(opened) as listed:
        entries = list(itertools.islice(listed, FEW))
    for entry in entries:
        if next(room, None) is None:
            raise _TooMuch
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.name, dir_fd=opened)
            continue
        below = os.open(entry.name, AS_FOLDER, dir_fd=opened)
        try:
            if depth == 0 or os.fstat(below).st_dev != device:
                raise _TooMuch
            _empty(below, device, room, depth - 1)
        finally:
            os.close(below)
        os.rmdir(entry.name, dir_fd=opened)


def _removed(paths: Sequence[str]) -> str:
    """Remove trees by ``rm``, which no depth can stop; return what it complains of."""
    command = ["rm", "-rf", "--one-file-system", "--", *paths]
    try:
        done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        for path in paths:
            shutil.rmtree(path, ignore_errors=True)
        return "rm is not installed" if any(map(os.path.lexists, paths)) else ""
    return done.stderr.decode("utf-8", "replace").strip()[-200:] if done.returncode else ""
