"""One connection: whatever bytes come back, an answer is told whole, or it is told that it is not."""

from __future__ import annotations

import gzip
import itertools
import socket
import zlib
from collections.abc import Iterator
from functools import partial

import anyio
import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.models.wire import AT_ONCE, HEAD_LIMIT, INFLATED, WireError
from tests.wire_ends import Ends, asked, ends, told

BODY = b'{"type": "message"}'
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nrequest-id: r1\r\n\r\n%b" % (len(BODY), BODY)
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nrequest-id: r1\r\n\r\n"
    b"5;name=value\r\n%b\r\nE\r\n%b\r\n0\r\nx-trailer: 1\r\n\r\n" % (BODY[:5], BODY[5:])
)
INFORMED = b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + LENGTH
PACKED = gzip.compress(BODY, mtime=0)
GZIP = (
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\nrequest-id: r1\r\n\r\n"
    b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (7, PACKED[:7], len(PACKED) - 7, PACKED[7:])
)
ANSWERS = {"length": LENGTH, "chunked": CHUNKED, "informed": INFORMED, "gzip": GZIP}
REFUSAL = b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig"
LARGE = b"x" * (32 * 1024 * 1024)

every_answer = pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)


def packed(data: bytes, encoding: bytes = b"gzip") -> bytes:
    """Return a whole answer with a packed body."""
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: %b\r\ncontent-length: %d\r\n\r\n"
    return head % (encoding, len(data)) + data


def two_parts(data: bytes) -> Iterator[list[bytes]]:
    """Yield every way to cut something in two."""
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]


async def is_told_whole(both: Ends, pieces: list[bytes]) -> None:
    """Check what is told of an answer that comes in pieces."""
    await asked(both.wire)
    async with anyio.create_task_group() as group:
        group.start_soon(both.play, pieces)
        status, headers, body = await told(both.wire)
    assert (status, headers["request-id"], body) == (200, "r1", BODY)
    assert both.wire.is_free


async def fails(answer: bytes, *, closes: bool = True) -> str:
    """Return what is said of an answer that is none; the connection is of no further use."""
    async with ends() as both:
        await asked(both.wire)
        assert both.peer.recv(10_000).endswith(b"{}")
        both.peer.sendall(answer)
        if closes:
            both.peer.close()
        with pytest.raises(WireError) as caught:
            await told(both.wire)
        assert not both.wire.is_free
        assert "sk-secret" not in repr(caught.value)
        return str(caught.value)


@pytest.mark.asyncio
@every_answer
async def test_an_answer_is_whole_however_it_is_cut(answer: bytes) -> None:
    """Every cut in two, and pieces of every small size, come to the same; over one connection."""
    cuts = list(two_parts(answer))
    cuts += [[answer[at : at + n] for at in range(0, len(answer), n)] for n in (1, 2, 3, 16)]
    async with ends() as both:
        for pieces in cuts:
            await is_told_whole(both, pieces)


@every_answer
@given(data=st.data())
def test_an_answer_is_whole_in_any_pieces(answer: bytes, data: st.DataObject) -> None:
    """So do any other pieces."""
    cuts = data.draw(st.sets(st.integers(1, len(answer) - 1)))
    borders = [0, *sorted(cuts), len(answer)]
    pieces = [answer[a:b] for a, b in itertools.pairwise(borders)]

    async def once() -> None:
        async with ends() as both:
            await is_told_whole(both, pieces)

    anyio.run(once)


@pytest.mark.asyncio
async def test_a_packed_answer_leaves_nothing_to_the_next() -> None:
    """The next answer over the same connection is read as what it says it is."""
    async with ends() as both:
        for answer in (GZIP, LENGTH, GZIP, CHUNKED):
            await is_told_whole(both, [answer])


@pytest.mark.asyncio
async def test_a_request_goes_out_as_it_is() -> None:
    """Line, headers and body are those that were given, and the length of the body."""
    async with ends() as both:
        await asked(both.wire, b"{1}")
        assert both.peer.recv(10_000) == (
            b"POST /v1/messages HTTP/1.1\r\nhost: service.example\r\n"
            b"authorization: Bearer sk-secret\r\ncontent-length: 3\r\n\r\n{1}"
        )


