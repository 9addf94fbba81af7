"""Connections to the model's service: one for each request under way, kept for the next ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio

from orchestrator.models.wire import Wire

KEEP_ALIVE_S = 300.0
CLOSE_S = 2.0
KEPT_MOST = 512
"""Idle connections that are kept; more are closed as they become free."""


class Connections:
    """Lends connections; the one that was used last goes out first.

    Args:
        connect: makes a new one.
    """

    def __init__(self, connect: Callable[[], Awaitable[Wire]]) -> None:
        self._connect = connect
        self._idle: list[Wire] = []
        self._closed = False

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Wire]:
        """Lend a connection that nobody else uses meanwhile.

        Raises:
            ModelError: none can be made.
        """
        wire = await self._kept() or await self._connect()
        try:
            yield wire
        finally:
            # What broke off in the middle of an answer is of no further use.
            if wire.is_free and not self._closed and len(self._idle) < KEPT_MOST:
                self._idle.append(wire)
                await self._drop_old()
            else:
                await _close(wire)

    async def _kept(self) -> Wire | None:
        """Return one that is still good; the service may have closed it meanwhile."""
        while self._idle:
            wire = self._idle.pop()
            if anyio.current_time() - wire.free_since < KEEP_ALIVE_S and not wire.is_stale():
                return wire
            await _close(wire)
        return None

    async def _drop_old(self) -> None:
        """Close what has waited too long: after a busy hour it would never be looked at again."""
        while self._idle and anyio.current_time() - self._idle[0].free_since >= KEEP_ALIVE_S:
            await _close(self._idle.pop(0))

    async def aclose(self) -> None:
        """Close what is idle now, and what is lent when it comes back."""
        self._closed = True
        while self._idle:
            await _close(self._idle.pop())


async def _close(wire: Wire) -> None:
    with anyio.move_on_after(CLOSE_S, shield=True):
        await wire.aclose()
