"""One check of the walls for all who ask for it at once, or soon after one another."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import anyio

from orchestrator.errors import SandboxUnavailable

FRESH_S = 1.0
"""For so long what was proved is taken to hold; a sandbox's start takes a part of it anyway."""


class Checking:
    """Runs a check; whoever asks while it runs waits for it, and hears the same.

    A hundred runs that begin together would otherwise prove the same walls a hundred times. What
    was proved also holds for who asks within a second of the check's beginning; what failed does
    not.

    Args:
        clock: tells seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._running: _Check | None = None
        self._proved = ""
        self._fresh_until = 0.0

    async def once(self, check: Callable[[], Awaitable[str]]) -> str:
        """Return what a check proves, this one's or that of one that runs already.

        Raises:
            SandboxUnavailable: it failed.
        """
        if self._proved and self._clock() < self._fresh_until:
            return self._proved
        while self._running is not None:
            running = self._running
            await running.ended.wait()
            if running.said is not None:
                return running.said
            if running.failed is not None:
                raise SandboxUnavailable(str(running.failed), hint=running.failed.hint)
            # Whoever ran it was called off, which tells nothing about the walls.
        running = self._running = _Check()
        begun = self._clock()
        try:
            running.said = await check()
            self._proved, self._fresh_until = running.said, begun + FRESH_S
        except SandboxUnavailable as error:
            running.failed = error
            raise
        finally:
            self._running = None
            running.ended.set()
        return running.said


class _Check:
    """A check under way, and how it ended."""

    def __init__(self) -> None:
        self.ended = anyio.Event()
        self.said: str | None = None
        self.failed: SandboxUnavailable | None = None