@pytest.mark.asyncio
async def test_what_cannot_be_written_is_not_quoted() -> None:
    """A header that would break a line is refused, and may be the key."""
    async with ends() as both:
        with pytest.raises(WireError) as caught:
            await both.wire.send(
                b"/", [(b"host", b"x"), (b"authorization", b"sk-secret\r\nx")], b""
            )
        assert "sk-secret" not in f"{caught.value!r} {caught.value.__cause__!r}"
        await is_told_whole(both, [LENGTH])


@pytest.mark.asyncio
@pytest.mark.parametrize("encoding", [b"gzip", b"GZIP", b"x-gzip"])
async def test_a_bomb_comes_in_bounded_pieces(encoding: bytes) -> None:
    """What unpacks to a thousand times its size is never in memory as a whole."""
    data = bytes(20 * INFLATED + 7)
    async with ends() as both:
        await asked(both.wire)
        both.peer.sendall(packed(gzip.compress(data), encoding))
        await both.wire.head()
        sizes = []
        while piece := await both.wire.data():
            sizes.append(len(piece))
        assert max(sizes) <= INFLATED
        assert sum(sizes) == len(data)
        assert both.wire.is_free


@pytest.mark.asyncio
async def test_unpacking_loses_nothing_at_the_end_of_a_piece() -> None:
    """What the packer still holds when a piece is full comes with the next one."""
    async with ends() as both:
        for more in range(0, 5000, 97):
            await asked(both.wire)
            both.peer.sendall(packed(zlib.compress(bytes(INFLATED + more), 9), b"deflate"))
            assert len((await told(both.wire))[2]) == INFLATED + more


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (packed(b"x", b"br"), "not asked for"),
        (packed(b"x", b"gzip, gzip"), "not asked for"),
        (packed(b"no gzip at all"), "unpacked"),
        (packed(PACKED + b"more"), "goes on"),
    ],
)
async def test_what_cannot_be_unpacked_is_refused(answer: bytes, said: str) -> None:
    """Neither an unknown encoding nor broken data is passed on as it is."""
    assert said in await fails(answer)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "without an answer"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "without an answer"),
        (LENGTH[:20], "broken"),
        (LENGTH[:-1], "without sending complete"),
        (CHUNKED[:-1], "broken"),
        (CHUNKED[: CHUNKED.index(b"E\r\n") + 5], "without sending complete"),
        (GZIP[:-9], "without sending complete"),
    ],
)
async def test_an_answer_that_ends_early_is_none(answer: bytes, said: str) -> None:
    """A connection that is closed before, or amid, an answer is told as such."""
    assert said in await fails(answer)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x50\r\n\r\n",
        b"authorization: Bearer sk-secret\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nauthorization Bearer sk-secret\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nauthorization: Bearer sk-secret\x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nsk-secret\r\n",
        b"HTTP/1.1 101 Switching\r\nupgrade: h2c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * HEAD_LIMIT,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;" + b"x" * HEAD_LIMIT,
    ],
)
async def test_what_is_no_http_is_told_without_quoting_it(answer: bytes) -> None:
    """Garbage, and heads and lines without end, end the request; an echo of the key is not told."""
    assert "broken" in await fails(answer, closes=False)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "answer",
    [
        LENGTH + b"H",
        CHUNKED + LENGTH,
        LENGTH.replace(b"\r\n", b"\r\nConnection: close\r\n", 1),
        b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx",
    ],
)
async def test_some_connections_are_not_used_again(answer: bytes) -> None:
    """Not one with bytes after its answer, nor one that the service will close."""
    async with ends() as both:
        await asked(both.wire)
        both.peer.sendall(answer)
        await told(both.wire)
        assert not both.wire.is_free


