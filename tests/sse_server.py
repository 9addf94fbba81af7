"""A small Messages service on this machine: it plays raw bytes and keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

End = Literal["whole", "dropped", "stalled"]


def event(kind: str, **data: Any) -> bytes:
    """Encode one event of a stream, as the service writes it."""
    body = json.dumps({"type": kind, **data}, ensure_ascii=False)
    return f"event: {kind}\ndata: {body}\n\n".encode()


def start(**usage: Any) -> bytes:
    """Encode the beginning of a reply."""
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 1, **usage},
    }
    return event("message_start", message=message)


def block(
    index: int, opened: dict[str, Any], *deltas: dict[str, Any], closed: bool = True
) -> bytes:
    """Encode one block: its beginning, its deltas and, unless it was cut, its end."""
    parts = [event("content_block_start", index=index, content_block=opened)]
    parts += [event("content_block_delta", index=index, delta=delta) for delta in deltas]
    if closed:
        parts.append(event("content_block_stop", index=index))
    return b"".join(parts)


def text(index: int, *pieces: str) -> bytes:
    """Encode a text block that arrives in pieces."""
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
    return block(index, {"type": "text", "text": ""}, *deltas)


def tool_use(index: int, name: str, *pieces: str, closed: bool = True) -> bytes:
    """Encode a tool call whose arguments arrive in pieces of JSON."""
    opened = {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": {}}
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return block(index, opened, *deltas, closed=closed)


def stop(reason: str = "end_turn", **usage: Any) -> bytes:
    """Encode the end of a reply."""
    delta = {"stop_reason": reason, "stop_sequence": None}
    counts = {"output_tokens": 34, **usage}
    return event("message_delta", delta=delta, usage=counts) + event("message_stop")


@dataclass(frozen=True)
class Play:
    """One answer of the service.

    Attributes:
        chunks: the body, in the pieces that are written one by one.
        end: whether the answer is whole, is dropped after the chunks, or stalls there.
    """

    chunks: Sequence[bytes] = ()
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    end: End = "whole"


def refusal(status: int, kind: str, said: str = "no", **headers: str) -> Play:
    """Build an answer that is an error, as the service writes it."""
    body = {"type": "error", "error": {"type": kind, "message": said}, "request_id": "req_9"}
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Play(
        chunks=[json.dumps(body).encode()],
        status=status,
        headers=(("content-type", "application/json"), *named),
    )


@dataclass
class Service:
    """The service: its address, what it was asked, and what it answers next."""

    url: str = ""
    plays: list[Play] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    connections: dict[asyncio.Task[Any], asyncio.StreamWriter] = field(default_factory=dict)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        own = asyncio.current_task()
        assert own is not None
        self.connections[own] = writer
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (one.partition(":") for one in head[1:] if one)
        }
        self.paths.append(head[0].split()[1])
        self.headers.append(headers)
        self.bodies.append(await reader.readexactly(int(headers.get("content-length", "0"))))
        play = self.plays.pop(0) if self.plays else Play([b"not foreseen"], status=418)
        writer.write(_head(play))
        for chunk in play.chunks:
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            await writer.drain()
        if play.end == "stalled":
            self.stalled.set()
            await self.ending.wait()
        if play.end == "whole":
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        return play.end == "whole"

    async def aclose(self) -> None:
        """Let go of all connections and wait until they are closed."""
        self.ending.set()
        for writer in self.connections.values():
            writer.close()
        await asyncio.gather(*self.connections)


def _head(play: Play) -> bytes:
    headers = {
        "content-type": "text/event-stream; charset=utf-8",
        "request-id": "req_1",
        **dict(play.headers),
    }
    lines = [f"HTTP/1.1 {play.status} Status", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "transfer-encoding: chunked", "", ""]).encode()


@asynccontextmanager
async def serving(
    plays: Iterable[Play], *, secured: ssl.SSLContext | None = None
) -> AsyncIterator[Service]:
    """Run a service that gives these answers, one a request."""
    service = Service(plays=list(plays))
    async with await asyncio.start_server(service.answer, "127.0.0.1", 0, ssl=secured) as server:
        host, port = server.sockets[0].getsockname()[:2]
        service.url = f"{'https' if secured else 'http'}://{host}:{port}"
        try:
            yield service
        finally:
            await service.aclose()
