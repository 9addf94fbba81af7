"""A Messages API on loopback that fails in one way at one place of a run, once or always."""

from __future__ import annotations

import json
import math
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal

from tests.runs.model_server import listening, stream_of
from tests.runs.stage import MEND, NOTE

Phase = Literal["routing", "first", "after tools", "last", "review"]
PHASES: tuple[Phase, ...] = ("routing", "first", "after tools", "last", "review")

STATUSES = {
    "429 with retry-after": (429, "rate_limit_error", {"retry-after": "0.05"}),
    "429": (429, "rate_limit_error", {}),
    "500": (500, "api_error", {}),
    "529": (529, "overloaded_error", {}),
    "401": (401, "authentication_error", {}),
    "403": (403, "permission_error", {}),
    "400 too long": (400, "invalid_request_error", {}),
}
BROKEN = ("drop", "stall", "malformed", "error event", "trickle")
"""Streams that begin and come to no end that counts."""

ODD = ("truncated input", "refusal", "pause_turn", "context exceeded", "empty")
"""Replies that are whole and not what was hoped for."""

KINDS = (*STATUSES, *BROKEN, *ODD)


def call(name: str, number: int, **arguments: Any) -> dict[str, Any]:
    """Build a block that calls a tool."""
    return {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": arguments}


def said(*blocks: dict[str, Any]) -> dict[str, Any]:
    """Build an assistant message."""
    return {"role": "assistant", "content": list(blocks)}


REPLIES: dict[str, list[dict[str, Any]]] = {
    "routing": [said(call("choose", 1, specialist="backend-engineer"))],
    "author": [
        said(call(MEND[0], 1, **MEND[1])),
        said(call(NOTE[0], 2, **NOTE[1])),
        said({"type": "text", "text": "Mended."}),
    ],
    "review": [said(call("verdict", 1, summary="It is right.", findings=[]))],
}


@dataclass
class Faulty:
    """The running service.

    Attributes:
        kind: how it fails.
        phase: where.
        times: how often.
        model: fails only where this is asked; empty is any.
        asked: the phases of all requests, in order, and the model of each.
    """

    kind: str
    phase: Phase
    times: float = 1
    model: str = ""
    url: str = ""
    failed: int = 0
    asked: list[tuple[Phase, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    extra: Counter[str] = field(default_factory=Counter)
    closing: threading.Event = field(default_factory=threading.Event)

    def place(self, body: dict[str, Any]) -> tuple[Phase, str, int]:
        """Tell what a request is for, whose it is, and which reply it is to have."""
        if "tool_choice" in body:
            return "routing", "routing", 0
        if any(tool["name"] == "verdict" for tool in body["tools"]):
            return "review", "review", 0
        turns = sum(one["role"] == "assistant" for one in body["messages"])
        turn = min(turns - self.extra["author"], 2)
        return PHASES[1 + turn], "author", turn

    def fails(self, phase: Phase, model: str) -> bool:
        """Tell whether this request is one that fails, and count it."""
        if phase != self.phase or self.failed >= self.times or self.model not in {"", model}:
            return False
        self.failed += 1
        return True


@contextmanager
def faulty(  # noqa: C901 - one way to fail a branch
    kind: str, phase: Phase, times: float = 1, model: str = ""
) -> Iterator[Faulty]:
    """Serve while the block lasts."""
    state = Faulty(kind, phase, times, model)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            phase, whose, turn = state.place(body)
            state.asked.append((phase, body["model"]))
            state.bodies.append(body)
            message = REPLIES[whose][turn]
            if not state.fails(phase, body["model"]):
                return self.whole(stream_of(message, len(state.asked)))
            if kind in STATUSES:
                return self.refuse(*STATUSES[kind])
            if kind in BROKEN:
                return self.break_off(stream_of(message, len(state.asked)))
            return self.odd(message, whose)

        def whole(self, payload: bytes) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("content-length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def refuse(self, status: int, error: str, headers: dict[str, str]) -> None:
            words = "prompt is too long: 2 tokens > 1 maximum" if status == 400 else "no"
            payload = json.dumps(
                {"type": "error", "error": {"type": error, "message": words}}
            ).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def break_off(self, payload: bytes) -> None:
            events = payload.split(b"\n\n")
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(events[0] + b"\n\n")
            with suppress(OSError):
                if kind == "drop":
                    self.wfile.write(events[1] + b"\n\n")
                    self.connection.shutdown(socket.SHUT_RDWR)
                if kind == "malformed":
                    self.wfile.write(b"event: content_block_start\ndata: {no json\n\n")
                if kind == "error event":
                    error = {"type": "overloaded_error", "message": "busy"}
                    data = json.dumps({"type": "error", "error": error})
                    self.wfile.write(f"event: error\ndata: {data}\n\n".encode())
                if kind == "stall":
                    state.closing.wait(30)
                if kind == "trickle":
                    while not state.closing.wait(0.05):
                        self.wfile.write(b'event: ping\ndata: {"type":"ping"}\n\n')
                        self.wfile.flush()
            self.close_connection = True

        def odd(self, message: dict[str, Any], whose: str) -> None:
            words: dict[str, Any] = {"type": "text", "text": "I cannot go on."}
            number = 1000 + state.failed
            match kind:
                case "truncated input":
                    state.extra[whose] += 1
                    self.whole(_truncated(message, number))
                case "refusal":
                    self.whole(stream_of({**said(words), "stop_reason": "refusal"}, number))
                case "pause_turn":
                    state.extra[whose] += 1
                    self.whole(stream_of({**said(words), "stop_reason": "pause_turn"}, number))
                case "context exceeded":
                    state.extra[whose] += 1
                    reason = "model_context_window_exceeded"
                    self.whole(stream_of({**said(words), "stop_reason": reason}, number))
                case _:
                    self.whole(stream_of({**said(), "stop_reason": "end_turn"}, number))

        def log_message(self, *_: object) -> None:
            pass

    with listening(Handler, state.closing) as state.url:
        yield state


def _truncated(message: dict[str, Any], number: int) -> bytes:
    """Cut a reply in the middle of its last block, as at the most tokens that were asked for."""
    events = stream_of({**message, "stop_reason": "max_tokens"}, number).split(b"\n\n")
    kept = []
    for event in events:
        if b"content_block_stop" in event:
            continue
        kept.append(event.replace(b'"partial_json": "{', b'"partial_json": "{\\"cut', 1))
    return b"\n\n".join(kept)


ALWAYS = math.inf
