"""Files of a commit, told from its trees.

No process is started for it, and what commits share is read once.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.objects import AT_ONCE, Entry, Found, ObjectReader
from orchestrator.values import frozen

TREES_MOST = 256
"""Folders above which a question is left to git, which is quicker at many."""
FILES_MOST = 5_000
ENTRIES_MOST = 100_000
"""Entries of all trees that are read for one question."""
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
            it, a path is not plain, or a tree is broken or not found here.

        Raises:
            WorkspaceError: git does not answer.
        """
        wanted = tuple(tuple(path.split("/")) for path in paths)
        if any(part in {"", ".", ".."} for path in wanted for part in path):
            return None
        waiting = [Folder("", f"{commit}^{{tree}}", wanted or None)]
        found: dict[str, Entry] = {}
        folders, entries = 1, 0
        while waiting:
            below: list[Folder] = []
            for folder, tree in self._each(waiting):
                # A tree of some bytes may name a wide one hundreds of times, so all is counted
                # before it is built.
                entries += len(tree) if tree is not None else 0
                if tree is None or entries > ENTRIES_MOST:
                    return None
                left = TREES_MOST - folders - len(below) + FILES_MOST - len(found)
                if folder.wanted is None and len(tree) > left:
                    return None
                _look(folder, tree, found, below)
                if folders + len(below) > TREES_MOST or len(found) > FILES_MOST:
                    return None
            folders += len(below)
            waiting = below
        return {name: found[name] for name in sorted(found, key=os.fsencode)}

    def _each(
        self, folders: Sequence[Folder]
    ) -> Iterator[tuple[Folder, Mapping[str, Entry] | None]]:
        """Read the trees of folders as they are needed; None for what is left to git."""
        for at in range(0, len(folders), AT_ONCE):
            some = folders[at : at + AT_ONCE]
            with self._lock:
                known = {one.sha: self._kept[one.sha] for one in some if one.sha in self._kept}
                for sha in known:
                    self._kept.move_to_end(sha)
            missing = [sha for sha in dict.fromkeys(one.sha for one in some) if sha not in known]
            objects = self._objects.read(missing, largest=LARGEST)
            read = dict(zip(missing, objects, strict=True))
            for folder in some:
                tree = known.get(folder.sha)
                if tree is None and (tree := _tree_of(read[folder.sha])) is not None:
                    known[folder.sha] = tree
                    self._keep(folder.sha, tree)
                yield folder, tree

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


def _tree_of(found: Found | None) -> Mapping[str, Entry] | None:
    """Return what a tree holds; None where git has to say what it finds, or what is wrong."""
    if found is None or found.data is None or found.kind != "tree":
        return None
    try:
        return entries_of(found.data, len(found.sha) // 2)
    except ValueError:
        return None


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
