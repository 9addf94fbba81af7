"""A Messages API on loopback that plays a recording: the turn is told from the request."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Played:
    """A request that was made: which turn of which session it asks for, and its bytes."""

    turn: int
    body: bytes
    headers: dict[str, str]
    session: str = "author"

    @property
    def key(self) -> str:
        """Return the key that its reply has in the journal."""
        return f"{self.session}/turn/{self.turn}/reply"


@dataclass
class ModelServer:
    """The running server.

    Attributes:
        messages: the assistant messages to play, one a turn.
        held: turns whose reply is held back for ever, so that a client waits.
        others: the assistant messages of sessions that are not the author's.
        session_of: tells the session that a request belongs to, from its body and turn.
    """

    messages: Sequence[dict[str, Any]]
    url: str = ""
    played: list[Played] = field(default_factory=list)
    held: set[int] = field(default_factory=set)
    waiting: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)
    others: dict[str, Sequence[dict[str, Any]]] = field(default_factory=dict)
    session_of: Callable[[bytes, int], str] = lambda _, __: "author"

    def asked(self, turn: int) -> list[bytes]:
        """Return the bodies of all requests for a turn, counted from 1."""
        return [one.body for one in self.played if one.turn == turn]


@contextmanager
def serve(messages: Sequence[dict[str, Any]]) -> Iterator[ModelServer]:
    """Serve the recording while the block lasts."""
    state = ModelServer(messages)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            turn = sum(one["role"] == "assistant" for one in json.loads(body)["messages"]) + 1
            session = state.session_of(body, turn)
            headers = {k.lower(): v for k, v in self.headers.items()}
            state.played.append(Played(turn, body, headers, session))
            if turn in state.held:
                state.waiting.set()
                state.closing.wait(60)
                return
            payload = stream_of(state.others.get(session, state.messages)[turn - 1], turn)
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("request-id", f"req_{len(state.played)}")
            self.send_header("content-length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: object) -> None:
            pass

    with listening(Handler, state.closing) as state.url:
        yield state


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler], closing: threading.Event) -> Iterator[str]:
    """Serve on loopback while the block lasts, and yield the address; then ``closing`` is set."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


def stream_of(message: dict[str, Any], turn: int, counted: dict[str, int] | None = None) -> bytes:
    """Render an assistant message as the service streams it, with tokens that were counted."""
    blocks = message["content"]
    calls = any(block["type"] == "tool_use" for block in blocks)
    usage = {"input_tokens": 40, "cache_read_input_tokens": 900 * turn, "output_tokens": 1}
    usage |= counted or {}
    if counted is not None:
        del usage["cache_read_input_tokens"]
    events: list[dict[str, Any]] = [
        {
            "type": "message_start",
            "message": {"id": f"msg_{turn}", "role": "assistant", "usage": usage},
        }
    ]
    for index, block in enumerate(blocks):
        start: dict[str, Any]
        if block["type"] == "text":
            start, delta = (
                {"type": "text", "text": ""},
                {"type": "text_delta", "text": block["text"]},
            )
        else:
            start = {"type": "tool_use", "id": block["id"], "name": block["name"], "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        events += [
            {"type": "content_block_start", "index": index, "content_block": start},
            {"type": "content_block_delta", "index": index, "delta": delta},
            {"type": "content_block_stop", "index": index},
        ]
    reason = message.get("stop_reason") or ("tool_use" if calls else "end_turn")
    events.append(
        {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 60}}
    )
    events.append({"type": "message_stop"})
    lines = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]
    return "".join(lines).encode()
