"""A server of the outside world on loopback, and a proxy that believes it is far away."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.abc
import pytest
import trustme

from tests.walls.conftest import bwrap, state, work

__all__ = ["authority", "bwrap", "far", "state", "work", "world"]

FAR = "151.101.0.223"
"""An address of the internet; nothing is ever sent there."""


@dataclass
class World:
    """What lies outside: one server, which every public address leads to.

    Attributes:
        names: what names lead to.
        dialled: the addresses and ports that the proxy connected to.
        requests: what the servers were asked.
    """

    authority: trustme.CA
    tls_port: int
    plain_port: int
    names: dict[str, list[str]] = field(default_factory=dict)
    looked_up: list[str] = field(default_factory=list)
    dialled: list[tuple[str, int]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    async def resolve(self, name: str, _: int) -> Sequence[str]:
        """Resolve a name, as the test has it."""
        self.looked_up.append(name)
        return self.names.get(name, [FAR])

    async def dial(self, address: str, port: int) -> anyio.abc.ByteStream:
        """Connect to the server instead of the address."""
        self.dialled.append((address, port))
        here = self.plain_port if port == 80 else self.tls_port
        return await anyio.connect_tcp("127.0.0.1", here)


def answering(requests: list[str]) -> type[http.server.BaseHTTPRequestHandler]:
    """Return what answers requests, with as many bytes as they ask for."""

    class Answering(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            given = self.rfile.read(size)
            requests.append(f"{self.command} {self.headers['Host']}{self.path} {len(given)}")
            wanted = self.path.removeprefix("/bytes/")
            body = b"x" * int(wanted) if wanted.isdigit() else b"from far away"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    for method in ("GET", "HEAD", "POST", "PUT"):
        setattr(Answering, f"do_{method}", Answering.answer)
    return Answering


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Return who signs the servers' certificates."""
    return trustme.CA()


@pytest.fixture
def world(authority: trustme.CA) -> Iterator[World]:
    """Serve both ports while the test runs."""
    requests: list[str] = []
    servers = [
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), answering(requests)) for _ in range(2)
    ]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("*.example.org", "example.org").configure_cert(context)
    servers[0].socket = context.wrap_socket(
        servers[0].socket, server_side=True, do_handshake_on_connect=False
    )
    threads = [threading.Thread(target=one.serve_forever, args=(0.01,)) for one in servers]
    for thread in threads:
        thread.start()
    tls, plain = (int(one.server_address[1]) for one in servers)
    try:
        yield World(authority, tls, plain, requests=requests)
    finally:
        for one, thread in zip(servers, threads, strict=True):
            one.shutdown()
            thread.join()
            one.server_close()


@pytest.fixture
def far(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Have every proxy that the product opens itself live in this world."""
    monkeypatch.setattr("orchestrator.egress.proxy.addresses_of", world.resolve)
    monkeypatch.setattr("orchestrator.egress.proxy.connection_to", world.dial)
    return world
