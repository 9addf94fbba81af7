"""A small HTTP server on this machine that plays services with a state of their own."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Reply:
    """One answer; ``data`` None means no body."""

    status: int = 200
    data: Any = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class Fault:
    """What goes wrong with the next request that fits.

    Attributes:
        method: of the request; empty fits all.
        path: part of its path.
        query: part of what stands behind it.
        body: part of what is sent.
        kind: the answer is another one; or what was asked for is done and its answer is lost, cut
            in the middle, or does not come.
        times: how often.
    """

    kind: Literal["reply", "lost", "cut", "silent"]
    method: str = ""
    path: str = ""
    query: str = ""
    body: str = ""
    reply: Reply = field(default_factory=Reply)
    times: int = 1

    def fits(self, asked: Asked) -> bool:
        """Tell whether it is for this request."""
        query = "&".join(f"{name}={value}" for name, value in asked.query.items())
        fits = self.method in {"", asked.method} and self.path in asked.path
        fits = fits and self.body in json.dumps(asked.body)
        return fits and self.times > 0 and self.query in query


class Service(Protocol):
    """What is played."""

    def answer(self, asked: Asked) -> Reply:
        """Answer a request."""
        ...


@dataclass
class Loopback:
    """A running server.

    Attributes:
        asked: every request, in order.
        faults: what goes wrong.
    """

    service: Service
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    tasks: dict[asyncio.Task[Any], asyncio.StreamWriter] = field(default_factory=dict)
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    def count(self, method: str, part: str = "") -> int:
        """Return how many requests of a method came for a part of a path."""
        return sum(one.method == method and part in one.path for one in self.asked)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        own = asyncio.current_task()
        assert own is not None
        self.tasks[own] = writer
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        asked = await _read(reader)
        self.asked.append(asked)
        fault = next((one for one in self.faults if one.fits(asked)), None)
        if fault is not None:
            fault.times -= 1
        if fault is not None and fault.kind == "reply":
            reply = fault.reply
        else:
            reply = self.service.answer(asked)
        if fault is not None and fault.kind == "lost":
            return False
        if fault is not None and fault.kind == "silent":
            await self.ending.wait()
            return False
        body = b"" if reply.data is None else json.dumps(reply.data).encode()
        etag = f'W/"{hashlib.sha256(body).hexdigest()[:20]}"'
        headers = dict(reply.headers)
        if asked.method == "GET" and reply.status == 200:
            headers["etag"] = etag
            if asked.headers.get("if-none-match") == etag:
                reply, body = Reply(304), b""
        lines = [f"HTTP/1.1 {reply.status} Said", *(f"{k}: {v}" for k, v in headers.items())]
        if reply.status != 304:
            lines += ["content-type: application/json", f"content-length: {len(body)}"]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        whole = fault is None or fault.kind != "cut"
        writer.write(body if whole else body[: len(body) // 2])
        await writer.drain()
        return whole

    async def aclose(self) -> None:
        """Let go of all connections and wait until they are closed."""
        self.ending.set()
        for writer in self.tasks.values():
            writer.close()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ", 2)
    headers = {
        name.lower(): value.strip() for name, _, value in (one.partition(":") for one in head[1:])
    }
    data = await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(target)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    return Asked(method, parts.path, query, headers, json.loads(data) if data else None)


@asynccontextmanager
async def serving(make: Callable[[str], Service]) -> AsyncIterator[Loopback]:
    """Run a service; it is made with its own address."""
    server: Loopback | None = None

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert server is not None
        await server.talk(reader, writer)

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as listening:
        host, port = listening.sockets[0].getsockname()[:2]
        url = f"http://{host}:{port}"
        server = Loopback(make(url), url)
        try:
            yield server
        finally:
            await server.aclose()


def paged(asked: Asked, rows: list[Any], url: str, *, most: int = 100) -> Reply:
    """Answer with one page of a list, and the address of the next."""
    size = min(int(asked.query.get("per_page", "30")), most)
    page = int(asked.query.get("page", "1"))
    headers: tuple[tuple[str, str], ...] = ()
    if page * size < len(rows):
        rest = "&".join(f"{k}={v}" for k, v in asked.query.items() if k != "page")
        next_ = f"{url}{asked.path}?{rest}&page={page + 1}"
        headers = (("link", f'<{next_}>; rel="next", <{url}{asked.path}>; rel="last"'),)
    return Reply(200, rows[(page - 1) * size : page * size], headers)
