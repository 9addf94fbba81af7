"""The first checkout of a workspace: by host git, hardened, and the same on every machine."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from orchestrator.errors import WorkspaceError
from orchestrator.hostgit import environment, path_list, run_git

OLD = 946_684_800
"""The time that all of a checkout gets: the first second of the year 2000."""
GITLINK = 0o160000
WORKERS = {"checkout.workers": "2", "checkout.thresholdForParallelism": "200"}


def check_out(  # noqa: PLR0913 - what a checkout depends on
    git: Path,
    work: Path,
    commit: str,
    *,
    borrowed: Sequence[Path],
    owner: tuple[int, int] | None,
    given_to: tuple[int, int] | None = None,
    object_format: str,
) -> None:
    """Fill a work tree with a commit; no filter, hook or setting of anybody takes part.

    Args:
        git: the private git directory.
        work: the empty work tree.
        commit: what to check out.
        borrowed: folders of objects that the commit is read from.
        owner: user and group of the files as seen inside; None leaves them.
        given_to: user and group that the files are given to, on the host.
        object_format: ``sha1`` or ``sha256``.

    Raises:
        WorkspaceError: git failed.
    """
    settings = {"core.autocrlf": "false", "core.symlinks": "true", "core.worktree": str(work)}
    env = environment(
        settings | WORKERS,
        GIT_DIR=str(git),
        GIT_WORK_TREE=str(work),
        GIT_ALTERNATE_OBJECT_DIRECTORIES=path_list(borrowed),
        GIT_CONFIG_GLOBAL="/dev/null",
        GIT_CONFIG_NOSYSTEM="1",
    )
    run_git(["read-tree", "--reset", "-u", commit], cwd=work, env=env)
    hand_over(work, given_to)
    settle_index(git, work, owner, object_format)


def hand_over(folder: Path, owner: tuple[int, int] | None) -> None:
    """Give a file, or a folder with all in it, to a user and a group; no link is followed.

    Raises:
        WorkspaceError: something of it cannot be given.
    """
    if owner is None:
        return
    whose = f"{owner[0]}:{owner[1]}"
    # By chown itself, which no depth of folders can stop.
    command = ["chown", "--no-dereference", "-R", "-P", whose, "--", str(folder)]
    done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()[-200:]
        raise WorkspaceError(
            f"{folder} cannot be given to user {whose}: {said}",
            hint="put the state directory on a disk that knows users, or leave out run_as",
        )


def settle_index(git: Path, work: Path, owner: tuple[int, int] | None, object_format: str) -> None:
    """Give all files and folders one old time, and the index what it will see of them inside.

    Host git noted its own user, and times within the second in which the index was written: from
    inside every file would look changed, and the first command would hash the whole tree again.
    One time for all also makes listings, and "newest first", the same on every machine.

    Args:
        git: the git directory.
        work: the work tree that the index was just written for.
        owner: user and group of the files as seen inside; None leaves them.
        object_format: ``sha1`` or ``sha256``.

    Source: gitformat-index, version 2 and 3; other versions are left as they are.
    """
    path = git / "index"
    data = bytearray(path.read_bytes())
    signature, version, count = struct.unpack_from(">4sLL", data)
    if signature != b"DIRC" or version not in {2, 3}:
        return
    width = 32 if object_format == "sha256" else 20
    top = os.fsencode(work)
    folders = {top}
    at = 12
    for _ in range(count):
        (mode,) = struct.unpack_from(">L", data, at + 24)
        (flags,) = struct.unpack_from(">H", data, at + 40 + width)
        name = at + 42 + width + (2 if flags & 0x4000 else 0)
        end = data.index(b"\0", name)
        file = top + b"/" + data[name:end]
        _with_parents(file, folders)
        if mode != GITLINK:
            os.utime(file, (OLD, OLD), follow_symlinks=False)
            status = os.lstat(file)
            struct.pack_into(">LLLL", data, at, *divmod(status.st_ctime_ns, 10**9), OLD, 0)
            whose = owner or (status.st_uid, status.st_gid)
            struct.pack_into(">LL", data, at + 28, *whose)
        at += (end - at + 8) // 8 * 8
    for folder in folders:
        os.utime(folder, (OLD, OLD), follow_symlinks=False)
    digest = hashlib.new(object_format, data[:-width], usedforsecurity=False).digest()
    path.write_bytes(data[:-width] + digest)


def _with_parents(file: bytes, folders: set[bytes]) -> None:
    """Add the folders that a file is in, up to one that is known."""
    folder = file.rpartition(b"/")[0]
    while folder not in folders:
        folders.add(folder)
        folder = folder.rpartition(b"/")[0]
