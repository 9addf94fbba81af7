"""Where a tool works: the folders, what has been seen, and how a file is opened safely."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Callable

try:
    # hashlib loads all of OpenSSL: a megabyte, in every sandbox.
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

from orchestrator_tools.contract import StateChange
from orchestrator_tools.errors import NotFound, ToolError

FILE_LIMIT = 64 * 1024 * 1024
"""Bytes of a file that Edit and Write load whole."""

KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@dataclass
class Place:
    """The folders of one call, what the agent has seen so far, and what this call adds."""

    workspace: str
    cwd: str
    scratch: str
    rg: str
    seen: Mapping[str, str]
    new_cwd: str | None = None
    newly_seen: dict[str, str] = field(default_factory=dict)
    show: Callable[[str], None] | None = None
    """Shows output while a command still runs; None where nobody looks."""

    def path(self, given: str) -> str:
        """Return the absolute path of what the model named; relative ones start at the cwd."""
        if "\0" in given:
            raise ToolError("a path cannot hold a NUL character")
        return os.path.normpath(os.path.join(self.cwd, os.path.expanduser(given)))

    def shown(self, path: str) -> str:
        """Return a path as the model should see it: relative to the cwd where that is shorter."""
        relative = os.path.relpath(path, self.cwd)
        return path if relative.startswith("..") else relative

    def note(self, path: str, data: bytes) -> None:
        """Remember what the agent has now seen of a file."""
        self.newly_seen[os.path.realpath(path)] = fingerprint(data)

    def now(self, path: str) -> str | None:
        """Return the fingerprint of a file as it is, if there is one."""
        try:
            return fingerprint(read_whole(path, path)[0])
        except ToolError:
            return None

    def last_seen(self, path: str) -> str | None:
        """Return the fingerprint of the file as the agent last saw it, if it did."""
        real = os.path.realpath(path)
        return self.newly_seen.get(real) or self.seen.get(real)

    def change(self) -> StateChange:
        """Return what this call changed."""
        return StateChange(cwd=self.new_cwd, seen=self.newly_seen)


def fingerprint(data: bytes) -> str:
    """Return a short hash of a file's content."""
    return blake2b(data, digest_size=16).hexdigest()


def open_regular(path: str, shown: str) -> tuple[int, os.stat_result]:
    """Open a regular file for reading; anything else is refused at once, never waited on.

    Raises:
        NotFound: there is no such file.
        ToolError: it is a folder, a pipe, a device, a socket, or unreadable.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{shown} does not exist") from None
    except OSError as error:
        raise ToolError(f"{shown} cannot be opened: {error.strerror}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        kind = next((name for test, name in KINDS if test(status.st_mode)), "no regular file")
        raise ToolError(f"{shown} is {kind}, not a file")
    return descriptor, status


def read_whole(path: str, shown: str) -> tuple[bytes, int]:
    """Read a whole regular file of bounded size; return its bytes and its mode.

    Raises:
        ToolError: it is not a regular file, or too large.
    """
    descriptor, status = open_regular(path, shown)
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > FILE_LIMIT:
            raise ToolError(f"{shown} is too large ({status.st_size} bytes) to be changed whole")
        data = file.read(FILE_LIMIT + 1)
    if len(data) > FILE_LIMIT:
        raise ToolError(f"{shown} is too large to be changed whole")
    return data, stat.S_IMODE(status.st_mode)


def replace_file(path: str, data: bytes, mode: int | None) -> None:
    """Put a file in place in one step: readers see the old content or the new, never a part.

    Raises:
        ToolError: the file system refuses.
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    temporary = os.path.join(folder, f".{os.urandom(8).hex()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        os.makedirs(folder, exist_ok=True)
        descriptor = os.open(temporary, flags, 0o666)
    except OSError as error:
        raise ToolError(f"cannot write to {folder}: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if mode is not None:
                os.fchmod(file.fileno(), mode & 0o777)
        os.replace(temporary, target)
    except OSError as error:
        _remove_quietly(temporary)
        raise ToolError(f"cannot write {path}: {error.strerror}") from None


def _remove_quietly(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return
