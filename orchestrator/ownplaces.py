"""Where a run's workspace is made: in a place of its own, which no other process writes to."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

from orchestrator.errors import WorkspaceError
from orchestrator.removal import copy_tree, remove_tree


class OwnPlaces:
    """The places of one workspace; what killed or frozen processes left running has its own.

    Args:
        container: the folder that they are in.
        fixed: whether a place is seen inside under its host's path, so that it has to keep it.
    """

    def __init__(self, container: Path, *, fixed: bool) -> None:
        self._container = container
        self._fixed = fixed
        self._since = 0

    def leave(self, epoch: int) -> None:
        """Count no place that was made before an epoch: another process may still write there."""
        self._since = epoch

    def current(self) -> Path | None:
        """Return the place that was made whole and is this process's own, if there is one."""
        place = self._whole()
        return place if place is not None and _epoch_of(place) >= self._since else None

    def _whole(self) -> Path | None:
        try:
            name = (self._container / "current").read_text(encoding="ascii").strip()
        except OSError:
            return None
        place = self._container / name
        return place if name.startswith("place") and (place / "ready").exists() else None

    @property
    def seed(self) -> Path:
        """Return where what a fork begins with is kept until its workspace is put back."""
        return self._container / "seed"

    def unused(self) -> Path:
        """Return a place that nobody knows yet; without walls it is seen inside, so it is fixed."""
        token = "" if self._fixed else f"-{secrets.token_hex(4)}"
        return self._container / f"place{self._since or ''}{token}"

    def choose(self, place: Path) -> None:
        """Note that a place is whole, and the one to work in."""
        named = self._container / "current.new"
        named.write_text(place.name, encoding="ascii")
        named.replace(self._container / "current")

    def clear(self) -> None:
        """Give all places up; the next one is another."""
        (self._container / "current").unlink(missing_ok=True)
        for place in self._container.glob("place*"):
            if _epoch_of(place) < self._since:
                continue  # a frozen process may still work there; it is removed with the run
            # What still writes there keeps it from being removed; it is removed with the run.
            with contextlib.suppress(WorkspaceError):
                remove_tree(place)

    def moved(self) -> Path | None:
        """Copy the place that was left, where there is one, and return the copy.

        Raises:
            WorkspaceError: it cannot be copied, or has to keep its path.
        """
        left = self._whole()
        if left is None or _epoch_of(left) >= self._since:
            return None
        if self._fixed:
            raise WorkspaceError(
                "the run was taken from a process whose tools may still write in its workspace, "
                "and without bubblewrap or a container it cannot have another one",
                hint="end that process, then start anew with --new",
            )
        place = self.unused()
        copy_tree(left, place)
        self.choose(place)
        return place


def _epoch_of(place: Path) -> int:
    """Return the epoch from which on a place is the owner's own; mostly 0, the first one's."""
    digits = place.name.removeprefix("place").partition("-")[0]
    return int(digits) if digits.isdigit() else 0
