"""What is seen from outside the walls: processes, descriptors, listeners, bytes on disk."""

from __future__ import annotations

import os
import select
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio

DEADLINE_S = 30.0
"""Seconds after which a state that never comes fails a test; no test measures them."""

Photograph = dict[str, tuple[int, int, bytes]]


async def eventually(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds, or fail."""
    end = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < end, f"never came true: {what}"
        await anyio.sleep(0.01)


def processes_with(marker: str) -> list[int]:
    """Return the processes of this machine whose command line holds a marker."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if marker.encode() in line:
            found.append(int(entry.name))
    return found


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counted without opening more


def photograph(folder: Path, *, leave_out: tuple[str, ...] = ()) -> Photograph:
    """Return mode, time of change and bytes of everything below a folder.

    Folders count by mode alone: their times and sizes follow from what is in them.
    """
    picture: Photograph = {}
    for path in sorted(folder.rglob("*")):
        name = os.fsdecode(os.fsencode(path.relative_to(folder)))
        if any(name == one or name.startswith(f"{one}/") for one in leave_out):
            continue
        status = path.lstat()
        content, changed = b"", status.st_mtime_ns
        if stat.S_ISLNK(status.st_mode):
            content = os.fsencode(path.readlink())
        elif stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        elif stat.S_ISDIR(status.st_mode):
            changed = 0
        picture[name] = (status.st_mode, changed, content)
    return picture


def differences(before: Photograph, after: Photograph) -> list[str]:
    """Return the names of what is gone, new or changed."""
    names = sorted(before.keys() | after.keys())
    return [name for name in names if before.get(name) != after.get(name)]


@contextmanager
def listening(family: int, address: object) -> Iterator[socket.socket]:
    """Listen on the host while the block runs."""
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind(address)  # type: ignore[arg-type]
        listener.listen()
        yield listener


def was_contacted(listener: socket.socket) -> bool:
    """Tell whether anyone has connected."""
    return bool(select.select([listener], [], [], 0)[0])
