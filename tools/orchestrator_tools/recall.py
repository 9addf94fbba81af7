"""What the agent last saw of files, kept a while to say what has changed since.

A convenience of one life of the server: nothing depends on it, and a server that was started anew
only says that a file has changed.
"""

from __future__ import annotations

import _thread

from orchestrator_tools.output import RECALL_LIMIT


class Recall:
    """A bounded number of bytes of contents by their fingerprint; the oldest are forgotten."""

    def __init__(self, limit: int = RECALL_LIMIT) -> None:
        self._limit = limit
        self._size = 0
        self._contents: dict[str, bytes] = {}
        self._lock = _thread.allocate_lock()

    def keep(self, fingerprint: str, data: bytes) -> None:
        """Keep a content, unless it is so large that it would push out most others."""
        if len(data) > self._limit // 4:
            return
        with self._lock:
            known = self._contents.pop(fingerprint, None)
            self._size += len(data) - len(known or b"")
            self._contents[fingerprint] = data
            while self._size > self._limit:
                self._size -= len(self._contents.pop(next(iter(self._contents))))

    def of(self, fingerprint: str) -> bytes | None:
        """Return a content, if it is still kept."""
        with self._lock:
            data = self._contents.pop(fingerprint, None)
            if data is not None:
                self._contents[fingerprint] = data  # the latest
            return data
