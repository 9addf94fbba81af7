"""Control groups: a bound on processes and memory that the kernel holds, where we may make them."""

from __future__ import annotations

import contextlib
import io
import os
import re
import secrets
import time
from pathlib import Path

from orchestrator.sandboxes import inside
from orchestrator.values import frozen

MOST = 512
"""Processes of one sandbox."""
OLD_S = 60
TOP = Path("/sys/fs/cgroup")
PREFIX = "orchestrate-"

KILLED = re.compile(rb"^oom_kill +[1-9]", re.MULTILINE)

# The shell enters the groups and becomes the sandbox, so that nothing is ever outside them.
ENTER = (
    'while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit 126; shift; done; '
    'shift; exec "$@"'
)


@frozen
class Bound:
    """One limit as a control group takes it.

    Attributes:
        hierarchies: folders that may hold the group, in the order in which they are tried.
        file: where the limit is written.
    """

    what: str
    hierarchies: tuple[Path, ...]
    file: str


def bounds() -> tuple[Bound, ...]:
    """Return the limits and where they may be set: version 1 first, then version 2."""
    unified = _unified()
    return (
        Bound("processes", (TOP / "pids",), "pids.max"),
        Bound("memory", (TOP / "memory",), "memory.limit_in_bytes"),
        Bound("processes", unified, "pids.max"),
        Bound("memory", unified, "memory.max"),
    )


def _unified() -> tuple[Path, ...]:
    """Return where version 2 may let us make a group: beside our own, as systemd delegates it."""
    if not (TOP / "cgroup.controllers").exists():
        return ()
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
            if line.startswith("0::/") and "/.." not in line:
                own = TOP / line.removeprefix("0::/")
                return (own.parent, TOP) if own != TOP else (TOP,)
    return (TOP,)


class Groups:
    """The control groups of one sandbox; none of them may be had, and then none holds."""

    def __init__(self) -> None:
        self.folders: list[Path] = []
        self.bounded: set[str] = set()
        self._memory: io.FileIO | None = None

    @classmethod
    def make(cls, *, memory_mb: int) -> Groups:
        """Make the groups that this machine lets us make."""
        made = cls()
        values = {"processes": str(MOST), "memory": str(memory_mb * 1024 * 1024)}
        name = f"{PREFIX}{secrets.token_hex(6)}"
        for bound in bounds():
            if bound.what not in made.bounded and (bound.what != "memory" or memory_mb):
                made._bind(bound, values[bound.what], name)
        return made

    def _bind(self, bound: Bound, value: str, name: str) -> None:
        for hierarchy in bound.hierarchies:
            group = hierarchy / name
            try:
                group.mkdir(exist_ok=True)
            except OSError:
                continue
            if not _bounded(group, bound.file, value):
                if group not in self.folders:
                    _remove(group)
                continue
            self.bounded.add(bound.what)
            if group not in self.folders:
                self.folders.append(group)
            if bound.what == "memory":
                self._memory = _kills(group)
                with contextlib.suppress(OSError):  # no way round the bound by swapping
                    (group / "memory.swap.max").write_text("0", encoding="ascii")
            return

    def entered(self, command: list[str], *, limits: bool = False) -> list[str]:
        """Return the command that starts another one inside the groups.

        Args:
            command: what is started.
            limits: whether it also has the limits of one process.
        """
        if not self.folders:
            return command
        script = inside.shell_limits(512) + ENTER if limits else ENTER
        return ["/bin/sh", "-c", script, "sh", *map(str, self.folders), "--", *command]

    def ran_out_of_memory(self) -> bool:
        """Tell whether the kernel has ended a process for the memory that all of them use."""
        # It is asked for after every call: the file stays open, and has no position to be shared.
        try:
            told = os.pread(self._memory.fileno(), 4096, 0) if self._memory is not None else b""
        except (OSError, ValueError):
            return False
        return KILLED.search(told) is not None

    def count(self) -> int | None:
        """Return how many processes are in the groups; None where the kernel does not tell."""
        if not self.folders:
            return None
        try:
            return (self.folders[0] / "cgroup.procs").read_bytes().count(b"\n")
        except OSError:
            return None

    def gone(self) -> bool:
        """Remove the groups whose processes have ended; tell whether none is left."""
        if self._memory is not None:
            self._memory.close()
        self.folders = [one for one in self.folders if not _remove(one)]
        return not self.folders


def _kills(group: Path) -> io.FileIO | None:
    """Return the file in which the kernel says whether it has ended a process of a group."""
    for name in ("memory.oom_control", "memory.events"):
        with contextlib.suppress(OSError):
            return (group / name).open("rb", buffering=0)
    return None


def _bounded(group: Path, file: str, value: str) -> bool:
    """Set a group's limit; tell whether it holds and the group can be entered."""
    if not os.access(group / "cgroup.procs", os.W_OK):
        return False
    try:
        (group / file).write_text(value, encoding="ascii")
    except OSError:
        return False
    return True


def _remove(group: Path) -> bool:
    """Remove a group; one that is still in use stays."""
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()


def remove_leftovers() -> None:
    """Remove empty groups that killed processes have left behind."""
    for root in {one for bound in bounds() for one in bound.hierarchies}:
        for group in root.glob(f"{PREFIX}*"):
            # A young one may be another process's, which is about to enter it.
            with contextlib.suppress(OSError):
                if time.time() - group.stat().st_mtime > OLD_S:
                    _remove(group)
