"""Git's own small files: HEAD, index, refs, reflogs, a merge or rebase under way; kept in one file.

One file for all of them: to make a dozen files and folders costs more than to write them.
"""

from __future__ import annotations

import os
import stat

from orchestrator_tools import wire
from orchestrator_tools.errors import ToolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

OURS = "orchestrate"
KEPT_OUT = {"objects", "config", "hooks", "info", "description", OURS}
NEEDED = ("refs/heads", "refs/tags")
BLOCK = 1024 * 1024
LENGTH = 8
"""Bytes at the end of the file that tell how long the list of files before them is."""


def names(git: str) -> list[str]:
    """List git's own files that make up its state, relative to the git directory."""
    found = []
    for name in sorted(os.listdir(git)):
        if name in KEPT_OUT or name.endswith(".lock"):
            continue
        path = os.path.join(git, name)
        if not os.path.isdir(path) or os.path.islink(path):
            found.append(name)
            continue
        for folder, _, files in os.walk(path):
            relative = os.path.relpath(folder, git)
            found += [os.path.join(relative, one) for one in files if not one.endswith(".lock")]
    return sorted(name for name in found if _is_plain(os.path.join(git, name)))


def _is_plain(path: str) -> bool:
    """Tell whether something can be kept: a file or a link, no pipe that would hold us."""
    mode = os.lstat(path).st_mode
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def marks(git: str) -> list[list[str | int]]:
    """Tell cheaply whether any of git's own files has changed; its index is told by its entries."""
    found: list[list[str | int]] = []
    for name in names(git):
        status = os.lstat(os.path.join(git, name))
        found.append([name, status.st_size, status.st_mtime_ns])
    return found


def keep(git: str, target: str) -> None:
    """Write all of them into one file, with modes and times, and a list of them at its end."""
    entries: list[list[str | int | bool]] = []
    with open(target, "wb") as file:
        for name in names(git):
            path = os.path.join(git, name)
            status = os.lstat(path)
            is_link = stat.S_ISLNK(status.st_mode)
            size = file.write(os.fsencode(os.readlink(path))) if is_link else _append(path, file)
            times = (status.st_atime_ns, status.st_mtime_ns)
            entries.append([name, size, is_link, stat.S_IMODE(status.st_mode), *times])
        listed = wire.dumps(entries).encode("utf-8", "surrogateescape")
        file.write(listed + len(listed).to_bytes(LENGTH, "big"))


def _append(path: str, file: BinaryIO) -> int:
    """Write a file's content behind what is there; return its length."""
    size = 0
    with _opened(path) as source:
        while block := source.read(BLOCK):
            size += file.write(block)
    return size


def _opened(path: str) -> BinaryIO:
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    return os.fdopen(opened, "rb")


def put_back(source: str, git: str) -> None:
    """Have git's own files be those that were kept, and no others.

    Raises:
        ToolError: the file is not what was written.
    """
    try:
        kept = _opened(source)
    except OSError as error:
        said = f"what was kept of git's own files cannot be read: {error.strerror}"
        raise ToolError(said) from None
    with kept as file:
        entries = _listed(file)
        for name in os.listdir(git):
            if name not in KEPT_OUT:
                remove(os.path.join(git, name))
        for name, size, is_link, mode, accessed, changed in entries:
            target = os.path.join(git, name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if is_link:
                os.symlink(file.read(size), os.fsencode(target))
            else:
                _write(target, file, size, mode)
            os.utime(target, ns=(accessed, changed), follow_symlinks=False)
    for needed in NEEDED:
        os.makedirs(os.path.join(git, needed), exist_ok=True)


def _listed(file: BinaryIO) -> list[Any]:
    """Return the list at a file's end, and go to its beginning."""
    found, is_whole = [], False
    try:
        end = file.seek(-LENGTH, os.SEEK_END)
        start = file.seek(end - int.from_bytes(file.read(LENGTH), "big"))
        listed = wire.loads(file.read(end - start).decode("utf-8", "surrogateescape"))
        found = [list(one) for one in listed]
        is_whole = sum(size for _, size, _, _, _, _ in found) == start
        is_whole = is_whole and all(_is_inside(str(one[0])) for one in found)
    except (OSError, ValueError, TypeError):
        pass
    if not is_whole:
        raise ToolError("what was kept of git's own files cannot be read")
    file.seek(0)
    return found


def _is_inside(name: str) -> bool:
    """Tell whether a name stays within the git directory, and is one of those that are kept."""
    parts = name.split("/")
    return bool(name) and parts[0] not in KEPT_OUT and not {"", ".", ".."} & set(parts)


def _write(target: str, source: BinaryIO, size: int, mode: int) -> None:
    with open(target, "wb") as file:
        while size > 0:
            block = source.read(min(size, BLOCK))
            if not block:
                raise ToolError("what was kept of git's own files is cut short")
            size -= file.write(block)
        os.fchmod(file.fileno(), mode)


def copy(source: str, target: str) -> None:
    """Copy a file with its mode and times: what is put back passes for unchanged."""
    with _opened(source) as file, open(target, "wb") as made:
        status = os.fstat(file.fileno())
        while block := file.read(BLOCK):
            made.write(block)
        made.flush()
        os.fchmod(made.fileno(), stat.S_IMODE(status.st_mode))
        os.utime(made.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))


def remove(path: str) -> None:
    """Remove a file or a folder, where there is one and it can be."""
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            import shutil

            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)
    except OSError:
        return
