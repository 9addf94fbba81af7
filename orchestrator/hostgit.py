"""Git on the host: every command hardened, none of git's own environment inherited."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from orchestrator.errors import DiskFull, RepositoryRefused, WorkspaceError

HARDENED = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.pager": "cat",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "log.showSignature": "false",
    "advice.detachedHead": "false",
}

NO_INDEX = "/nonexistent/index"
"""The index of commands that need none: somebody may just be writing the user's own."""

LEAST_ROOM = 1024 * 1024
"""Bytes below which a disk counts as full."""


def environment(settings: Mapping[str, str] | None = None, **more: str) -> dict[str, str]:
    """Build the environment of a host git command: nothing of git's own is inherited."""
    merged = {**HARDENED, **(settings or {})}
    names = ("PATH", "HOME", "TMPDIR", "XDG_CONFIG_HOME")
    values = {name: os.environ[name] for name in names if name in os.environ}
    values |= {
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        # Nothing is fetched, whatever the repository's settings name as its transport: that would
        # start programs of its choice.
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_CONFIG_COUNT": str(len(merged)),
    }
    for index, (key, value) in enumerate(merged.items()):
        values[f"GIT_CONFIG_KEY_{index}"] = key
        values[f"GIT_CONFIG_VALUE_{index}"] = value
    return values | more


def path_list(folders: Sequence[Path]) -> str:
    """Join folders as git reads lists of them: quoted, so that a colon in a name is no end."""
    return ":".join(f'"{_escaped(str(folder))}"' for folder in folders)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def run_git(
    arguments: Sequence[str],
    *,
    cwd: str | Path,
    env: Mapping[str, str] | None = None,
    stdin: bytes | BinaryIO | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[bytes]:
    """Run one git command on the host.

    Raises:
        WorkspaceError: git is missing, or the command failed and ``check`` is set.
        DiskFull: it failed, and there is no room.
    """
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=cwd,
            env=dict(env) if env is not None else environment(),
            capture_output=True,
            check=False,
            **_fed(stdin),
        )
    except FileNotFoundError:
        raise WorkspaceError("git is not installed", hint="install git 2.31 or newer") from None
    except NotADirectoryError:
        raise RepositoryRefused(f"{cwd} is not a folder") from None
    if check and done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()
        told = f"git {arguments[0]} failed: {said[-400:]}"
        # Git itself does not always say so.
        if "No space left" in said or is_full(cwd):
            raise DiskFull(told)
        raise WorkspaceError(told)
    return done


def _fed(stdin: bytes | BinaryIO | None) -> dict[str, Any]:
    """Return how a command gets its input: bytes, a file as it is, or nothing at all."""
    if isinstance(stdin, bytes):
        return {"input": stdin}
    return {"stdin": subprocess.DEVNULL if stdin is None else stdin}


def is_full(folder: str | Path) -> bool:
    """Tell whether the disk of a folder has no room left, for bytes or for files."""
    try:
        there = os.statvfs(folder)
    except OSError:
        return False
    # Some file systems do not count: they tell of no blocks, or of no files, at all.
    no_files = there.f_files > 0 and there.f_favail == 0
    no_blocks = there.f_blocks > 0 and there.f_bavail * there.f_frsize < LEAST_ROOM
    return no_files or no_blocks
