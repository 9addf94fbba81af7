"""The proxy: what passes, what does not, and that all of it is recorded."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.abc
import pytest
from anyio.streams.tls import TLSStream

from orchestrator.egress import proxy as proxies
from orchestrator.egress.allowed import EgressLimits, parse_host
from orchestrator.egress.proxy import EgressProxy
from orchestrator.errors import JournalError
from orchestrator.wayoutevents import EgressDecided, EgressEnded
from tests.egress.conftest import FAR, World

pytestmark = pytest.mark.asyncio

MB = 1024 * 1024
LIMITS = EgressLimits(received=MB, sent=MB)
CONNECT = "CONNECT {0}:{1} HTTP/1.1\r\nHost: {0}:{1}\r\n\r\n"


@dataclass
class Open:
    """A proxy that is being served, and what it recorded."""

    proxy: EgressProxy
    socket: Path
    world: World
    recorded: list[EgressDecided | EgressEnded] = field(default_factory=list)

    def decided(self) -> list[tuple[str, int, bool]]:
        """Return the decisions."""
        found = [one for one in self.recorded if isinstance(one, EgressDecided)]
        return [(one.host, one.port, one.allowed) for one in found]

    def reasons(self) -> list[str]:
        """Return the reasons of all that was refused or ended."""
        return [one.reason for one in self.recorded if one.reason]

    async def said(self, text: str | bytes) -> bytes:
        """Say something, hang up one way, and return everything that comes back."""
        data = text.encode() if isinstance(text, str) else text
        with anyio.fail_after(30):
            async with await anyio.connect_unix(str(self.socket)) as stream:
                try:
                    await stream.send(data)
                    await stream.send_eof()
                except (anyio.BrokenResourceError, OSError):
                    pass
                return await everything(stream)

    async def tunnel(self, name: str, *, named: str | None = None, ask: bytes = b"") -> bytes:
        """Ask a server for something through TLS, naming it in TLS as the proxy was told, or not."""
        context = ssl.create_default_context()
        self.world.authority.configure_trust(context)
        context.check_hostname = named is None
        with anyio.fail_after(30):
            async with await anyio.connect_unix(str(self.socket)) as stream:
                await stream.send(CONNECT.format(name, 443).encode())
                head = await stream.receive()
                if b" 200 " not in head:
                    return head + await everything(stream)
                tls = await TLSStream.wrap(
                    stream,
                    hostname=named or name,
                    ssl_context=context,
                    server_side=False,
                    standard_compatible=False,
                )
                asked = (
                    ask or f"GET /a HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode()
                )
                await tls.send(asked)
                return await everything(tls)


async def everything(stream: anyio.abc.ByteReceiveStream) -> bytes:
    """Read to the end."""
    data = b""
    try:
        while True:
            data += await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return data


@asynccontextmanager
async def opened(
    world: World,
    folder: Path,
    *allowed: str,
    limits: EgressLimits = LIMITS,
    used: tuple[int, int] = (0, 0),
) -> AsyncIterator[Open]:
    """Serve a proxy in a folder."""
    recorded: list[EgressDecided | EgressEnded] = []

    async def emit(event: EgressDecided | EgressEnded) -> None:
        recorded.append(event)

    proxy = EgressProxy(
        [parse_host(one) for one in allowed or ("*.example.org:443", "deb.example.org:80")],
        limits,
        emit,
        used=used,
        resolve=world.resolve,
        dial=world.dial,
    )
    async with proxy.open(folder) as socket:
        yield Open(proxy, socket, world, recorded)


async def test_tls_to_an_allowed_host_passes(world: World, tmp_path: Path) -> None:
    """The tunnel leads to the address that was looked up, and its bytes are recorded."""
    async with opened(world, tmp_path) as here:
        said = await here.tunnel("files.example.org")
    assert said.endswith(b"from far away")
    assert world.looked_up == ["files.example.org"] and world.dialled == [(FAR, 443)]
    decided, ended = here.recorded
    assert isinstance(decided, EgressDecided) and isinstance(ended, EgressEnded)
    assert decided.allowed and decided.ident == ended.ident
    assert ended.sent > 300 and ended.received > 300 and ended.reason == ""
    assert here.proxy.notes() == []


async def test_reading_without_tls_passes(world: World, tmp_path: Path) -> None:
    """A plain GET is sent on in the server's form; a second request behind it is not."""
    more = "POST http://deb.example.org/up HTTP/1.1\r\nHost: deb.example.org\r\nContent-Length: 3\r\n\r\nabc"
    async with opened(world, tmp_path) as here:
        first = "GET http://deb.example.org/a HTTP/1.1\r\nHost: deb.example.org\r\n\r\n"
        said = await here.said(first + more)
    assert said.endswith(b"from far away") and said.count(b"HTTP/1.1 200") == 1
    assert world.requests == ["GET deb.example.org/a 0"]


