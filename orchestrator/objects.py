"""Objects of a repository, read through one git process that stays, and listings that are kept."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from orchestrator.errors import WorkspaceError
from orchestrator.standing import NoAnswer, StandingGit
from orchestrator.values import frozen

AT_ONCE = 64
"""Names that are asked for before the answers are read: they fit a pipe, so nobody waits."""
CHUNK = 1024 * 1024
ENTRIES_KEPT = 60_000
"""Files in all listings that are kept; each takes some 300 bytes."""
KINDS = frozenset({b"blob", b"tree", b"commit", b"tag"})
FULL_ID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")

Entry = tuple[str, str]
"""Mode and object id of a file."""


@frozen
class Found:
    """One object.

    Attributes:
        sha: its full id.
        kind: ``blob``, ``tree``, ``commit`` or ``tag``.
        data: its content; None where that is larger than was asked for.
    """

    sha: str
    kind: str
    data: bytes | None


class ObjectReader:
    """Reads objects by one ``git cat-file --batch`` that is started when it is first needed.

    It may be used from several threads. Git looks for new packs and refs at every question, so
    what was written after its start is found as well.

    Args:
        common: the repository's common git directory.
    """

    def __init__(self, common: Path) -> None:
        self._common = common
        self._git = StandingGit(common, "cat-file", "--batch")

    @property
    def pid(self) -> int | None:
        """Return the process that answers, if there is one."""
        return self._git.pid

    def read(self, names: Sequence[str], *, largest: int) -> list[Found | None]:
        """Return objects by id or by any name of git's; None for each that is not there.

        Args:
            names: what is asked for.
            largest: bytes above which a content is left out.

        Raises:
            WorkspaceError: git does not answer.
        """
        found: list[Found | None] = []
        for at in range(0, len(names), AT_ONCE):
            found += self._some(names[at : at + AT_ONCE], largest)
        return found

    def close(self) -> None:
        """End the process; the next question starts another."""
        self._git.close()

    def _some(self, names: Sequence[str], largest: int) -> list[Found | None]:
        """Ask for a few; a process that somebody has ended is started anew, once."""
        # A name of two lines would be two questions, and of one with a NUL git reads the first
        # part; no object has such a name.
        lines = [os.fsencode("-" if {"\n", "\0"} & {*name} else name) + b"\n" for name in names]
        for _ in range(2):
            with contextlib.suppress(NoAnswer):
                return self._git.ask(
                    b"".join(lines), lambda output: [_next(output, largest) for _ in names]
                )
        raise WorkspaceError(f"git does not read objects of {self._common}", hint="run: git fsck")


def _next(output: IO[bytes], largest: int) -> Found | None:
    """Read the next answer whole."""
    head = output.readline()
    if not head.endswith(b"\n"):
        raise EOFError
    words = head.split()
    # What is not there is told by its name, which may hold spaces, and a word.
    if len(words) != 3 or words[1] not in KINDS or not words[2].isdigit():
        return None
    size = int(words[2])
    data = _exactly(output, size) if size <= largest else None
    if data is None:
        for at in range(0, size, CHUNK):
            _exactly(output, min(CHUNK, size - at))
    _exactly(output, 1)
    return Found(words[0].decode(), words[1].decode(), data)


def _exactly(output: IO[bytes], size: int) -> bytes:
    data = output.read(size)
    if len(data) != size:
        raise EOFError
    return data


class Listing:
    """The files of one commit."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries
        self._sorted = sorted(entries)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._entries)

    def below(self, paths: Sequence[str]) -> dict[str, Entry]:
        """Return the files at or below some paths; all of them where none is named."""
        if not paths:
            return dict(self._entries)
        found = sorted({name for path in paths for name in self._at(path.rstrip("/"))})
        return {name: self._entries[name] for name in found}

    def _at(self, path: str) -> Iterator[str]:
        if path in self._entries:
            yield path
        prefix = f"{path}/"
        for at in range(bisect_left(self._sorted, prefix), len(self._sorted)):
            if not self._sorted[at].startswith(prefix):
                return
            yield self._sorted[at]


class Listings:
    """Listings of commits, kept as long as there is room: what a full id names never changes."""

    def __init__(self, most: int = ENTRIES_KEPT) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, ...], Listing] = OrderedDict()
        self._entries = 0

    def find(self, commit: str, paths: Sequence[str]) -> dict[str, Entry] | None:
        """Return the files at or below some paths of a commit, if they are known."""
        with self._lock:
            for key, wanted in (((commit,), paths), ((commit, *paths), ())):
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key].below(wanted)
        return None

    def keep(self, commit: str, paths: Sequence[str], entries: Mapping[str, Entry]) -> None:
        """Keep what was found at or below some paths of a commit, if there is room."""
        if not FULL_ID.fullmatch(commit) or len(entries) + 1 > self._most:
            return
        listing = Listing(dict(entries))
        with self._lock:
            before = self._kept.pop((commit, *paths), None)
            self._entries += len(listing) + 1 - (len(before) + 1 if before is not None else 0)
            self._kept[(commit, *paths)] = listing
            while self._entries > self._most:
                _, oldest = self._kept.popitem(last=False)
                self._entries -= len(oldest) + 1
