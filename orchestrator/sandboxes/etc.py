"""What /etc is inside a sandbox: one folder, made on the host and shown as a whole.

Each mount costs a sandbox a quarter of a millisecond of its start. Small files are copied for all
sandboxes at once, folders are shown as they are on the host.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from orchestrator.sandboxes import inside
from orchestrator.sandboxes.identity import User
from orchestrator.values import frozen

FORM = 1
"""Of the folder; one that an older version made is not used."""
COPIED_MOST = 4 * 1024 * 1024
"""Bytes of a file that is copied; what is larger is left out."""
KEPT_S = 30 * 24 * 3600
"""Seconds that a folder is kept after its last use: sandboxes of other processes may need it."""


@frozen
class Etc:
    """What is shown as /etc.

    Attributes:
        folder: on the host, with copies of files and places for the mounts.
        mounted: folders of the host's /etc that are shown in it, by their paths.
    """

    folder: str
    mounted: tuple[str, ...]

    def flags(self) -> list[str]:
        """Return bubblewrap's flags for it."""
        flags = ["--ro-bind", self.folder, "/etc"]
        for path in self.mounted:
            flags += ["--ro-bind-try", path, path]
        return flags


def furnish(state: Path, user: User | None, shown: Sequence[str] = inside.SYSTEM_FILES) -> Etc:
    """Make the folder for this machine's /etc as it is now; one that was made before is used.

    Args:
        state: the sandbox's own folder.
        user: who runs inside, where root has chosen one.
        shown: paths below /etc.

    Raises:
        OSError: it cannot be written.
    """
    try:
        return _furnished(state, user, shown)
    except FileNotFoundError:
        # A file was replaced, or an old folder removed, between two looks at it.
        return _furnished(state, user, shown)


def _furnished(state: Path, user: User | None, shown: Sequence[str]) -> Etc:
    own = inside.own_files(user.uid, user.gid) if user else inside.own_files()
    folders = tuple(path for path in shown if Path(path).is_dir())
    files = {path: _mark(path) for path in shown if path not in folders}
    # A folder of before the last start of the machine may lack what was not on disk by then.
    marks = repr((FORM, inside.boot_id(), sorted(own.items()), folders, sorted(files.items())))
    digest = hashlib.blake2b(marks.encode(), digest_size=12).hexdigest()
    folder = state / f"etc-{digest}"
    if not folder.is_dir():
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make(folder, own, folders, [path for path, mark in files.items() if mark])
    os.utime(folder)
    _remove_old(state)
    return Etc(str(folder), folders)


def _mark(path: str) -> tuple[int, int, int] | None:
    """Tell one state of a file from another; nothing where there is none that can be copied."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    plain = Path(path).is_file() and os.access(path, os.R_OK) and status.st_size <= COPIED_MOST
    return (status.st_ino, status.st_size, status.st_mtime_ns) if plain else None


def _make(folder: Path, own: dict[str, str], folders: Sequence[str], files: list[str]) -> None:
    """Make a folder as a whole: whoever finds it finds everything in it."""
    new = Path(tempfile.mkdtemp(prefix=".etc-", dir=folder.parent))
    try:
        for path in folders:
            _inside(new, path).mkdir(parents=True, exist_ok=True)
        for path in files:
            target = _inside(new, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        for name, text in own.items():
            (new / name).write_text(text, encoding="utf-8")
        _open_to_all(new)
        new.rename(folder)
    except OSError:
        shutil.rmtree(new, ignore_errors=True)
        if not folder.is_dir():  # else another process was faster
            raise


def _inside(folder: Path, path: str) -> Path:
    return folder / Path(path).relative_to("/etc")


def _open_to_all(folder: Path) -> None:
    """Let every user read it, whatever the umask: somebody else may run inside."""
    for parent, _, names in os.walk(folder):
        Path(parent).chmod(0o755)
        for name in names:
            Path(parent, name).chmod(0o644)


def _remove_old(state: Path) -> None:
    """Remove folders that nothing has used for long, and what a process left half made."""
    oldest = time.time() - KEPT_S
    for one in (*state.glob("etc-*"), *state.glob(".etc-*")):
        try:
            if one.stat().st_mtime < oldest:
                # Under its name nobody finds it half removed.
                gone = one.with_name(f".etc-gone-{os.getpid()}-{one.name}")
                one.rename(gone)
                shutil.rmtree(gone, ignore_errors=True)
        except OSError:
            continue
