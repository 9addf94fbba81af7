"""Private folders of programs that use the tools alone, and what killed ones have left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from pathlib import Path

from orchestrator.errors import OrchestratorError
from orchestrator.removal import remove_tree
from orchestrator.repository import Repository, locate

PREFIX = "scratch-"
LOCK = "lock"
PINNED = "pinned"
OLD_S = 60.0
"""A younger folder may be one that its owner is about to lock."""


class Scratch:
    """A private folder with a home and a tmp, gone when the block ends.

    Its owner holds a lock on it, which the kernel lets go of however the owner ends; folders
    that nobody holds are removed when the next one is made.

    Args:
        state: the state directory.
        repository: whose pins go with the folder.
    """

    def __init__(self, state: Path, repository: Repository | None = None) -> None:
        self._state = state
        self._repository = repository

    def __enter__(self) -> Path:
        remove_leftovers(self._state)
        self._folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._state))
        self._lock = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Where locks are not to be had, nobody can take this one either: the folder is kept.
        with contextlib.suppress(OSError):
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if self._repository is not None:
            told = os.fsencode(self._repository.common)
            (self._folder / PINNED).write_bytes(told)
        for name in ("home", "tmp"):
            (self._folder / name).mkdir(mode=0o700)
        return self._folder

    def __exit__(self, *_: object) -> None:
        try:
            remove_tree(self._folder)
        finally:
            os.close(self._lock)


def pin_of(folder: Path) -> str:
    """Return the prefix of the refs that hold what a folder's workspace needs."""
    return f"refs/orchestrate/{folder.name}/"


def remove_leftovers(state: Path) -> None:
    """Remove the folders, and the pins, of processes that are no longer there."""
    for folder in state.glob(f"{PREFIX}*"):
        # What cannot be removed now is tried again by the next one.
        with contextlib.suppress(OSError, OrchestratorError):
            if time.time() - folder.stat().st_mtime > OLD_S:
                _remove(folder)


def _remove(folder: Path) -> None:
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        remove_tree(folder)  # its owner was killed before it got as far
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        pinned = folder / PINNED
        if pinned.is_file():
            with contextlib.suppress(OrchestratorError):  # the repository is gone
                locate(Path(os.fsdecode(pinned.read_bytes()))).delete_refs(pin_of(folder))
        remove_tree(folder)
    finally:
        os.close(lock)
