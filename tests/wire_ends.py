"""Both ends of a real connection on this machine: a Wire, and the socket of the one who answers."""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import anyio.abc
import anyio.lowlevel

from orchestrator.models.wire import Wire

SAFETY_S = 60.0
HEADERS = [(b"host", b"service.example"), (b"authorization", b"Bearer sk-secret")]


def _unread(own: socket.socket) -> int:
    """Return how many bytes wait at a socket."""
    (count,) = struct.unpack("i", fcntl.ioctl(own.fileno(), termios.FIONREAD, b"\0" * 4))
    return int(count)


@dataclass
class Ends:
    """The two ends.

    Attributes:
        wire: ours.
        near: the socket under it.
        peer: the socket of the other end; it blocks, and gives up after a while.
    """

    wire: Wire
    near: socket.socket
    peer: socket.socket

    async def play(self, pieces: list[bytes]) -> None:
        """Send pieces, each of them only when the one before was read."""
        for piece in pieces:
            self.peer.sendall(piece)
            self.noticed()
            await self.taken()

    async def taken(self) -> None:
        """Wait until everything that has arrived at our end was read there."""
        while _unread(self.near):
            await anyio.lowlevel.checkpoint()

    def noticed(self) -> None:
        """Wait until something has arrived at our end, be it only that there is no more."""
        found = select.select([self.near], [], [], SAFETY_S)
        assert found[0], "nothing arrived"


async def connected() -> Ends:
    """Connect two ends; who asks for them closes them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        stream = await anyio.connect_tcp(*server.getsockname())
        peer, _ = server.accept()
    peer.settimeout(SAFETY_S)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Ends(Wire(stream), stream.extra(anyio.abc.SocketAttribute.raw_socket), peer)


@asynccontextmanager
async def ends() -> AsyncIterator[Ends]:
    """Connect two ends for a while that is bounded, and close them."""
    with anyio.fail_after(SAFETY_S):
        both = await connected()
        try:
            yield both
        finally:
            both.peer.close()
            await both.wire.aclose()


async def asked(wire: Wire, body: bytes = b"{}") -> None:
    """Send a request."""
    await wire.send(b"/v1/messages", HEADERS, body)


async def told(wire: Wire) -> tuple[int, dict[str, str], bytes]:
    """Read a whole answer."""
    status, headers = await wire.head()
    pieces = []
    while piece := await wire.data():
        pieces.append(piece)
    return status, headers, b"".join(pieces)
