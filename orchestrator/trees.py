"""Files of a commit, told from its trees.

No process is started for it, and what commits share is read once.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from orchestrator.errors import WorkspaceError
from orchestrator.objects import Entry, ObjectReader
from orchestrator.values import frozen

TREES_MOST = 256
"""Folders above which a question is left to git, which is quicker at many."""
FILES_MOST = 5_000
LARGEST = 1024 * 1024
"""Bytes of a single tree."""
ENTRIES_KEPT = 20_000
FOLDER = "040000"


@frozen
class Folder:
    """A folder that is to be looked at.

    Attributes:
        prefix: its path, with a slash at its end; empty for the top.
        wanted: what is asked for below it, as parts of paths; None for all of it.
    """

    prefix: str
    sha: str
    wanted: tuple[tuple[str, ...], ...] | None


class Trees:
    """Reads trees, and keeps the last ones: what an id names never changes.

    It may be used from several threads.

    Args:
        objects: reads them.
    """

    def __init__(self, objects: ObjectReader, most: int = ENTRIES_KEPT) -> None:
        self._objects = objects
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Mapping[str, Entry]] = OrderedDict()
        self._entries = 0

    def files(self, commit: str, paths: Sequence[str]) -> dict[str, Entry] | None:
        """Return the files of a commit at or below some paths, in git's order.

        Args:
            commit: its full id.
            paths: literal paths from the top; all files where none is named.

        Returns:
            Mode and object id by path; None where git has to be asked: there is too much of
            it, or a path is not plain.

        Raises:
            WorkspaceError: an object is missing.
        """
        wanted = tuple(tuple(path.split("/")) for path in paths)
        if any(part in {"", ".", ".."} for path in wanted for part in path):
            return None
        waiting = [Folder("", f"{commit}^{{tree}}", wanted or None)]
        found: dict[str, Entry] = {}
        read = 0
        while waiting:
            read += len(waiting)
            if read > TREES_MOST or len(found) > FILES_MOST:
                return None
            trees = self._trees([one.sha for one in waiting])
            if trees is None:
                return None
            below: list[Folder] = []
            for folder, tree in zip(waiting, trees, strict=True):
                _look(folder, tree, found, below)
            waiting = below
        return {name: found[name] for name in sorted(found, key=os.fsencode)}

    def _trees(self, shas: Sequence[str]) -> list[Mapping[str, Entry]] | None:
        with self._lock:
            known = {sha: self._kept[sha] for sha in shas if sha in self._kept}
            for sha in known:
                self._kept.move_to_end(sha)
        missing = [sha for sha in dict.fromkeys(shas) if sha not in known]
        for sha, found in zip(missing, self._objects.read(missing, largest=LARGEST), strict=True):
            if found is None:
                raise WorkspaceError(f"object {sha} is missing from the repository")
            if found.data is None or found.kind != "tree":
                return None
            try:
                known[sha] = entries_of(found.data, len(found.sha) // 2)
            except ValueError:
                return None  # a broken tree: git says what is wrong with it
            self._keep(sha, known[sha])
        return [known[sha] for sha in shas]

    def _keep(self, sha: str, tree: Mapping[str, Entry]) -> None:
        if len(tree) + 1 > self._most:
            return
        with self._lock:
            if sha not in self._kept:
                self._kept[sha] = tree
                self._entries += len(tree) + 1
            while self._entries > self._most:
                _, oldest = self._kept.popitem(last=False)
                self._entries -= len(oldest) + 1


def _look(
    folder: Folder, tree: Mapping[str, Entry], found: dict[str, Entry], below: list[Folder]
) -> None:
    """Sort what is asked for in one folder into files, and folders that are to be looked at."""
    asked: dict[str, list[tuple[str, ...]]] = {}
    if folder.wanted is None:
        asked = {name: [()] for name in tree}
    else:
        for path in folder.wanted:
            if path[0] in tree:
                asked.setdefault(path[0], []).append(path[1:])
    for name, rest in asked.items():
        entry = tree[name]
        whole = () in rest
        if entry[0] == FOLDER:
            wanted = None if whole else tuple(rest)
            below.append(Folder(f"{folder.prefix}{name}/", entry[1], wanted))
        elif whole:
            found[folder.prefix + name] = entry


def entries_of(data: bytes, width: int) -> dict[str, Entry]:
    """Return what a tree holds: mode, as git tells it, and object id by name.

    Args:
        data: a tree object.
        width: bytes of an object's id.
    """
    found: dict[str, Entry] = {}
    at = 0
    while at < len(data):
        end = data.index(b"\0", at)
        mode, _, name = data[at:end].partition(b" ")
        at = end + 1 + width
        found[os.fsdecode(name)] = (_mode(mode), data[end + 1 : at].hex())
    return found


def _mode(written: bytes) -> str:
    """Return the mode that git takes an entry for; old trees hold others."""
    number = int(written, 8)
    if stat.S_ISREG(number):
        return "100755" if number & 0o100 else "100644"
    if stat.S_ISLNK(number):
        return "120000"
    return FOLDER if stat.S_ISDIR(number) else "160000"
