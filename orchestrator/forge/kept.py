"""Answers of services kept on disk, to be asked for again only where they have changed."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

ENTRY_LIMIT = 4 * 1024 * 1024
ENTRIES = 400
BYTES = 64 * 1024 * 1024


class KeptAnswers:
    """A private folder of answers; one that cannot be read or written counts as empty.

    Args:
        folder: is made when it is needed, readable by its owner alone.
        entries: the most answers that are kept.
        size: the most bytes that they take up together.
    """

    def __init__(self, folder: Path, *, entries: int = ENTRIES, size: int = BYTES) -> None:
        self._folder = folder
        self._entries = entries
        self._size = size

    @staticmethod
    def name(*parts: str) -> str:
        """Return an answer's name; nothing of the parts can be told from it."""
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()

    def get(self, name: str) -> dict[str, Any] | None:
        """Return what is kept under a name."""
        try:
            descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                found = orjson.loads(file.read(ENTRY_LIMIT + 1))
        except (OSError, ValueError):
            return None
        whole = isinstance(found, dict) and found.get("name") == name
        return found if whole and {"etag", "link", "data"} <= found.keys() else None

    def put(self, name: str, *, etag: str, link: str, data: Any) -> None:
        """Keep an answer under a name."""
        row = orjson.dumps({"name": name, "etag": etag, "link": link, "data": data})
        if len(row) > ENTRY_LIMIT:
            return
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, temporary = tempfile.mkstemp(prefix=".new.", dir=self._folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(row)
                Path(temporary).replace(self._folder / name)
            except OSError:
                Path(temporary).unlink(missing_ok=True)
                raise
            self._shorten()

    def _shorten(self) -> None:
        """Drop the oldest answers until the rest are within bounds."""
        rows = []
        with os.scandir(self._folder) as found:
            for one in found:
                with suppress(OSError):
                    kept = one.stat(follow_symlinks=False)
                    rows.append((kept.st_mtime_ns, kept.st_size, one.path))
        rows.sort(reverse=True)
        total = 0
        for number, (_, size, path) in enumerate(rows):
            total += size
            if number >= self._entries or total > self._size:
                Path(path).unlink(missing_ok=True)
