"""What a client may ask the proxy for."""

from __future__ import annotations

from typing import cast

import anyio
import anyio.abc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.egress.request import BrokenRequest, Wanted, answer, read_request


class Saying:
    """A client that says something and hangs up."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return the next piece."""
        if not self._pieces:
            raise anyio.EndOfStream
        return self._pieces.pop(0)[:max_bytes]


def asked(*pieces: bytes) -> Wanted:
    """Return what a client wants that says these pieces."""
    return anyio.run(read_request, cast("anyio.abc.ByteStream", Saying(*pieces)))


def test_a_tunnel_is_asked_for() -> None:
    """CONNECT names host and port."""
    wanted = asked(b"CONNECT pypi.org:443 HTTP/1.1\r\nHost: pypi.org:443\r\n\r\n")
    assert wanted == Wanted("pypi.org", 443, tunnel=True)


def test_a_page_is_asked_for_without_tls() -> None:
    """The server is sent its own form of the request, and nothing that was meant for the proxy."""
    wanted = asked(
        b"GET http://deb.example.org/a?b=c HTTP/1.1\r\nHost: evil.example\r\nAccept: */*\r\n",
        b"Proxy-Authorization: Basic x\r\nConnection: keep-alive\r\n\r\n",
    )
    assert (wanted.host, wanted.port, wanted.tunnel) == ("deb.example.org", 80, False)
    lines = wanted.forwarded.split(b"\r\n")
    assert lines[0] == b"GET /a?b=c HTTP/1.1"
    assert {one.lower() for one in lines[1:] if one} == {
        b"host: deb.example.org",
        b"accept: */*",
        b"connection: close",
    }


@pytest.mark.parametrize(
    "said",
    [
        b"POST http://deb.example.org/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
        b"PUT http://deb.example.org/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"GET http://deb.example.org/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nsmugg",
        b"GET http://a.org/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: pypi.org\r\n\r\n",
        b"GET ftp://pypi.org/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://me:secret@pypi.org/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://pypi.org:99999/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT pypi.org HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT pypi.org:0 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT :443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT pypi.org:" + b"4" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x00\x00",
        b"GET http://a.org/ HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 40_000,
    ],
)
def test_what_is_not_served_is_refused(said: bytes) -> None:
    """No method that sends, no body, no other scheme, no broken or endless head."""
    with pytest.raises(BrokenRequest):
        asked(*(said[at : at + 4096] for at in range(0, len(said), 4096)))


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    """No bytes break the parser: it refuses them, or the client hangs up."""
    with pytest.raises((BrokenRequest, anyio.EndOfStream)):
        asked(data)


@given(st.text(max_size=40))
def test_what_is_told_of_a_host_is_plain(host: str) -> None:
    """A host's name comes from inside; no control, space or quote of it is ever told."""
    try:
        wanted = asked(
            b"CONNECT " + host.encode("utf-8", "replace") + b":443 HTTP/1.1\r\nHost: x\r\n\r\n"
        )
    except (BrokenRequest, anyio.EndOfStream):
        return
    assert all(one.isalnum() or one in ".-_:[]*?" for one in wanted.host)


def test_an_answer_is_whole() -> None:
    """A refusal is a complete answer that ends the connection."""
    said = answer(403, "no \u20ac")
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 Forbidden") and b"connection: close" in head
    assert f"content-length: {len(body)}".encode() in head
    assert body.decode() == "orchestrate: no \u20ac\n"
