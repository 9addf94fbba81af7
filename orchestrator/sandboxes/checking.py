"""One check of the walls for all who ask for it at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from orchestrator.errors import SandboxUnavailable


class Checking:
    """Runs a check; whoever asks while it runs waits for it, and hears the same.

    A hundred runs that begin together would otherwise prove the same walls a hundred times.
    """

    def __init__(self) -> None:
        self._running: _Check | None = None

    async def once(self, check: Callable[[], Awaitable[str]]) -> str:
        """Return what a check proves, this one's or that of one that runs already.

        Raises:
            SandboxUnavailable: it failed.
        """
        while self._running is not None:
            running = self._running
            await running.ended.wait()
            if running.said is not None:
                return running.said
            if running.failed is not None:
                raise SandboxUnavailable(str(running.failed), hint=running.failed.hint)
            # Whoever ran it was called off, which tells nothing about the walls.
        running = self._running = _Check()
        try:
            running.said = await check()
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
