"""Objects of a repository, read through one git process that stays, and listings that are kept.

A run's end asks for dozens of small things; a git process for each would cost more than the
things themselves.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import weakref
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from orchestrator.errors import WorkspaceError
from orchestrator.hostgit import environment
from orchestrator.values import frozen

AT_ONCE = 64
"""Names that are asked for before the answers are read: they fit a pipe, so nobody waits."""
CHUNK = 1024 * 1024
END_S = 5.0
ENTRIES_KEPT = 60_000
"""Files in all listings that are kept; each takes some 300 bytes."""
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
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ending: weakref.finalize[[subprocess.Popen[bytes]], ObjectReader] | None = None

    def read(self, names: Sequence[str], *, largest: int) -> list[Found | None]:
        """Return objects by id or by any name of git's; None for each that is not there.

        Args:
            names: what is asked for.
            largest: bytes above which a content is left out.

        Raises:
            WorkspaceError: git does not answer.
        """
        with self._lock:
            found: list[Found | None] = []
            for at in range(0, len(names), AT_ONCE):
                found += self._some(names[at : at + AT_ONCE], largest)
            return found

    def close(self) -> None:
        """End the process; the next question starts another."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._ending is not None:
            self._ending()
        self._process = self._ending = None

    def _some(self, names: Sequence[str], largest: int) -> list[Found | None]:
        """Ask for a few; a process that somebody has ended is started anew, once."""
        try:
            return self._asked(names, largest)
        except (OSError, EOFError):
            self._end()
        try:
            return self._asked(names, largest)
        except (OSError, EOFError):
            self._end()
            raise WorkspaceError(
                f"git does not read objects of {self._common}", hint="run: git fsck"
            ) from None

    def _asked(self, names: Sequence[str], largest: int) -> list[Found | None]:
        process = self._running()
        if process.stdin is None or process.stdout is None:
            raise EOFError
        # A name of two lines would be two questions; no object has one.
        lines = [os.fsencode(name if "\n" not in name else "-") + b"\n" for name in names]
        process.stdin.write(b"".join(lines))
        process.stdin.flush()
        return [_next(process.stdout, largest) for _ in names]

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            try:
                self._process = subprocess.Popen(
                    ["git", "cat-file", "--batch"],
                    cwd=self._common,
                    env=environment(GIT_DIR=str(self._common)),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # a Ctrl-C in the terminal is not meant for it
                )
            except FileNotFoundError:
                raise WorkspaceError(
                    "git is not installed", hint="install git 2.31 or newer"
                ) from None
            self._ending = weakref.finalize(self, _end_process, self._process)
        return self._process


def _end_process(process: subprocess.Popen[bytes]) -> None:
    """Let a process end by the end of its input."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:
                continue
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _next(output: IO[bytes], largest: int) -> Found | None:
    """Read the next answer whole."""
    head = output.readline()
    if not head.endswith(b"\n"):
        raise EOFError
    words = head.split()
    if len(words) != 3 or words[1] not in {b"blob", b"tree", b"commit", b"tag"}:
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
