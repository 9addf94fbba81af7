"""Where a tool works: the folders, what has been seen, and how a file is opened safely."""

from __future__ import annotations

import os
import stat

try:
    # hashlib loads all of OpenSSL: a megabyte, in every sandbox.
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

from orchestrator_tools.contract import StateChange
from orchestrator_tools.errors import Changed, NotFound, ToolError
from orchestrator_tools.output import FILE_LIMIT
from orchestrator_tools.recall import Recall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class Place:
    """The folders of one call, what the agent has seen so far, and what this call adds.

    Attributes:
        new_cwd: where a command has gone, if it has.
        newly_seen: fingerprints of the files that this call has seen.
        show: shows output while a command still runs; None where nobody looks.
    """

    def __init__(
        self,
        workspace: str,
        cwd: str,
        scratch: str,
        rg: str,
        seen: Mapping[str, str],
        *,
        recall: Recall | None = None,
    ) -> None:
        self.workspace = workspace
        self.cwd = cwd
        self.scratch = scratch
        self.rg = rg
        self.seen = seen
        self.recall = recall if recall is not None else Recall()
        self.new_cwd: str | None = None
        self.newly_seen: dict[str, str] = {}
        self.show: Callable[[str], None] | None = None

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
        mark = fingerprint(data)
        self.newly_seen[os.path.realpath(path)] = mark
        self.recall.keep(mark, data)

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

    def require_unchanged(self, path: str, data: bytes) -> None:
        """Refuse a file that is not what the agent last saw, and say what has changed.

        Raises:
            Changed: it is not.
        """
        seen = self.last_seen(path)
        if seen is None or seen == fingerprint(data):
            return
        from orchestrator_tools.differences import what_changed

        said = f"{self.shown(path)} has changed since it was last seen; Read it again first"
        before = self.recall.of(seen)
        raise Changed(said if before is None else f"{said}.\n{what_changed(before, data)}")

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
        kind = _kind_of(path)
        why = f"is {kind}, not a file" if kind else f"cannot be opened: {error.strerror}"
        raise ToolError(f"{shown} {why}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        kind = next((name for test, name in KINDS if test(status.st_mode)), "no regular file")
        raise ToolError(f"{shown} is {kind}, not a file")
    return descriptor, status


def _kind_of(path: str) -> str:
    """Return what a path is that cannot even be opened, a socket for one."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return ""
    return next((name for test, name in KINDS if test(mode)), "")


def read_whole(path: str, shown: str) -> tuple[bytes, os.stat_result]:
    """Read a whole regular file of bounded size; return its bytes and its status.

    Raises:
        ToolError: it is not a regular file, or too large.
    """
    descriptor, status = open_regular(path, shown)
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > FILE_LIMIT:
            raise ToolError(f"{shown} is too large ({status.st_size} bytes) to be changed whole")
        data = read_bounded(file.fileno(), shown)
    if len(data) > FILE_LIMIT:
        raise ToolError(f"{shown} is too large to be changed whole")
    return data, status


def read_bounded(descriptor: int, shown: str, start: bytes = b"") -> bytes:
    """Read what is left of an open file, up to one byte more than may be held whole.

    Raises:
        ToolError: the file cannot be read.
    """
    parts = [start] if start else []
    left = FILE_LIMIT + 1 - len(start)
    size = os.fstat(descriptor).st_size - len(start)
    try:
        while left > 0:
            # One byte more than there should be: a file that has not grown ends at once.
            part = os.read(descriptor, min(left, max(size + 1, 64 * 1024)))
            if not part:
                break
            parts.append(part)
            left -= len(part)
            size = 0
    except OSError as error:
        raise ToolError(f"{shown} cannot be read: {error.strerror}") from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


def replace_file(
    path: str, data: bytes, before: os.stat_result | None, *, new: bool = False
) -> None:
    """Put a file in place in one step: readers see the old content or the new, never a part.

    Args:
        path: where; a link is followed.
        data: the whole content.
        before: the status of what is replaced: its mode is kept, and where the file is no longer
            that one, nothing is written.
        new: refuse where somebody has made such a file in the meantime.

    Raises:
        Changed: the file has become another since it was looked at.
        ToolError: the file system refuses.
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    temporary = os.path.join(folder, f".{os.urandom(8).hex()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        try:
            descriptor = os.open(temporary, flags, 0o666)
        except FileNotFoundError:
            os.makedirs(folder, exist_ok=True)
            descriptor = os.open(temporary, flags, 0o666)
    except OSError as error:
        raise ToolError(f"cannot write to {folder}: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if before is not None:
                os.fchmod(file.fileno(), before.st_mode & 0o777)
        if before is not None:
            _require_still(target, before, path)
        if not (new and _put_new(temporary, target)):
            os.replace(temporary, target)
    except FileExistsError:
        remove_quietly(temporary)
        raise Changed(f"{path} was made by something else just now; Read it first") from None
    except OSError as error:
        remove_quietly(temporary)
        raise ToolError(f"cannot write {path}: {error.strerror}") from None
    except Changed:
        remove_quietly(temporary)
        raise


def _require_still(target: str, before: os.stat_result, path: str) -> None:
    """Refuse where a file is no longer the one that was looked at."""
    now = os.stat(target)
    if _identity(now) != _identity(before):
        raise Changed(f"{path} was changed by something else just now; Read it again first")


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _put_new(temporary: str, target: str) -> bool:
    """Give a new file its name without ever taking another's; tell whether that can be done here.

    Raises:
        FileExistsError: the name is taken.
    """
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:
        return False  # a file system without hard links
    remove_quietly(temporary)
    return True


def remove_quietly(path: str) -> None:
    """Remove a file where that can be done; nothing depends on it."""
    try:
        os.unlink(path)
    except OSError:
        return
