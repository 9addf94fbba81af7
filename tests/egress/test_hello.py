"""The server's name in the first bytes of TLS, as real clients send them."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.egress.hello import LONGEST, HelloReader, NoHello


def hello(name: str | None, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """Return what a client sends first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.maximum_version = newest
    sent = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_name_is_read(newest: ssl.TLSVersion) -> None:
    """Old and new TLS name the server in the clear."""
    assert HelloReader().feed(hello("files.example.org", newest)) == "files.example.org"


@given(st.lists(st.integers(1, 300), max_size=8))
def test_the_name_is_read_from_pieces(cuts: list[int]) -> None:
    """However the bytes arrive, the name is told when the last needed one is there."""
    data, reader, at = hello("pypi.org"), HelloReader(), 0
    names = []
    for cut in [*cuts, len(data)]:
        names.append(reader.feed(data[at : at + cut]))
        at += cut
        if names[-1] or at >= len(data):
            break
    assert names[-1] == "pypi.org" and not any(names[:-1])


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"GET / HTTP/1.1\r\nHost: pypi.org\r\n\r\n",
        b"\0" * 64,
        b"\x16" * 64,
    ],
    ids=["ssh", "http", "zeros", "junk"],
)
def test_what_is_not_tls_is_refused(data: bytes) -> None:
    """Nothing but TLS passes."""
    with pytest.raises(NoHello):
        HelloReader().feed(data)


def test_tls_that_names_nobody_is_refused() -> None:
    """Without a name it cannot be told who is meant."""
    with pytest.raises(NoHello):
        HelloReader().feed(hello(None))


def test_a_beginning_without_end_is_refused() -> None:
    """A client cannot have the host keep its bytes for ever."""
    pieces = [b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc", *[b"\0" * 1024] * (LONGEST // 1024)]
    with pytest.raises(NoHello):
        told(HelloReader(), pieces)


def told(reader: HelloReader, pieces: list[bytes]) -> list[str | None]:
    """Feed all pieces."""
    return [reader.feed(piece) for piece in pieces]


@given(st.binary(max_size=2000))
def test_any_bytes_are_refused_or_waited_for(data: bytes) -> None:
    """No bytes break the reader."""
    try:
        name = HelloReader().feed(data)
    except NoHello:
        return
    assert name is None
