"""Removing and copying what an agent has written."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from orchestrator.errors import WorkspaceError


def remove_tree(folder: Path) -> None:
    """Remove a folder that an agent has written to, however deep it is, whatever its modes.

    Raises:
        WorkspaceError: something of it is still there.
    """
    if not os.path.lexists(folder):
        return
    path = str(folder.absolute())
    said = _removed(path)
    if said and shutil.which("chmod"):
        subprocess.run(["chmod", "-R", "u+rwX", "--", path], capture_output=True, check=False)
        said = _removed(path)
    if said:
        raise WorkspaceError(f"{folder} cannot be removed: {said}")


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


def _removed(path: str) -> str:
    """Remove a tree by ``rm``, which no depth can stop; return what it complains of."""
    command = ["rm", "-rf", "--one-file-system", "--", path]
    try:
        done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        shutil.rmtree(path, ignore_errors=True)
        return "rm is not installed" if os.path.lexists(path) else ""
    return done.stderr.decode("utf-8", "replace").strip()[-200:] if done.returncode else ""
