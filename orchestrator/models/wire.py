"""One HTTP connection to the model's service: a request goes out whole, its answer in pieces."""

from __future__ import annotations

import contextlib
import select
import ssl
import zlib
from collections import deque
from collections.abc import Mapping, Sequence

import anyio
import anyio.abc
import h11
from anyio.streams.tls import TLSAttribute

HEAD_LIMIT = 100 * 1024
"""Bytes of an answer's head, or of a line between two pieces."""
CHUNK = 64 * 1024
INFLATED = 1024 * 1024
"""Bytes of one piece after it was unpacked; the rest follows in the next ones."""
AT_ONCE = 256 * 1024
"""Bytes of a request that are sent without listening meanwhile: to listen costs 0.1 ms."""
EARLY_MOST = 64
"""Parts of an answer that are taken in while its request is still being sent."""
PACKED = {"gzip", "deflate", "x-gzip"}
BROKEN = (
    OSError,
    anyio.BrokenResourceError,
    anyio.BusyResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
)
"""How a connection says that it is gone."""

Headers = Sequence[tuple[bytes, bytes]]


def written(headers: Mapping[str, str]) -> Headers:
    """Return headers as they are sent; they are plain ASCII."""
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]


def why(error: BaseException) -> str:
    """Return in words why a connection is gone."""
    cause = error.__cause__ or error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, anyio.EndOfStream):
        return "the other side closed it"
    return str(cause) or type(cause).__name__


def _has_more(encrypted: ssl.SSLObject) -> bool:
    """Tell whether something came that was not read yet, or the end."""
    try:
        encrypted.read(1)
    except ssl.SSLWantReadError:
        return False
    return True


class WireError(Exception):
    """The connection broke, or what came over it is no HTTP; the words hold nothing secret."""


class Wire:
    """A connection over which one request goes at a time.

    Args:
        stream: the connection, encrypted where it has to be; it is this object's from now on.
    """

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self._stream = stream
        self._socket = stream.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610 - no SQL
        self._encrypted = stream.extra(TLSAttribute.ssl_object, None)  # noqa: S610 - no SQL
        self._parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
        self._inflate: zlib._Decompress | None = None
        self._rest = b""
        self._early: deque[object] = deque()
        self._sent = True
        self.free_since = anyio.current_time()
        self.is_closed = False

    async def send(
        self, target: bytes, headers: Headers, body: bytes, *, method: bytes = b"POST"
    ) -> None:
        """Send a request; where it breaks off, its answer is looked for, and tells more.

        Raises:
            WireError: it cannot be written.
        """
        size = (b"content-length", b"%d" % len(body))
        try:
            asked = h11.Request(method=method, target=target, headers=[*headers, size])
            sent = (self._parser.send(asked) or b"") + (self._parser.send(h11.Data(body)) or b"")
            self._parser.send(h11.EndOfMessage())
        except h11.LocalProtocolError:
            # What is wrong would be quoted, and it may be the key.
            raise WireError("the request cannot be written as HTTP") from None
        self._sent = False
        if len(sent) <= AT_ONCE:
            await self._send(sent)
            return
        # A service that refuses a request may close before it has read all of it. What it said is
        # lost with the connection, unless it was taken in before.
        async with anyio.create_task_group() as both:
            both.start_soon(self._listen, both.cancel_scope)
            await self._send(sent)
            both.cancel_scope.cancel()

    async def _send(self, sent: bytes) -> None:
        with contextlib.suppress(*BROKEN):
            await self._stream.send(sent)
            self._sent = True

    async def _listen(self, sending: anyio.CancelScope) -> None:
        """Take in what is answered early; once that is whole, or broken, no more is sent."""
        while len(self._early) < EARLY_MOST:
            try:
                event = await self._received()
            except WireError as error:
                event = error
            self._early.append(event)
            if isinstance(event, h11.EndOfMessage | WireError):
                sending.cancel()
                return

    async def head(self) -> tuple[int, dict[str, str]]:
        """Return the answer's status and headers, their names in lower case.

        Raises:
            WireError: none comes.
        """
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                break
            if not isinstance(event, h11.InformationalResponse):
                raise WireError("the service sent something else than an answer")
        headers: dict[str, str] = {}
        for name, value in event.headers:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        packed = headers.get("content-encoding", "identity").strip().lower()
        if packed in PACKED:
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        elif packed not in {"identity", ""}:
            raise WireError("the service answered in an encoding that was not asked for")
        return event.status_code, headers

    async def data(self) -> bytes:
        """Return the next bytes of the answer; none at its end.

        Raises:
            WireError: it broke off.
        """
        while True:
            data = self._inflated() if self._rest else await self._piece()
            if data is None or data:
                return data or b""

    async def _piece(self) -> bytes | None:
        event = await self._next()
        if isinstance(event, h11.EndOfMessage):
            self._end()
            return None
        if not isinstance(event, h11.Data):
            raise WireError("the service sent something else amid an answer")
        if self._inflate is None:
            return bytes(event.data)
        self._rest = bytes(event.data)
        return self._inflated()

    def _inflated(self) -> bytes:
        """Unpack a bounded part of what has come."""
        if self._inflate is None:
            return b""
        try:
            data = self._inflate.decompress(self._rest, INFLATED)
        except zlib.error:
            raise WireError("the service's answer cannot be unpacked") from None
        if self._inflate.unused_data:
            raise WireError("the service's answer goes on after its packed part")
        self._rest = self._inflate.unconsumed_tail
        return data

    async def _next(self) -> object:
        if not self._early:
            return await self._received()
        event = self._early.popleft()
        if isinstance(event, WireError):
            raise event
        return event

    async def _received(self) -> object:
        parser = self._parser
        try:
            while (event := parser.next_event()) is h11.NEED_DATA:
                try:
                    received = await self._stream.receive(CHUNK)
                except anyio.EndOfStream:
                    received = b""
                    if parser.their_state is h11.SEND_RESPONSE and not parser.trailing_data[0]:
                        raise WireError("the service closed it without an answer") from None
                parser.receive_data(received)
        except h11.RemoteProtocolError as error:
            # What came is quoted behind a colon, and may repeat the key.
            said = str(error).partition(":")[0]
            raise WireError(f"the service's answer is broken: {said}"[:300]) from None
        except BROKEN as error:
            raise WireError(f"the connection broke: {why(error)}"[:300]) from None
        return event

    def _end(self) -> None:
        """Make ready for the next request, where both sides can take one."""
        self._inflate = None
        parser = self._parser
        done = parser.our_state is h11.DONE and parser.their_state is h11.DONE
        if done and self._sent and not parser.trailing_data[0]:
            parser.start_next_cycle()
            self.free_since = anyio.current_time()

    @property
    def is_free(self) -> bool:
        """Tell whether another request can go over it."""
        return not self.is_closed and self._parser.our_state is h11.IDLE

    def is_stale(self) -> bool:
        """Tell whether the service has closed it, or sent something that nobody asked for."""
        try:
            waiting = select.poll()
            waiting.register(self._socket.fileno(), select.POLLIN)
            return bool(waiting.poll(0)) or (
                self._encrypted is not None and _has_more(self._encrypted)
            )
        except (OSError, ValueError):
            return True

    async def aclose(self) -> None:
        """Close the connection."""
        self.is_closed = True
        with contextlib.suppress(*BROKEN):
            await self._stream.aclose()
