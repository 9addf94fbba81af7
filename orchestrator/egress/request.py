"""What a client asks a proxy for (RFC 9112): CONNECT for TLS, or a whole address without it."""

from __future__ import annotations

from urllib.parse import urlsplit

import anyio
import anyio.abc
import h11

from orchestrator.values import frozen

LONGEST_HEAD = 16 * 1024
PLAIN = (b"GET", b"HEAD")
"""Without TLS nothing but reading passes: what would be sent could be read on the way."""
HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
}


class BrokenRequest(ValueError):
    """It is not a request that this proxy serves."""


@frozen
class Wanted:
    """What a client wants.

    Attributes:
        tunnel: whether TLS follows.
        forwarded: without TLS, the bytes of the request to send to the server.
    """

    host: str
    port: int
    tunnel: bool
    forwarded: bytes = b""


async def read_request(client: anyio.abc.ByteStream) -> Wanted:
    """Read one request.

    Raises:
        BrokenRequest: it is none that is served here.
    """
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=LONGEST_HEAD)
    try:
        while True:
            event = parser.next_event()
            if isinstance(event, h11.Request):
                break
            if event is not h11.NEED_DATA:
                raise BrokenRequest("no request came")
            parser.receive_data(await client.receive(LONGEST_HEAD))
        if event.method == b"CONNECT":
            return _tunnel(event.target)
        following = parser.next_event()
    except h11.RemoteProtocolError as error:
        raise BrokenRequest(f"the request is broken: {error}") from None
    if event.method not in PLAIN or not isinstance(following, h11.EndOfMessage):
        raise BrokenRequest("without TLS only GET and HEAD are served")
    return _plain(event)


def _tunnel(target: bytes) -> Wanted:
    host, _, port = target.decode("ascii", "replace").rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port[:6]) < 65536:
        raise BrokenRequest("CONNECT needs a host and a port")
    return Wanted(_shown(host), int(port), tunnel=True)


def _plain(request: h11.Request) -> Wanted:
    try:
        url = urlsplit(request.target.decode("ascii"))
        port = url.port or 80
    except ValueError:
        raise BrokenRequest("the address is broken") from None
    if url.scheme != "http" or not url.hostname or url.username is not None:
        raise BrokenRequest("a proxy's request names a whole address that begins with http://")
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    named = url.hostname if port == 80 else f"{url.hostname}:{port}"
    kept = [(name, value) for name, value in request.headers if name not in HOP_BY_HOP]
    headers = [(b"host", named.encode()), *((n, v) for n, v in kept if n != b"host")]
    writer = h11.Connection(h11.CLIENT)
    try:
        sent = writer.send(
            h11.Request(
                method=request.method,
                target=path.encode(),
                headers=[*headers, (b"connection", b"close")],
            )
        )
    except h11.LocalProtocolError as error:
        raise BrokenRequest(f"the request is broken: {error}") from None
    return Wanted(_shown(url.hostname), port, tunnel=False, forwarded=sent or b"")


def _shown(host: str) -> str:
    """Return a host as it can be told: it comes from inside, and is read by people and models."""
    return "".join(one if one.isalnum() or one in ".-_:[]*" else "?" for one in host)[:253]


def answer(status: int, text: str) -> bytes:
    """Return a whole answer of the proxy's own."""
    if status == 200:
        return b"HTTP/1.1 200 Connection established\r\n\r\n"
    reason = {400: "Bad Request", 403: "Forbidden", 502: "Bad Gateway"}[status]
    body = f"orchestrate: {text}\n".encode("utf-8", "replace")
    head = (
        f"HTTP/1.1 {status} {reason}\r\ncontent-type: text/plain; charset=utf-8\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
