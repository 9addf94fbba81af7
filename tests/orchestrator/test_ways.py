"""The way to the service: whom it trusts, through which proxy it goes, and what is left when it fails."""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
import pytest
import trustme

from orchestrator.errors import ModelError, ModelRefused, TooLong
from orchestrator.models import ways
from orchestrator.models.messages import MessagesClient
from orchestrator.models.ways import Connector, way_to
from orchestrator.models.wire import AT_ONCE, HEAD_LIMIT
from orchestrator.transcript import encode_message
from tests.builders import a_request
from tests.connect_proxy import passing_on
from tests.raw_service import answering
from tests.sse_server import Play, serving, start, stop, text

SAFETY_S = 60.0
KEY = "sk-secret"
NAME = "service.example"
GOOD = Play([start() + text(0, "hello") + stop()])
PASSWORD = "p@ss"
BASIC = base64.b64encode(f"ann:{PASSWORD}".encode()).decode()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Whom our side trusts."""
    return trustme.CA()


@pytest.fixture(autouse=True)
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust this authority, as a person would have it trusted, and nobody else."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))


def shown(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """Return what a service shows of itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def sockets() -> set[str]:
    """Return the sockets that this process has open."""
    found = set()
    for one in Path("/proc/self/fd").iterdir():
        try:
            found.add(str(one.readlink()))
        except OSError:
            continue
    return {one for one in found if one.startswith("socket:")}


@asynccontextmanager
async def leaving_nothing() -> AsyncIterator[None]:
    """Check that every socket that is opened meanwhile is closed."""
    before = sockets()
    with anyio.fail_after(SAFETY_S):
        yield
        while sockets() - before:
            await anyio.lowlevel.checkpoint()


async def asked(url: str, environment: Mapping[str, str], times: int = 1) -> None:
    """Ask a service over one client, and check what it says."""
    client = MessagesClient(key=KEY, base_url=url, environment=environment)
    try:
        for _ in range(times):
            reply = await client.reply(a_request())
            assert reply.blocks[0]["text"] == "hello"
    finally:
        await client.aclose()


async def failed(url: str, environment: Mapping[str, str]) -> ModelError:
    """Return the error of a connection that must fail; no password is in it."""
    with pytest.raises(ModelError) as caught:
        await Connector(way_to(url, environment)).connect()
    said = f"{caught.value!r} {caught.value.hint}"
    assert [one for one in (PASSWORD, "p%40ss", BASIC) if one in said] == []
    return caught.value


def is_unreachable(error: ModelError) -> bool:
    """Tell whether an error says to try again later, with no other model."""
    return error.retryable and error.unreachable and not error.started


@pytest.mark.asyncio
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_whom_the_authority_vouches_for_is_asked(authority: trustme.CA, host: str) -> None:
    """By name or number; one request after the other goes over one encrypted connection."""
    async with leaving_nothing(), serving([GOOD] * 3, secured=shown(authority, host)) as service:
        await asked(service.url.replace("127.0.0.1", host), {}, times=3)
        assert len(service.connections) == 1
        assert {one["authorization"] for one in service.headers} == {f"Bearer {KEY}"}


@pytest.mark.asyncio
async def test_an_encrypted_connection_that_was_closed_is_replaced(authority: trustme.CA) -> None:
    """Its end is noticed below the encryption."""
    async with serving([GOOD] * 2, secured=shown(authority, "127.0.0.1")) as service:
        client = MessagesClient(key=KEY, base_url=service.url, environment={})
        await client.reply(a_request())
        for writer in service.connections.values():
            writer.close()
        assert client._asked is not None
        (wire,) = client._asked.connections._idle
        with anyio.fail_after(SAFETY_S):
            while not wire.is_stale():
                await anyio.lowlevel.checkpoint()
        await client.reply(a_request())
        assert len(service.connections) == 2
        await client.aclose()


@pytest.mark.asyncio
async def test_what_comes_after_an_encrypted_answer_is_not_the_next_one(
    authority: trustme.CA,
) -> None:
    """Words that nobody asked for make a connection stale, also where they wait to be decrypted."""
    body = b"".join(GOOD.chunks)
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    context = shown(authority, "127.0.0.1")
    async with (
        leaving_nothing(),
        answering(answer, more=answer.replace(b"hello", b"other"), secured=context) as service,
    ):
        await asked(f"https://127.0.0.1:{service.port}", {}, times=2)
        assert len(service.heads) == 2


