"""A bound on the number of processes for root, which the kernel does not hold to RLIMIT_NPROC."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path

MOST = 512
OLD_S = 60
ROOTS = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))
PREFIX = "orchestrate-"

# The shell enters the group and becomes the sandbox, so that nothing is ever outside it.
ENTER = 'echo $$ > "$1/cgroup.procs" || exit 126; shift; exec "$@"'


def make_group() -> Path | None:
    """Make a control group that holds a bounded number of processes.

    Returns:
        The group; None for a normal user, who is bound otherwise, and where none is to be had.
    """
    if os.geteuid() != 0:
        return None
    for root in ROOTS:
        group = root / f"{PREFIX}{secrets.token_hex(6)}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / "pids.max").write_text(str(MOST), encoding="ascii")
        except OSError:
            remove_group(group)
            continue
        return group
    return None


def entered(group: Path | None, command: list[str]) -> list[str]:
    """Return the command that starts another one inside a group."""
    if group is None:
        return command
    return ["/bin/sh", "-c", ENTER, "sh", str(group), *command]


def remove_group(group: Path) -> None:
    """Remove a group whose processes have ended; one that is still in use stays."""
    with contextlib.suppress(OSError):
        group.rmdir()


def remove_leftovers() -> None:
    """Remove empty groups that killed processes have left behind."""
    if os.geteuid() != 0:
        return
    for root in ROOTS:
        for group in root.glob(f"{PREFIX}*"):
            # A young one may be another process's, which is about to enter it.
            with contextlib.suppress(OSError):
                if time.time() - group.stat().st_mtime > OLD_S:
                    remove_group(group)
