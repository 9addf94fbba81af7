"""A socket to a process, as fast as two processes can talk on one event loop."""

from __future__ import annotations

import socket

import anyio
import anyio.lowlevel

CHUNK = 65536
IN_A_ROW = 16
"""Chunks that are taken without letting anybody else run."""


class Channel:
    """One end of a socket pair.

    Unlike anyio's own streams it goes through the event loop only where it has to wait: a call of a
    tool is one message each way, and a pass through the loop costs as much as the message.

    Args:
        end: the socket; it is this object's from now on.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._in_a_row = 0

    async def send(self, data: bytes) -> None:
        """Write all of the bytes.

        Raises:
            anyio.BrokenResourceError: the other end is gone.
            anyio.ClosedResourceError: this end was closed.
        """
        view = memoryview(data)
        while view:
            try:
                view = view[self._end.send(view) :]
            except BlockingIOError:
                await anyio.wait_writable(self._end)
            except OSError as error:
                raise self._failure() from error

    async def receive(self) -> bytes:
        """Return the next bytes.

        Raises:
            anyio.EndOfStream: the other end is gone.
            anyio.ClosedResourceError: this end was closed.
        """
        self._in_a_row += 1
        if self._in_a_row > IN_A_ROW:
            self._in_a_row = 0
            await anyio.lowlevel.checkpoint()
        while True:
            try:
                data = self._end.recv(CHUNK)
            except BlockingIOError:
                self._in_a_row = 0
                await anyio.wait_readable(self._end)
                continue
            except OSError as error:
                raise self._failure() from error
            if not data:
                raise anyio.EndOfStream
            return data

    def _failure(self) -> Exception:
        closed = self._end.fileno() < 0
        return anyio.ClosedResourceError() if closed else anyio.BrokenResourceError()

    async def aclose(self) -> None:
        """Close this end; who waits for it learns that it was closed."""
        if self._end.fileno() >= 0:
            anyio.notify_closing(self._end)
            self._end.close()
        await anyio.lowlevel.checkpoint()