@pytest.mark.asyncio
async def test_a_refusal_is_heard_through_the_encryption(authority: trustme.CA) -> None:
    """A request that is too large is told as that, although it was not read to its end."""
    large = a_request(encode_message("user", [{"type": "text", "text": "x" * 40 * AT_ONCE}]))
    body = b'{"error":{"type":"request_too_large","message":"too large"}}'
    answer = b"HTTP/1.1 413 Too Large\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    async with (
        leaving_nothing(),
        answering(answer, secured=shown(authority, "127.0.0.1")) as service,
    ):
        client = MessagesClient(
            key=KEY, base_url=f"https://127.0.0.1:{service.port}", environment={}
        )
        with pytest.raises(TooLong):
            await client.reply(large)
        await service.left.acquire()
        await client.aclose()


@pytest.mark.asyncio
@pytest.mark.parametrize("name", [NAME, "127.0.0.2", "*.0.0.1"])
async def test_who_shows_another_name_is_not_asked(authority: trustme.CA, name: str) -> None:
    """A service that somebody else was vouched for gets nothing."""
    async with leaving_nothing(), serving([GOOD], secured=shown(authority, name)) as service:
        error = await failed(service.url, {})
        assert service.headers == []
    assert is_unreachable(error)
    assert "certificate" in str(error)


@pytest.mark.asyncio
async def test_whom_nobody_trusted_vouches_for_is_not_asked() -> None:
    """Neither is one with the right name from an authority of its own."""
    context = shown(trustme.CA(), "127.0.0.1")
    async with leaving_nothing(), serving([GOOD], secured=context) as service:
        error = await failed(service.url, {})
        assert service.headers == []
    assert is_unreachable(error)
    assert "certificate" in str(error)


@pytest.mark.asyncio
@pytest.mark.parametrize("closes", [True, False])
async def test_who_does_not_encrypt_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, closes: bool
) -> None:
    """A service that speaks something else, closes or says nothing is not reached."""
    monkeypatch.setattr(ways, "CONNECT_S", 0.2)
    async with leaving_nothing(), answering(b"", closes=closes) as service:
        assert is_unreachable(await failed(f"https://127.0.0.1:{service.port}", {}))
    async with leaving_nothing(), serving([]) as plain:
        error = await failed(plain.url.replace("http:", "https:"), {})
    assert is_unreachable(error)


@pytest.mark.asyncio
@pytest.mark.parametrize("secured", [True, False])
async def test_a_proxy_passes_the_request_on(authority: trustme.CA, secured: bool) -> None:
    """It learns the name only, which our side does not look up; encrypted itself, or not."""
    context = shown(authority, "127.0.0.1") if secured else None
    async with (
        leaving_nothing(),
        serving([GOOD] * 2, secured=shown(authority, NAME)) as service,
        passing_on(urlsplit(service.url).port or 0, secured=context) as proxy,
    ):
        await asked(f"https://{NAME}", {"HTTPS_PROXY": proxy.url}, times=2)
        (head,) = proxy.heads
        assert head == (
            b"CONNECT service.example:443 HTTP/1.1\r\nhost: service.example:443\r\n"
            b"user-agent: issue-orchestrator\r\n\r\n"
        )
        assert [one["host"] for one in service.headers] == [NAME, NAME]
        assert service.paths == ["/v1/messages"] * 2


@pytest.mark.asyncio
async def test_only_the_proxy_sees_its_password(authority: trustme.CA) -> None:
    """And only the service sees the key."""
    async with (
        serving([GOOD], secured=shown(authority, NAME)) as service,
        passing_on(urlsplit(service.url).port or 0) as proxy,
    ):
        url = proxy.url.replace("://", "://ann:p%40ss@")
        await asked(f"https://{NAME}:8443", {"HTTPS_PROXY": url})
        (head,) = proxy.heads
        (headers,) = service.headers
    assert f"proxy-authorization: Basic {BASIC}\r\n".encode() in head
    assert KEY.encode() not in head
    assert "proxy-authorization" not in headers
    assert BASIC not in str(headers)
    assert headers["host"] == f"{NAME}:8443"