@pytest.mark.asyncio
async def test_an_idle_connection_that_says_something_is_stale() -> None:
    """It is good while nothing comes; the end, or words that nobody asked for, make it stale."""
    for last in (b"", b"HTTP/1.1 408 Request Timeout\r\n\r\n"):
        async with ends() as both:
            await is_told_whole(both, [LENGTH])
            assert not both.wire.is_stale()
            if last:
                both.peer.sendall(last)
            else:
                both.peer.close()
            both.noticed()
            assert both.wire.is_stale()


@pytest.mark.asyncio
async def test_a_closed_connection_is_stale_and_not_free() -> None:
    """Nothing can go over it, and to close it again does no harm."""
    async with ends() as both:
        await is_told_whole(both, [LENGTH])
        await both.wire.aclose()
        await both.wire.aclose()
        assert both.wire.is_stale()
        assert not both.wire.is_free
        assert both.peer.recv(10_000).startswith(b"POST")
        assert both.peer.recv(1) == b""


@pytest.mark.asyncio
async def test_an_answer_that_is_left_halfway_is_not_followed_by_another() -> None:
    """A request that is given up in the middle leaves a connection that is not free."""
    async with ends() as both:
        await asked(both.wire)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(told, both.wire)
                await both.play([LENGTH[:-1]])
                scope.cancel()
        assert scope.cancelled_caught
        assert not both.wire.is_free


@pytest.mark.asyncio
@pytest.mark.parametrize("closes", ["at once", "later", "never"])
async def test_a_refusal_is_heard_while_the_request_is_sent(closes: str) -> None:
    """A service that reads no further has its answer told; the rest is not sent any more."""
    async with ends() as both, anyio.create_task_group() as group:

        async def refuse() -> None:
            assert await anyio.to_thread.run_sync(both.peer.recv, 10) == b"POST /v1/m"
            both.peer.sendall(REFUSAL)
            if closes != "at once":
                await both.taken()
            if closes != "never":
                both.peer.close()

        group.start_soon(refuse)
        await asked(both.wire, LARGE)
        status, _, body = await told(both.wire)
        assert (status, body) == (413, b"big")
        assert not both.wire.is_free


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("said", "expected"), [(b"", "without an answer"), (b"nonsense\r\n\r\n", "broken")]
)
async def test_a_service_that_leaves_while_the_request_is_sent(said: bytes, expected: str) -> None:
    """No answer, or none that is HTTP, is told as that."""
    async with ends() as both, anyio.create_task_group() as group:

        async def leave() -> None:
            await both.play([said] if said else [])
            both.peer.shutdown(socket.SHUT_WR)

        group.start_soon(leave)
        await asked(both.wire, LARGE)
        with pytest.raises(WireError, match=expected):
            await told(both.wire)
        assert not both.wire.is_free


@pytest.mark.asyncio
async def test_a_large_request_is_sent_whole_whatever_is_hinted_meanwhile() -> None:
    """A 1xx while it is sent does not cut it off, and its connection is used again."""
    received = bytearray()

    def read(both: Ends) -> None:
        while not received.endswith(LARGE[:AT_ONCE] + b"!"):
            received.extend(both.peer.recv(1024 * 1024))
        both.peer.sendall(LENGTH)

    async with ends() as both, anyio.create_task_group() as group:

        async def serve() -> None:
            await both.play([b"HTTP/1.1 102 Processing\r\n\r\n"])
            await anyio.to_thread.run_sync(partial(read, both))

        group.start_soon(serve)
        await asked(both.wire, LARGE + b"!")
        assert (await told(both.wire))[2] == BODY
        assert received.partition(b"\r\n\r\n")[2] == LARGE + b"!"
        assert both.wire.is_free


@pytest.mark.asyncio
async def test_a_request_that_is_given_up_while_it_is_sent_lets_go() -> None:
    """Nothing of it goes on, and the connection is not free."""
    async with ends() as both:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(asked, both.wire, LARGE)
                assert await anyio.to_thread.run_sync(both.peer.recv, 1) == b"P"
                scope.cancel()
        assert scope.cancelled_caught
        assert not both.wire.is_free
