"""Something on this machine that answers raw bytes, HTTP or not, and sees when it is left."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class RawService:
    """What answers each head of a request with the same bytes.

    Attributes:
        more: what it says right after that.
        closes: whether it closes after that; else it waits until it is left.
        left: counts who closed a connection.
    """

    answer: bytes
    closes: bool
    more: bytes
    port: int = 0
    heads: list[bytes] = field(default_factory=list)
    left: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer on one connection."""
        own = asyncio.current_task()
        assert own is not None
        self.tasks.add(own)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(self.answer)
                writer.write(self.more)
                await writer.drain()
                while not self.closes and await reader.read(65536):
                    pass
            self.left.release()
        finally:
            writer.close()


@asynccontextmanager
async def answering(
    answer: bytes, *, more: bytes = b"", closes: bool = False, secured: ssl.SSLContext | None = None
) -> AsyncIterator[RawService]:
    """Run something that answers these bytes."""
    service = RawService(answer, closes, more)
    async with await asyncio.start_server(service.serve, "127.0.0.1", 0, ssl=secured) as server:
        service.port = server.sockets[0].getsockname()[1]
        try:
            yield service
        finally:
            for task in service.tasks:
                task.cancel()
            await asyncio.gather(*service.tasks, return_exceptions=True)