@pytest.mark.asyncio
async def test_a_proxy_cannot_stand_in_for_the_service(authority: trustme.CA) -> None:
    """Behind a proxy too, the service has to show its own name."""
    async with (
        leaving_nothing(),
        serving([GOOD], secured=shown(authority, "127.0.0.1")) as service,
        passing_on(urlsplit(service.url).port or 0) as proxy,
    ):
        error = await failed(f"https://{NAME}", {"HTTPS_PROXY": proxy.url})
        assert service.headers == []
    assert is_unreachable(error)
    assert "certificate" in str(error)


REFUSED = {
    407: b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n",
    403: b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno",
    302: b"HTTP/1.1 302 Found\r\nlocation: http://elsewhere.example\r\n\r\n",
}
NO_HTTP = {
    "words": b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
    "encrypted": b"\x15\x03\x01\x00\x02\x02\x50\r\n\r\n",
    "endless": b"HTTP/1.1 200 OK\r\nx: " + b"x" * HEAD_LIMIT,
}


async def proxied(answer: bytes, *, closes: bool = False) -> ModelError:
    """Return the error where a proxy answers something; it sees that it is left."""
    async with leaving_nothing(), answering(answer, closes=closes) as proxy:
        url = f"http://ann:p%40ss@127.0.0.1:{proxy.port}"
        error = await failed(f"https://{NAME}", {"HTTPS_PROXY": url})
        await proxy.left.acquire()
        assert len(proxy.heads) == 1
    assert "HTTPS_PROXY" in error.hint
    return error


@pytest.mark.asyncio
@pytest.mark.parametrize("status", REFUSED)
async def test_a_proxy_that_refuses_is_for_a_person_to_mend(status: int) -> None:
    """A password that it does not take, or a place that it does not reach, stays so."""
    error = await proxied(REFUSED[status])
    assert isinstance(error, ModelRefused)
    assert error.mendable and not error.retryable
    assert str(status) in str(error)


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
async def test_a_proxy_that_does_not_reach_the_service_may_later(status: int) -> None:
    """Its trouble passes, and the error says whose it is."""
    error = await proxied(b"HTTP/1.1 %d Bad\r\n\r\n" % status)
    assert is_unreachable(error)
    assert f"the proxy answered {status}" in str(error)


@pytest.mark.asyncio
@pytest.mark.parametrize("answer", NO_HTTP.values(), ids=NO_HTTP)
async def test_a_proxy_that_speaks_no_http_is_none(answer: bytes) -> None:
    """The setting names something else."""
    error = await proxied(answer)
    assert isinstance(error, ModelRefused)
    assert str(error) == "the proxy does not speak HTTP"


@pytest.mark.asyncio
async def test_a_proxy_that_speaks_first_is_refused() -> None:
    """Before our side has greeted the service, nothing can come from there."""
    assert isinstance(await proxied(b"HTTP/1.1 200 OK\r\n\r\nhello"), ModelRefused)


@pytest.mark.asyncio
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
@pytest.mark.parametrize("closes", [True, False])
async def test_a_proxy_that_closes_or_hangs_may_be_tried_again(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, closes: bool
) -> None:
    """Before its answer, amid it, or where the service should greet."""
    if not closes:
        monkeypatch.setattr(ways, "CONNECT_S", 0.2)
    error = await proxied(answer, closes=closes)
    assert is_unreachable(error)
    assert ("nothing for 0.2 s" in str(error)) is not closes


@pytest.mark.asyncio
async def test_a_connection_that_is_given_up_leaves_nothing() -> None:
    """A run that is stopped while a proxy hangs has no socket left."""
    async with leaving_nothing(), answering(b"") as proxy:
        way = way_to(f"https://{NAME}", {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}"})
        async with anyio.create_task_group() as group:
            group.start_soon(Connector(way).connect)
            while not proxy.heads:
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        await proxy.left.acquire()


@pytest.mark.asyncio
async def test_a_plain_address_goes_through_no_proxy() -> None:
    """A service on this machine, as tests and gateways have it, is reached straight."""
    async with serving([GOOD]) as service, answering(b"") as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        names = ("http_proxy", "https_proxy", "all_proxy")
        both = {**dict.fromkeys(names, url), **{one.upper(): url for one in names}}
        await asked(service.url, both)
        assert proxy.heads == []


def test_where_nothing_is_said_the_machine_is_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A Python that was built for another system finds whom this one trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setattr(ways, "AUTHORITIES", (os.devnull + "x", str(tmp_path / "authority.pem")))
    assert len(ways.trusted().get_ca_certs()) == 1
