"""A small proxy on this machine: it passes on what comes after CONNECT, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Proxy:
    """A proxy that reaches one place, whatever it is asked for.

    Attributes:
        place: the port of what it reaches.
        heads: what it was asked.
    """

    place: int
    url: str = ""
    heads: list[bytes] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on."""
        own = asyncio.current_task()
        assert own is not None
        self.tasks.add(own)
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        there, to_there = await asyncio.open_connection("127.0.0.1", self.place)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Connection established\r\n\r\n")
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pass_on(reader, to_there))
                both.create_task(_pass_on(there, writer))
        finally:
            writer.close()
            to_there.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def passing_on(place: int, *, secured: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """Run a proxy in front of a port."""
    proxy = Proxy(place)
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=secured) as server:
        port = server.sockets[0].getsockname()[1]
        proxy.url = f"{'https' if secured else 'http'}://127.0.0.1:{port}"
        try:
            yield proxy
        finally:
            for task in proxy.tasks:
                task.cancel()
            await asyncio.gather(*proxy.tasks, return_exceptions=True)
