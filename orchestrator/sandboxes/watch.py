"""The watchdog: ends a sandbox that uses up the machine's memory or disk.

One thread for all sandboxes, and none while there are none. It looks twice a second where
something runs, and at a few small files every other second where nothing does. What grows faster
than that is for the control groups to stop, where the machine has them.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Protocol

from orchestrator.values import frozen

PERIOD_S = 0.5
IDLE_S = 2.0
IDLE = 3
"""Processes of a sandbox in which no tool runs: the walls' own, and the server."""
MB = 1024 * 1024
PAGE = os.sysconf("SC_PAGE_SIZE")


@frozen
class Limits:
    """What one sandbox may use up.

    Attributes:
        memory_mb: of all its processes together; 0 means no limit.
        disk_free_mb: what has to stay free where it writes; 0 means no limit.
    """

    memory_mb: int = 4096
    disk_free_mb: int = 512


class Endable(Protocol):
    """A sandbox's process, as the watchdog sees it."""

    @property
    def pid(self) -> int: ...
    def ran_out_of_memory(self) -> bool:
        """Tell whether the kernel has ended a process inside for its memory."""
        ...

    def count(self) -> int | None:
        """Return how many processes there are, where the kernel counts and bounds them itself."""
        ...

    def end_for(self, reason: str) -> None:
        """End everything inside."""
        ...


@frozen
class _Watched:
    process: Endable
    folders: tuple[str, ...]
    floor: int
    """Bytes of disk that must stay free."""


class Watchdog:
    """Looks after sandboxes while they live.

    Args:
        limits: what each of them may use up.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._changed = threading.Condition()
        self._watched: dict[int, _Watched] = {}
        self._rests = False
        self._thread: threading.Thread | None = None

    @property
    def memory_reason(self) -> str:
        """Return what is said of a sandbox that used too much memory."""
        return f"it used more than {self.limits.memory_mb} MB of memory"

    def watch(self, process: Endable, folders: tuple[str, ...]) -> None:
        """Watch a process and all below it, and the disk below some folders."""
        # Where little is free already some of it may still be used: otherwise what filled the
        # disk could not even be removed from inside.
        disks = _one_a_disk(folders)
        free = min(map(_free, disks), default=0)
        floor = min(self.limits.disk_free_mb * MB, free // 2)
        with self._changed:
            self._watched[id(process)] = _Watched(process, disks, floor)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look_on, daemon=True)
                self._thread.start()
            elif self._rests:
                self._changed.notify_all()

    def unwatch(self, process: object) -> None:
        """Take a process off; when this returns nobody looks at it any more."""
        with self._changed:
            self._watched.pop(id(process), None)
            if not self._watched:
                self._changed.notify_all()

    def _look_on(self) -> None:
        busy = True
        while there := self._waited(busy=busy):
            busy = False
            for one in there:
                with self._changed:  # a hundred take ten milliseconds: nobody waits for all of them
                    if id(one.process) in self._watched:
                        busy = self._looked_at(one) or busy

    def _waited(self, *, busy: bool) -> list[_Watched]:
        """Wait until it is time to look, and return what to look at; nothing ends the thread.

        What begins while this rests is looked at soon, but no look follows another one sooner than
        a period later, however many begin.
        """
        with self._changed:
            self._rests = not busy
            woken = self._changed.wait(PERIOD_S if busy else IDLE_S)
            self._rests = False
            if woken and self._watched:
                self._changed.wait(PERIOD_S)
            if not self._watched:
                self._thread = None
            return list(self._watched.values())

    def _looked_at(self, one: _Watched) -> bool:
        """End a sandbox that uses up too much; tell whether a tool runs in it."""
        # Whose memory the kernel bounds, those need not be looked for one by one.
        count = one.process.count()
        there = list(tree(one.process.pid)) if count is None else []
        reason = self._reason(one, there)
        if reason:
            one.process.end_for(reason)
        return (count or len(there)) > IDLE

    def _reason(self, one: _Watched, there: list[int]) -> str:
        """Return why a sandbox has to end, or an empty text."""
        if any(_free(folder) < one.floor for folder in one.folders):
            return f"it left less than {one.floor // MB} MB of the disk free"
        if one.process.ran_out_of_memory():
            return self.memory_reason
        most = self.limits.memory_mb * MB
        if most and used_memory(there, most) > most:
            return self.memory_reason
        return ""


def _one_a_disk(folders: tuple[str, ...]) -> tuple[str, ...]:
    """Return one folder of each file system."""
    found: dict[int, str] = {}
    for folder in folders:
        with contextlib.suppress(OSError):
            found.setdefault(os.stat(folder).st_dev, folder)  # noqa: PTH116 - text is at hand
    return tuple(found.values())


def _free(folder: str) -> int:
    try:
        status = os.statvfs(folder)
    except OSError:
        return 1 << 62
    return status.f_bavail * status.f_frsize


def used_memory(there: list[int], most: int) -> int:
    """Return the memory of some processes, in bytes.

    What processes share counts once for each of them, unless that would exceed ``most``: then
    each one's own part of it is asked for, which takes the kernel longer.
    """
    resident = sum(map(_resident, there))
    return resident if resident <= most else sum(map(_proportional, there))


def tree(pid: int) -> Iterator[int]:
    """Yield a process and all processes below it."""
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        yield one
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{one}/task"):  # noqa: PTH208 - twice a second
                with (
                    contextlib.suppress(OSError),
                    open(  # noqa: PTH123 - the same
                        f"/proc/{one}/task/{thread}/children", encoding="ascii"
                    ) as file,
                ):
                    waiting += map(int, file.read().split())


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123 - the same
            return int(file.read().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0


def _proportional(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:  # noqa: PTH123 - the same
            parts = [line.split() for line in file]
    except OSError:  # it has closed its memory to others, or has ended
        return _resident(pid)
    return sum(int(part[1]) * 1024 for part in parts if part and part[0] == "Pss:")