@pytest.mark.parametrize(
    ("name", "port"),
    [
        ("evil.net", 443),
        ("example.org", 443),
        ("files.example.org", 22),
        ("deb.example.org.evil.net", 443),
        ("127.0.0.1", 443),
        ("169.254.169.254", 80),
        ("[::1]", 443),
        ("2852039166", 80),
    ],
)
async def test_what_is_not_named_is_refused(
    world: World, tmp_path: Path, name: str, port: int
) -> None:
    """Nobody looks such a name up; the refusal is told to the client, the agent and the journal."""
    async with opened(world, tmp_path) as here:
        said = await here.said(CONNECT.format(name, port))
        notes = here.proxy.notes()
    assert said.startswith(b"HTTP/1.1 403") and b"not among the allowed hosts" in said
    assert here.decided() == [(name, port, False)]
    assert len(notes) == 1 and name in notes[0] and "*.example.org:443" in notes[0]
    assert world.looked_up == [] and world.dialled == []


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["169.254.169.254"], ["10.0.0.1"], ["::1"], [FAR, "192.168.0.1"], []],
)
async def test_a_name_that_leads_inside_is_refused(
    world: World, tmp_path: Path, addresses: list[str]
) -> None:
    """What a name leads to is looked at, all of it, before anything is connected to."""
    world.names["files.example.org"] = addresses
    async with opened(world, tmp_path) as here:
        said = await here.said(CONNECT.format("files.example.org", 443))
    assert said.startswith(b"HTTP/1.1 403")
    assert here.decided() == [("files.example.org", 443, False)]
    assert world.dialled == []


async def test_the_address_that_was_looked_at_is_the_one_that_is_used(
    world: World, tmp_path: Path
) -> None:
    """A name that leads elsewhere at the second look gains nothing: there is no second look."""
    answers = [[FAR], ["127.0.0.1"]]

    async def rebinding(name: str, _: int) -> list[str]:
        world.looked_up.append(name)
        return answers.pop(0)

    world.resolve = rebinding  # type: ignore[method-assign]
    async with opened(world, tmp_path) as here:
        assert (await here.tunnel("files.example.org")).endswith(b"from far away")
    assert world.dialled == [(FAR, 443)] and len(world.looked_up) == 1


@pytest.mark.parametrize("named", ["evil.example.net", "other.example.org"])
async def test_tls_must_name_the_same_server(world: World, tmp_path: Path, named: str) -> None:
    """A tunnel to one host cannot carry a connection that is meant for another."""
    async with opened(world, tmp_path) as here:
        with pytest.raises((ssl.SSLError, anyio.BrokenResourceError, anyio.EndOfStream)):
            await here.tunnel("files.example.org", named=named)
        notes = here.proxy.notes()
    assert world.requests == []
    assert f"names {named}" in here.reasons()[0] and f"names {named}" in notes[0]


