"""How many runs of this process start or hand in their work on this machine at once."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel

MORE = 1
"""Places beyond one a processor: while one run's programs wait for a disk, another's work."""


class Pacing:
    """Lets a few runs at a time do what keeps the processors busy; the others wait in order.

    Making a workspace, starting a sandbox and bringing work out cost processor time, most other
    parts of a run are waiting. A hundred runs that did the former side by side would all be ready
    at the end of it, and then all wait; one after the other, most of them work meanwhile. No
    command of an agent, a setup or a gate is waited for with a place in hand.

    Args:
        most: runs at once; 0 leaves it to the machine.
    """

    def __init__(self, most: int = 0) -> None:
        room = most or (os.cpu_count() or 1) + MORE
        self._room = anyio.Semaphore(room, fast_acquire=True)
        self._door = anyio.Lock()

    async def begin(self) -> None:
        """Wait for this run's turn to begin: one in each round of the event loop.

        Of a hundred that are begun at once the first would else send its request when the last
        one has got as far, and all would then wait and work in step.
        """
        async with self._door:
            await anyio.lowlevel.checkpoint()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Run the block when it is this run's turn; nothing in it may ask for a place again."""
        async with self._room:
            yield
