"""How commits descend from each other, as far as a few reads can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.objects import FULL_ID, ObjectReader

COMMITS_MOST = 50
"""Commits that are read before git is asked, which has better means for many."""
LARGEST = 64 * 1024


class Ancestry:
    """Walks from commits to their parents; whatever it cannot tell for sure is left to git.

    Args:
        common: the repository's common git directory.
        objects: reads the commits.
    """

    def __init__(self, common: Path, objects: ObjectReader) -> None:
        self._common = common
        self._objects = objects

    def holds(self, newer: str, older: str) -> bool | None:
        """Tell whether one commit is another, or descends from it; None: ask git."""
        if self._is_cut() or not FULL_ID.fullmatch(older):
            return None
        seen: set[str] = set()
        waiting = {newer}
        while waiting:
            seen |= waiting
            if len(seen) > COMMITS_MOST:
                return None
            parents = self._parents(sorted(waiting))
            if parents is None:
                return None
            if older in waiting:
                return True
            waiting = {one for each in parents.values() for one in each} - seen
        return False

    def line(self, newest: str, base: str) -> list[str] | None:
        """Return the commits after a base, newest first, where each has one parent; else None."""
        if self._is_cut():
            return None
        found: list[str] = []
        at = newest
        while at != base:
            parents = self._parents([at])
            if parents is None or len(parents[at]) != 1 or len(found) == COMMITS_MOST:
                return None
            found.append(at)
            (at,) = parents[at]
        return found

    def _is_cut(self) -> bool:
        """Tell whether parents are others than commits name: only git follows that."""
        return any((self._common / name).exists() for name in ("shallow", "info/grafts"))

    def _parents(self, commits: Sequence[str]) -> Mapping[str, Sequence[str]] | None:
        """Return the parents of commits; None where one cannot be read, or is no commit."""
        if not all(FULL_ID.fullmatch(one) for one in commits):
            return None
        found: dict[str, Sequence[str]] = {}
        for sha, one in zip(commits, self._objects.read(commits, largest=LARGEST), strict=True):
            if one is None or one.kind != "commit" or one.data is None:
                return None
            found[sha] = parents_of(one.data)
        return found


def parents_of(commit: bytes) -> list[str]:
    """Return the parents that a commit object names."""
    found: list[str] = []
    for line in commit.split(b"\n")[1:]:
        if not line.startswith(b"parent "):
            break
        found.append(line.removeprefix(b"parent ").decode("ascii", "replace"))
    return found