@pytest.mark.parametrize("data", [b"SSH-2.0-x\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100])
async def test_only_tls_passes_a_tunnel(world: World, tmp_path: Path, data: bytes) -> None:
    """Another protocol in a tunnel is ended before a byte of it is sent."""
    async with (
        opened(world, tmp_path) as here,
        await anyio.connect_unix(str(here.socket)) as stream,
    ):
        await stream.send(CONNECT.format("files.example.org", 443).encode())
        await stream.receive()
        await stream.send(data)
        with anyio.fail_after(30):
            assert await everything(stream) == b""
    ended = [one for one in here.recorded if isinstance(one, EgressEnded)]
    assert ended[-1].sent == 0 and "TLS" in ended[-1].reason
    assert world.requests == []


@pytest.mark.parametrize(
    "text",
    [
        "POST http://deb.example.org/ HTTP/1.1\r\nHost: deb.example.org\r\nContent-Length: 3\r\n\r\nabc",
        "nonsense\r\n\r\n",
        "CONNECT files.example.org HTTP/1.1\r\n\r\n",
    ],
)
async def test_a_broken_request_is_told(world: World, tmp_path: Path, text: str) -> None:
    """What is not served gets an answer that says so, and reaches nobody."""
    async with opened(world, tmp_path) as here:
        said = await here.said(text)
    assert said.startswith(b"HTTP/1.1 400") and world.dialled == []


async def test_bytes_received_are_bounded(world: World, tmp_path: Path) -> None:
    """A download ends at the limit, and nothing may be fetched afterwards."""
    ask = b"GET /bytes/3000000 HTTP/1.1\r\nHost: files.example.org\r\nConnection: close\r\n\r\n"
    async with opened(world, tmp_path) as here:
        got = await here.tunnel("files.example.org", ask=ask)
        assert len(got) <= MB
        here.proxy._received = MB
        refused = await here.tunnel("files.example.org")
    assert refused.startswith(b"HTTP/1.1 403") and b"used up" in refused
    assert "receive" in here.reasons()[0]
    assert sum(one.received for one in here.recorded if isinstance(one, EgressEnded)) <= MB


async def test_bytes_sent_are_bounded(world: World, tmp_path: Path) -> None:
    """An upload ends at the limit, which counts over all connections of a run."""
    body = b"x" * 200_000
    ask = b"POST /up HTTP/1.1\r\nHost: files.example.org\r\nConnection: close\r\n"
    ask += f"Content-Length: {len(body)}\r\n\r\n".encode() + body
    limits = EgressLimits(received=MB, sent=150_000)
    async with opened(world, tmp_path, limits=limits) as here:
        await here.tunnel("files.example.org", ask=ask)
    assert all(int(one.split()[-1]) < 150_000 for one in world.requests)
    assert sum(one.sent for one in here.recorded if isinstance(one, EgressEnded)) <= 150_000
    assert "send" in here.reasons()[0]
    async with opened(world, tmp_path, limits=limits, used=(150_000, 0)) as later:
        assert (await later.tunnel("files.example.org")).startswith(b"HTTP/1.1 403")


async def test_a_flood_of_refusals_closes_the_network(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each refusal is a record on disk: after so many, nothing is answered any more."""
    monkeypatch.setattr(proxies, "DENIED_MOST", 5)
    async with opened(world, tmp_path) as here:
        for number in range(9):
            await here.said(CONNECT.format(f"evil{number}.net", 443))
        assert (await here.said(CONNECT.format("files.example.org", 443))) == b""
        notes = here.proxy.notes()
    assert len(here.recorded) == 5
    assert len(notes) == proxies.NOTES_MOST + 1 and "closed" in notes[-1]


async def test_many_at_once_wait_their_turn(world: World, tmp_path: Path) -> None:
    """Connections beyond the bound wait in line; those that say nothing give their place back."""
    got: list[bytes] = []
    async with opened(world, tmp_path) as here:

        async def ask() -> None:
            got.append(await here.tunnel("files.example.org"))

        silent = [await anyio.connect_unix(str(here.socket)) for _ in range(proxies.AT_ONCE)]
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            assert got == []
            for one in silent:
                await one.aclose()
    assert len(got) == 5 and all(one.endswith(b"from far away") for one in got)


async def test_one_that_says_nothing_is_not_waited_for(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that never finishes its request, or its TLS, is let go."""
    monkeypatch.setattr(proxies, "HEAD_S", 0.1)
    async with opened(world, tmp_path) as here:
        for said in ("CONNECT files.ex", CONNECT.format("files.example.org", 443)):
            async with await anyio.connect_unix(str(here.socket)) as stream:
                await stream.send(said.encode())
                with anyio.fail_after(30):
                    await everything(stream)


async def test_an_idle_connection_is_ended(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tunnel over which nothing moves does not stay for ever."""
    monkeypatch.setattr(proxies, "IDLE_S", 0.2)
    half = b"GET /a HTTP/1.1\r\nHost: files.example.org\r\n"
    async with opened(world, tmp_path) as here:
        assert await here.tunnel("files.example.org", ask=half) == b""
    assert isinstance(here.recorded[-1], EgressEnded)


async def test_a_server_that_is_not_there_is_told(world: World, tmp_path: Path) -> None:
    """An allowed host that does not answer is no refusal, and no crash."""

    async def nobody(address: str, port: int) -> anyio.abc.ByteStream:
        raise OSError(address, port)

    world.dial = nobody  # type: ignore[method-assign]
    async with opened(world, tmp_path) as here:
        said = await here.said(CONNECT.format("files.example.org", 443))
    assert said.startswith(b"HTTP/1.1 502") and here.decided()[0][2]


async def test_without_a_record_nothing_passes(world: World, tmp_path: Path) -> None:
    """A decision that cannot be recorded stops the run before anything is connected to."""

    async def full(_: EgressDecided | EgressEnded) -> None:
        raise JournalError("the disk is full")

    allowed = [parse_host("files.example.org:443")]
    proxy = EgressProxy(allowed, LIMITS, full, resolve=world.resolve, dial=world.dial)

    async def ask() -> None:
        async with proxy.open(tmp_path) as socket:
            here = Open(proxy, socket, world)
            assert await here.said(CONNECT.format("files.example.org", 443)) == b""
            await anyio.sleep_forever()

    with anyio.fail_after(30), pytest.raises(JournalError, match="disk is full"):
        await ask()
    assert world.dialled == []


async def test_the_socket_is_private_and_goes(world: World, tmp_path: Path) -> None:
    """Only its owner may connect, however long the folder's path is, and nothing is left."""
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    async with opened(world, deep) as here:
        assert here.socket.stat().st_mode & 0o777 == 0o600
        short = tmp_path / "short"
        short.symlink_to(here.socket)
        here.socket = short
        assert (await here.said("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n"))[9:12] == b"403"
    assert list(deep.iterdir()) == []
