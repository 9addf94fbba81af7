"""What git's index says, read without git: a look at its bytes costs less than a process.

Source: gitformat-index.
"""

from __future__ import annotations

import os

from orchestrator_tools.values import frozen

LINK_MODE, SPARSE, SPLIT = (0o160000).to_bytes(4, "big"), b"sdir", b"link"
"""The mode of a repository that is an entry, and what marks an index as sparse or split."""
HEAD = b"DIRC" + (2).to_bytes(4, "big")
"""An index whose entries have no flags beside those that ``FLAGS`` masks."""
FIRST = 12
FLAGS_AT, NAME_AT = 60, 62
"""Where flags and name stand in an entry, with object names of 20 bytes."""
FLAGS, LENGTH = 0xF000, 0x0FFF
"""Trusted unseen, more flags, and the side of a conflict; and how long the name is, if shorter."""
CHECKSUM = 20
EXTENSION = 8
"""Bytes before each part that follows the entries: its name and its length."""


def checksum(index: str) -> str:
    """Return the checksum that git writes at the end of an index; it tells contents apart."""
    with open(index, "rb") as file:
        file.seek(-CHECKSUM, os.SEEK_END)
        return file.read(CHECKSUM).hex()


def may_hold_repositories(git: str, index: str) -> bool:
    """Tell whether an index may hold a repository as one entry; most hold none, and it is seen.

    Each entry has its mode as four bytes, whatever the version. Entries stand elsewhere where the
    index is split, or sparse.
    """
    data = _read(index)
    split = any(name.startswith("sharedindex.") for name in os.listdir(git))
    return data is not None and (split or LINK_MODE in data or SPARSE in data)


@frozen
class Plain:
    """An index in which each entry stands for a file as it was staged.

    Attributes:
        paths: that it lists.
        entries: its bytes, up to what git notes beside them.
    """

    paths: set[bytes]
    entries: bytes

    def bare(self) -> bytes:
        """Return an index of these entries and nothing else.

        What git notes beside them comes and goes: without it equal entries are equal bytes,
        however often they are staged.
        """
        try:
            from _sha1 import sha1  # type: ignore[import-not-found] # no OpenSSL for one sum
        except ImportError:
            from hashlib import sha1
        digest: bytes = sha1(self.entries, usedforsecurity=False).digest()
        return self.entries + digest


def plain(index: str) -> Plain | None:
    """Read an index.

    Returns:
        None where git would not look at some file, where a conflict is not resolved, or where the
        index is of another form than git writes unless told otherwise.
    """
    data = _read(index)
    if data is None or not data.startswith(HEAD):
        return None
    count, at, end = int.from_bytes(data[8:FIRST], "big"), FIRST, len(data) - CHECKSUM
    found = set()
    for _ in range(count):
        flags = data[at + FLAGS_AT] << 8 | data[at + FLAGS_AT + 1] if at + NAME_AT < end else FLAGS
        name = at + NAME_AT
        length = flags & LENGTH
        if length == LENGTH:
            length = data.find(b"\0", name, end) - name
        if flags & FLAGS or length <= 0 or name + length >= end:
            return None
        found.add(data[name : name + length])
        at += (NAME_AT + length + 8) & ~7
    return Plain(found, data[:at]) if _is_whole(data, at, end) else None


def _is_whole(data: bytes, at: int, end: int) -> bool:
    """Tell whether all entries stood here: what follows them may name others, elsewhere."""
    while at + EXTENSION <= end:
        if data[at : at + 4] in {SPARSE, SPLIT}:
            return False
        at += EXTENSION + int.from_bytes(data[at + 4 : at + EXTENSION], "big")
    return at == end


def _read(index: str) -> bytes | None:
    try:
        with open(index, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
