"""The proxy on the host through which a sandbox reaches the hosts that its user allowed."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.abc

from orchestrator.egress.allowed import EgressLimits, Host, plain_name, refusal_of_all
from orchestrator.egress.hello import HelloReader, NoHello
from orchestrator.egress.request import BrokenRequest, Wanted, answer, read_request
from orchestrator.errors import only
from orchestrator.wayoutevents import EgressDecided, EgressEnded

HEAD_S = 15.0
RESOLVE_S = 10.0
CONNECT_S = 10.0
IDLE_S = 300.0
AT_ONCE = 64
DENIED_MOST = 200
"""Denied attempts after which the network is closed for good: each one is an event on disk."""
NOTES_MOST = 5
CHUNK = 65536
GONE = (
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    OSError,
    TimeoutError,
)

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
Dial = Callable[[str, int], Awaitable[anyio.abc.ByteStream]]
Emit = Callable[[EgressDecided | EgressEnded], Awaitable[None]]


class EgressProxy:
    """Lets a sandbox reach named hosts, and nothing else.

    A name is resolved once, here; what it leads to must be addresses of the public internet, and
    a connection goes to one of those very addresses. Through CONNECT only TLS passes whose own
    first words name the same server; without TLS only GET and HEAD pass.

    Args:
        allowed: what may be reached.
        limits: bytes that may go through.
        emit: records each decision; when it returns it is on disk.
        used: bytes sent and received before, by the same run.
    """

    def __init__(
        self,
        allowed: Sequence[Host],
        limits: EgressLimits,
        emit: Emit,
        *,
        used: tuple[int, int] = (0, 0),
        resolve: Resolve | None = None,
        dial: Dial | None = None,
    ) -> None:
        self._allowed = tuple(allowed)
        self._limits = limits
        self._emit = emit
        self._sent, self._received = used
        self._resolve = resolve or addresses_of
        self._dial = dial or connection_to
        self._places = anyio.Semaphore(AT_ONCE)
        self._denied = 0
        self._notes: list[str] = []

    def notes(self) -> list[str]:
        """Return what the agent should be told of refused connections, once."""
        notes, self._notes = self._notes, []
        return notes

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[Path]:
        """Serve a socket in a folder while the block lasts, and give its path.

        Raises:
            JournalError: a decision could not be recorded.
        """
        try:
            async with anyio.create_task_group() as tasks:
                yield await tasks.start(self.serve, folder)
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise only(group) from None

    async def serve(
        self,
        folder: Path,
        *,
        task_status: anyio.abc.TaskStatus[Path] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve a socket in a folder until cancelled; the socket's path is the started value."""
        bound, path = _listening(folder)
        try:
            listener = await anyio.abc.SocketListener.from_socket(bound)
            async with listener, anyio.create_task_group() as tasks:
                task_status.started(path)
                while True:
                    await self._places.acquire()
                    tasks.start_soon(self._serve_one, await listener.accept())
        finally:
            path.unlink(missing_ok=True)

    # -- one connection --------------------------------------------------------------------

    async def _serve_one(self, client: anyio.abc.ByteStream) -> None:
        try:
            async with client:
                with suppress(*GONE):
                    await self._serve_client(client)
        finally:
            self._places.release()

    async def _serve_client(self, client: anyio.abc.ByteStream) -> None:
        if self._denied >= DENIED_MOST:
            return
        try:
            with anyio.fail_after(HEAD_S):
                wanted = await read_request(client)
        except BrokenRequest as error:
            await client.send(answer(400, str(error)))
            return
        ident = secrets.token_hex(8)
        why = self._refusal(wanted)
        addresses: Sequence[str] = ()
        if not why:
            addresses = await self._looked_up(wanted)
            why = refusal_of_all(addresses)
        if why:
            await self._deny(client, ident, wanted, why)
            return
        await self._emit(EgressDecided(ident, wanted.host, wanted.port, allowed=True))
        server = await self._connected(addresses, wanted.port)
        if server is None:
            await client.send(answer(502, f"{wanted.host}:{wanted.port} does not answer"))
            return
        async with server:
            await self._carry(ident, client, server, wanted)

    def _refusal(self, wanted: Wanted) -> str:
        name = plain_name(wanted.host)
        if not any(one.matches(name, wanted.port) for one in self._allowed):
            listed = ", ".join(str(one) for one in self._allowed)
            return f"it is not among the allowed hosts ({listed})"
        if self._sent >= self._limits.sent or self._received >= self._limits.received:
            return "the bytes that this run may send or receive are used up"
        return ""

    async def _looked_up(self, wanted: Wanted) -> Sequence[str]:
        try:
            with anyio.fail_after(RESOLVE_S):
                return await self._resolve(plain_name(wanted.host), wanted.port)
        except (OSError, TimeoutError, UnicodeError):
            return ()

    async def _connected(self, addresses: Sequence[str], port: int) -> anyio.abc.ByteStream | None:
        for address in addresses:
            with suppress(OSError, TimeoutError), anyio.fail_after(CONNECT_S):
                return await self._dial(address, port)
        return None

    async def _deny(
        self, client: anyio.abc.ByteStream, ident: str, wanted: Wanted, why: str
    ) -> None:
        self._denied += 1
        said = f"connection to {wanted.host}:{wanted.port} was refused: {why}"
        if said not in self._notes and len(self._notes) < NOTES_MOST:
            self._notes.append(f"Network: {said}")
        await self._emit(EgressDecided(ident, wanted.host, wanted.port, allowed=False, reason=why))
        if self._denied == DENIED_MOST:
            self._notes.append("Network: closed, after too many refused connections")
        await client.send(answer(403, said))

    # -- carrying --------------------------------------------------------------------------

    async def _carry(
        self,
        ident: str,
        client: anyio.abc.ByteStream,
        server: anyio.abc.ByteStream,
        wanted: Wanted,
    ) -> None:
        """Pass bytes both ways until either side ends, time runs out, or the bytes are used up."""
        before = (self._sent, self._received)
        reason = ""
        try:
            if wanted.tunnel:
                await client.send(answer(200, ""))
                first = await self._hello(client, wanted)
            else:
                first = wanted.forwarded
            self._count_sent(len(first))
            await server.send(first)
            # Without TLS nothing further of the client's passes: it would be another request.
            await self._pass_on(server, client, client if wanted.tunnel else None)
        except (NoHello, _UsedUp) as error:
            reason = str(error)
            self._notes.append(f"Network: connection to {wanted.host} was ended: {reason}")
        finally:
            with anyio.CancelScope(shield=True):
                used = (self._sent - before[0], self._received - before[1])
                await self._emit(EgressEnded(ident, *used, reason=reason))

    async def _hello(self, client: anyio.abc.ByteStream, wanted: Wanted) -> bytes:
        """Read the client's first words; what they name must be what was asked for."""
        reader, data = HelloReader(), b""
        name = None
        with anyio.fail_after(HEAD_S):
            while name is None:
                chunk = await client.receive(CHUNK)
                data += chunk
                name = reader.feed(chunk)
        if plain_name(name) != plain_name(wanted.host):
            raise NoHello(f"its TLS names {plain_name(name)[:253]}, not {wanted.host}")
        return data

    async def _pass_on(
        self,
        server: anyio.abc.ByteStream,
        client: anyio.abc.ByteStream,
        sender: anyio.abc.ByteStream | None,
    ) -> None:
        """Pass bytes to the client, and a sender's to the server, until nothing moves any more."""
        used_up: list[_UsedUp] = []

        async def one_way(
            source: anyio.abc.ByteStream, target: anyio.abc.ByteStream, count: Callable[[int], None]
        ) -> None:
            try:
                while True:
                    chunk = await source.receive(CHUNK)
                    idle.deadline = anyio.current_time() + IDLE_S
                    count(len(chunk))
                    await target.send(chunk)
            except anyio.EndOfStream:
                with suppress(*GONE):
                    await target.send_eof()
            except _UsedUp as error:
                used_up.append(error)
                idle.cancel()
            except GONE:
                idle.cancel()

        with anyio.CancelScope(deadline=anyio.current_time() + IDLE_S) as idle:
            async with anyio.create_task_group() as ways:
                ways.start_soon(one_way, server, client, self._count_received)
                if sender is not None:
                    ways.start_soon(one_way, sender, server, self._count_sent)
        if used_up:
            raise used_up[0]

    def _count_sent(self, size: int) -> None:
        if self._sent + size > self._limits.sent:
            raise _UsedUp("the bytes that this run may send are used up")
        self._sent += size

    def _count_received(self, size: int) -> None:
        if self._received + size > self._limits.received:
            raise _UsedUp("the bytes that this run may receive are used up")
        self._received += size


class _UsedUp(Exception):
    """A connection has reached the limit of the run's bytes."""


async def addresses_of(name: str, port: int) -> Sequence[str]:
    """Return all addresses of a name, as this machine resolves it."""
    found = await anyio.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[4][0]) for address in found))


async def connection_to(address: str, port: int) -> anyio.abc.ByteStream:
    """Connect to an address."""
    return await anyio.connect_tcp(address, port)


def _listening(folder: Path) -> tuple[socket.socket, Path]:
    """Listen in a folder; the path that is bound is short, however long the folder's own is."""
    path = folder / f"egress-{secrets.token_hex(4)}"
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        bound.bind(f"/proc/self/fd/{place}/{path.name}")
    finally:
        os.close(place)
    path.chmod(0o600)
    bound.listen(AT_ONCE)
    bound.setblocking(False)
    return bound, path
