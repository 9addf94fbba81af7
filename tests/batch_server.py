"""A Messages API with batches on loopback; what it answers is told from the request alone."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.runs.model_server import stream_of

BATCHES = "/v1/messages/batches"
PRICE_IN, PRICE_OUT = 5.0, 25.0
"""Dollars per million tokens; what is read from and written to the cache is priced by its share."""

Answer = dict[str, Any]


def said(request: dict[str, Any]) -> Answer:
    """Answer with a word, whatever was asked."""
    return {"content": [{"type": "text", "text": "Done."}]}


@dataclass
class Batch:
    """A batch, as the service keeps it."""

    id: str
    requests: list[dict[str, Any]]
    created: float
    ended: bool = False
    lines: list[bytes] = field(default_factory=list)


@dataclass
class Refusal:
    """An answer that is none."""

    status: int
    kind: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class BatchServer:
    """The running service.

    Attributes:
        answer: gives the assistant message for a request's body, or a refusal.
        fates: what becomes of items, by custom id or by the function ``fate``.
        cancels: whether a batch that is called off has done nothing.
        unread: what is answered first where a batch's results are asked for.
        unlisted: what is answered first where the batches are asked for.
        ends_at: how many looks at a batch it takes until it ends; None waits for ``end``.
        asked: every request for a reply: its body, and whether a batch brought it.
        usd: what was asked for has cost.
    """

    answer: Callable[[dict[str, Any]], Answer | Refusal] = said
    fates: dict[str, str] = field(default_factory=dict)
    fate: Callable[[str, dict[str, Any]], str] = lambda _id, _body: ""
    ends_at: int | None = None
    shuffled: bool = True
    cancels: bool = False
    refuses: list[Refusal] = field(default_factory=list)
    unread: list[Refusal] = field(default_factory=list)
    unlisted: list[Refusal] = field(default_factory=list)
    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    asked: list[tuple[dict[str, Any], bool]] = field(default_factory=list)
    batches: dict[str, Batch] = field(default_factory=dict)
    looks: dict[str, int] = field(default_factory=dict)
    usd: float = 0.0
    headers: list[dict[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    after_send: Callable[[Batch], None] = lambda _: None

    def end(self, batch: str) -> None:
        """End a batch: its requests are answered, in some other order."""
        found = self.batches[batch]
        if found.ended:
            return
        found.lines = [self._line(one) for one in found.requests]
        if self.shuffled:
            random.Random(batch).shuffle(found.lines)
        found.ended = True

    def lines(self, batch: str) -> list[bytes]:
        """Return the results of a batch."""
        return self.batches[batch].lines

    def _line(self, request: dict[str, Any]) -> bytes:
        custom_id, body = request["custom_id"], request["params"]
        fate = self.fates.get(custom_id) or self.fate(custom_id, body)
        if fate == "torn":
            return f'{{"custom_id":"{custom_id}","result":{{"ty'.encode()
        result: dict[str, Any]
        if fate in {"expired", "canceled"}:
            result = {"type": fate}
        elif fate:
            kind = {"overloaded": "overloaded_error"}.get(fate, "invalid_request_error")
            inner = {"type": kind, "message": fate}
            result = {"type": "errored", "error": {"type": "error", "error": inner}}
        else:
            result = self._result(body)
        return json.dumps({"custom_id": custom_id, "result": result}).encode()

    def _result(self, body: dict[str, Any]) -> dict[str, Any]:
        message = self.answer(body)
        if isinstance(message, Refusal):
            inner = {"type": message.kind, "message": "no"}
            return {"type": "errored", "error": {"type": "error", "error": inner}}
        usage = self.book(body, batch=True)
        calls = any(block["type"] == "tool_use" for block in message["content"])
        whole = {
            "id": f"msg_{len(self.asked)}",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": message["content"],
            "stop_reason": message.get("stop_reason") or ("tool_use" if calls else "end_turn"),
            "stop_sequence": None,
            "usage": usage,
        }
        return {"type": "succeeded", "message": whole}

    def book(self, body: dict[str, Any], *, batch: bool) -> dict[str, int]:
        """Count what a reply takes: by the text alone, so that both lanes take the same."""
        with self.lock:
            self.asked.append((body, batch))
            tokens_in = len(json.dumps(body["messages"])) // 4
            tokens_out = 60
            share = 0.5 if batch else 1.0
            self.usd += share * (tokens_in * PRICE_IN + tokens_out * PRICE_OUT) / 1e6
        return {"input_tokens": tokens_in, "output_tokens": tokens_out}

    def view(self, batch: Batch) -> dict[str, Any]:
        """Describe a batch as the service does."""
        count = len(batch.requests)
        kinds = [json.loads(line)["result"]["type"] for line in batch.lines if _whole(line)]
        counts = {
            "processing": 0 if batch.ended else count,
            **{kind: kinds.count(kind) for kind in ("succeeded", "errored", "canceled", "expired")},
        }
        when = datetime.fromtimestamp(batch.created, UTC).isoformat()
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if batch.ended else "in_progress",
            "request_counts": counts,
            "created_at": when,
            "expires_at": datetime.fromtimestamp(batch.created + 86400, UTC).isoformat(),
            "ended_at": when if batch.ended else None,
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": "http://elsewhere.invalid/results",
        }

    def take(self, requests: list[dict[str, Any]]) -> Batch:
        """Take a batch in."""
        with self.lock:
            batch = Batch(f"msgbatch_{len(self.batches) + 1:04}", requests, time.time())
            self.batches[batch.id] = batch
        return batch

    def look(self, batch: Batch) -> None:
        """Count a look at a batch; enough of them end it."""
        self.looks[batch.id] = self.looks.get(batch.id, 0) + 1
        if self.ends_at is not None and self.looks[batch.id] >= self.ends_at:
            self.end(batch.id)


def _whole(line: bytes) -> bool:
    return line.endswith(b"}") and b'"result"' in line and not line.endswith(b'{"ty')


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: BatchServer

    def do_POST(self) -> None:
        length = int(self.headers["content-length"] or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            return  # who asked was killed in the middle of it
        state = self.state
        state.bodies.append(body)
        state.headers.append({k.lower(): v for k, v in self.headers.items()})
        if state.refuses:
            self._refuse(state.refuses.pop(0))
        elif self.path == BATCHES:
            batch = state.take(json.loads(body)["requests"])
            state.after_send(batch)
            self._json(state.view(batch))
        elif self.path.startswith(BATCHES):
            batch = state.batches[self.path.removeprefix(f"{BATCHES}/").partition("/")[0]]
            if state.cancels:
                state.fates |= {one["custom_id"]: "canceled" for one in batch.requests}
            state.end(batch.id)
            self._json(state.view(batch))
        else:
            self._stream(json.loads(body))

    def do_GET(self) -> None:
        state, path = self.state, self.path.partition("?")[0]
        results = path.endswith("/results")
        first = state.unread if results else state.unlisted if path == BATCHES else []
        for refusals in (state.refuses, first):
            if refusals:
                self._refuse(refusals.pop(0))
                return
        if path == BATCHES:
            found = [state.view(one) for one in reversed(state.batches.values())]
            self._json({"data": found, "has_more": False, "first_id": None, "last_id": None})
            return
        batch = state.batches.get(path.removeprefix(f"{BATCHES}/").partition("/")[0])
        if batch is None:
            self._refuse(Refusal(404, "not_found_error"))
        elif results:
            self._send(200, b"\n".join(batch.lines) + b"\n", "application/x-jsonl")
        else:
            state.look(batch)
            self._json(state.view(batch))

    def _stream(self, body: dict[str, Any]) -> None:
        message = self.state.answer(body)
        if isinstance(message, Refusal):
            self._refuse(message)
            return
        usage = self.state.book(body, batch=False)
        turn = sum(one["role"] == "assistant" for one in body["messages"]) + 1
        self._send(200, stream_of(message, turn, usage), "text/event-stream")

    def _refuse(self, refusal: Refusal) -> None:
        inner = {"type": refusal.kind, "message": "not now"}
        payload = json.dumps({"type": "error", "error": inner}).encode()
        self._send(refusal.status, payload, "application/json", refusal.headers)

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), "application/json")

    def _send(
        self, status: int, payload: bytes, kind: str, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(payload)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve_batches(**options: Any) -> Iterator[BatchServer]:
    """Serve while the block lasts."""
    state = BatchServer(**options)
    handler = type("Handler", (_Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
