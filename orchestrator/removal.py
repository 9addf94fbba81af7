"""Removing what an agent has written."""

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


def _removed(path: str) -> str:
    """Remove a tree by ``rm``, which no depth can stop; return what it complains of."""
    command = ["rm", "-rf", "--one-file-system", "--", path]
    try:
        done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        shutil.rmtree(path, ignore_errors=True)
        return "rm is not installed" if os.path.lexists(path) else ""
    return done.stderr.decode("utf-8", "replace").strip()[-200:] if done.returncode else ""
