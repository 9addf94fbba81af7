"""Who works on a run: a name that no later process can have, and whether it is still there."""

from __future__ import annotations

import os
from pathlib import Path


def owner_of(pid: int) -> str:
    """Return a name for a process that no later process can have: boot, pid, start time."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        started = stat.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return f"{os.uname().nodename}:?:{pid}:?"
    return f"{os.uname().nodename}:{boot}:{pid}:{started}"


def called(owner: str) -> str:
    """Return an owner's name for people."""
    host, _, rest = owner.partition(":")
    words = rest.split(":")
    return f"process {words[1]} on {host}" if len(words) == 3 else owner


def is_alive(owner: str) -> bool:
    """Tell whether the process that an owner's name means is still there.

    An owner on another machine is taken to be alive: only it can say otherwise.
    """
    host, _, rest = owner.partition(":")
    if host != os.uname().nodename:
        return True
    words = rest.split(":")
    if len(words) != 3 or not words[1].isdigit():
        return False
    return owner_of(int(words[1])) == owner and not _is_zombie(int(words[1]))


def _is_zombie(pid: int) -> bool:
    """Tell whether a process has ended and only waits for a parent to notice."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[:1] == ["Z"]
