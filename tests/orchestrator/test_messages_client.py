"""What MessagesClient sends, over a real connection, and what its errors do not tell."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import quote

import pytest

from orchestrator.errors import ModelError, ModelOverloaded, ModelRefused, TooLong
from orchestrator.models.messages import MessagesClient
from orchestrator.models.wire import AT_ONCE
from orchestrator.transcript import encode_message
from tests.builders import a_request
from tests.raw_service import answering
from tests.sse_server import Play, event, refusal, serving, start, stop, text

pytestmark = pytest.mark.asyncio
KEY = "sk-secret"
USER, PASSWORD = "ann", "p@ss:w/rd"
PAIR = f"{USER}:{quote(PASSWORD, safe='')}@"
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
SECRETS = (KEY, PAIR, PASSWORD, quote(PASSWORD, safe=""), BASIC)
GOOD = Play([start() + text(0, "hello") + stop()])
SAFETY_S = 60.0


@asynccontextmanager
async def a_client(url: str, silence_s: float = SAFETY_S) -> AsyncIterator[MessagesClient]:
    """Open a client that knows of no proxy, and close it afterwards."""
    client = MessagesClient(key=KEY, base_url=url, silence_s=silence_s, environment={})
    try:
        async with asyncio.timeout(SAFETY_S):
            yield client
    finally:
        await client.aclose()


async def failed(url: str, silence_s: float = SAFETY_S) -> ModelError:
    """Return the error of a request that must fail; nothing that is secret is in it."""
    async with a_client(url, silence_s) as client:
        with pytest.raises(ModelError) as caught:
            await client.reply(a_request())
    error = caught.value
    said = f"{error!r} {error.hint} {error.__cause__!r}"
    assert [one for one in SECRETS if one in said] == []
    return error


def with_pair(url: str) -> str:
    """Return an address with a user and a password in it."""
    return url.replace("://", f"://{PAIR}")


def unused() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def test_headers_and_body_are_the_documented_ones() -> None:
    """The body is sent byte for byte, the key as a bearer, and the version is named."""
    request = a_request()
    async with serving([GOOD]) as service, a_client(f"{service.url}/") as client:
        reply = await client.reply(request)
    assert service.paths == ["/v1/messages"]
    assert service.bodies == [request.body()]
    assert service.headers == [
        {
            "host": service.url.removeprefix("http://"),
            "authorization": f"Bearer {KEY}",
            "anthropic-version": "2026-10-21",
            "content-type": "application/json",
            "accept": "text/event-stream",
            "accept-encoding": "identity",
            "user-agent": "issue-orchestrator",
            "content-length": str(len(request.body())),
        }
    ]
    assert reply.blocks[0]["text"] == "hello"
    assert reply.request_id == "req_1"


async def test_a_path_in_the_address_comes_first() -> None:
    """A gateway may serve the API below a path of its own; what has no place in one is escaped."""
    async with serving([GOOD]) as service, a_client(f"{service.url}/a b/%41/") as client:
        await client.reply(a_request())
    assert service.paths == ["/a%20b/%41/v1/messages"]


async def test_a_user_in_the_address_is_sent_instead_of_the_key() -> None:
    """They are meant for a gateway, which has a key of its own; and stand nowhere else."""
    async with serving([GOOD]) as service, a_client(with_pair(service.url)) as client:
        await client.reply(a_request())
    (headers,) = service.headers
    assert headers["authorization"] == f"Basic {BASIC}"
    assert headers["host"] == service.url.removeprefix("http://")
    assert service.paths == ["/v1/messages"]
    assert KEY not in str(headers)


@pytest.mark.parametrize("dress", [str, with_pair])
async def test_a_refusal_that_repeats_the_credential_is_told_without_it(
    dress: Callable[[str], str],
) -> None:
    """A gateway may say which credential it does not take."""
    said = f"no such credential: {BASIC if dress is with_pair else KEY}, sorry"
    async with serving([refusal(401, "authentication_error", said)]) as service:
        error = await failed(dress(service.url))
    assert isinstance(error, ModelRefused)
    assert "authentication_error: no such credential: " in str(error)
    assert str(error).endswith(", sorry")


@pytest.mark.parametrize("dress", [str, with_pair])
async def test_nobody_there_is_told_without_the_credential(dress: Callable[[str], str]) -> None:
    """A refused connection is named as such."""
    error = await failed(dress(f"http://127.0.0.1:{unused()}"))
    assert error.unreachable and error.retryable
    assert "ANTHROPIC_BASE_URL" in error.hint


@pytest.mark.parametrize("dress", [str, with_pair])
@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        f"authorization: Bearer {KEY}\r\n\r\n".encode(),
        f"HTTP/1.1 200 OK\r\nauthorization: Basic {BASIC}\x00\r\n\r\n".encode(),
        b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx",
        b"",
    ],
)
async def test_broken_http_is_told_without_the_credential(
    answer: bytes, dress: Callable[[str], str]
) -> None:
    """What is no answer may be asked for again, and says so in words of our own."""
    async with answering(answer, closes=True) as service:
        error = await failed(dress(f"http://127.0.0.1:{service.port}"))
    assert error.retryable and not error.started
    assert "no connection to the model's service" in str(error)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n:\r\n",
        b"HTTP/1.1 503 Busy\r\ncontent-length: 9\r\n\r\nbusy",
    ],
)
async def test_a_silent_service_is_left(answer: bytes) -> None:
    """Silence at any point of an answer is told as that, and the connection is closed."""
    async with answering(answer) as service:
        error = await failed(f"http://127.0.0.1:{service.port}", silence_s=0.2)
        async with asyncio.timeout(SAFETY_S):
            await service.left.acquire()
    assert error.retryable and not error.started and not error.unreachable
    assert str(error) == "the model's service was silent for too long (0.2 s)"


async def test_what_had_started_is_told_when_it_falls_silent() -> None:
    """The input of such a request was paid for."""
    async with serving([Play([start()], end="stalled")]) as service:
        error = await failed(service.url, silence_s=1.0)
    assert error.started


async def test_a_refusal_costs_no_connection() -> None:
    """The next try goes over the same one: a service that is busy is not greeted anew each time."""
    plays = [refusal(429, "rate_limit_error"), GOOD, refusal(529, "overloaded_error"), GOOD]
    async with serving(plays) as service, a_client(service.url) as client:
        for _ in range(2):
            with pytest.raises(ModelOverloaded):
                await client.reply(a_request())
            await client.reply(a_request())
        assert len(service.bodies) == 4
        assert len(service.connections) == 1


@pytest.mark.parametrize(
    "play",
    [
        Play([start()], end="dropped"),
        Play([event("error", error={"type": "overloaded_error", "message": "busy"})]),
        Play([b"data: {broken\n\n"]),
        Play([b"x" * 65536] * 3, status=500),
    ],
)
async def test_what_was_not_read_to_its_end_costs_a_connection(play: Play) -> None:
    """Half an answer may be left in it, so that the next request goes over another one."""
    async with serving([play, GOOD]) as service, a_client(service.url) as client:
        with pytest.raises(ModelError):
            await client.reply(a_request())
        reply = await client.reply(a_request())
        assert reply.blocks[0]["text"] == "hello"
        assert len(service.connections) == 2


async def test_requests_at_once_have_a_connection_each() -> None:
    """None waits for the other, and afterwards both connections serve the next ones."""
    async with serving([GOOD] * 4) as service, a_client(service.url) as client:
        for _ in range(2):
            await asyncio.gather(client.reply(a_request()), client.reply(a_request()))
        assert len(service.bodies) == 4
        assert len(service.connections) == 2


async def test_a_request_that_is_too_large_is_told_as_that() -> None:
    """A service that answers before it has read everything is heard, and left."""
    large = a_request(encode_message("user", [{"type": "text", "text": "x" * 40 * AT_ONCE}]))
    body = b'{"type":"error","error":{"type":"request_too_large","message":"too large"}}'
    answer = b"HTTP/1.1 413 Too Large\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    async with (
        answering(answer) as service,
        a_client(f"http://127.0.0.1:{service.port}") as client,
    ):
        with pytest.raises(TooLong):
            await client.reply(large)
        await service.left.acquire()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8080",
        f"{PAIR}service.example",
        f"ftp://{PAIR}service.example",
        f"ftp://{PAIR}service.example:8080",
        f"https://{PAIR}service.example:port",
        f"https://{PAIR}service.example:0",
        f"https://{PAIR}service.example:99999",
        f"https://{PAIR}service.example:80 ",
        f"https://{PAIR}",
        f"https://{PAIR}:8080",
        f"https://{PAIR}service example",
        f"https://{PAIR}service..example",
        f"https://{PAIR}[::1",
        f"https://{PAIR}service.example/#there",
        f"https://{USER}:{PASSWORD}@service.example",
        f"https://{PAIR}service.example/\udcff",
        "https://\udcff:x@service.example",
    ],
)
async def test_an_address_that_is_none_is_refused_and_not_repeated(url: str) -> None:
    """It may hold a password; the setting is named that has to be mended."""
    error = await failed(url)
    assert isinstance(error, ModelRefused)
    assert str(error) == "ANTHROPIC_BASE_URL is not an address"
    assert "ANTHROPIC_BASE_URL" in error.hint
    assert "service" not in f"{error!r} {error.hint}"
    assert not error.retryable
