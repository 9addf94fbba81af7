"""A model's window, asked of a real server: once, beside the work, kept for a day."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson
import pytest

from orchestrator.assembly.caring import Windows
from orchestrator.models.windows import DAY_S, kept, look_up
from orchestrator.prices import Model

KEY = "sk-test-canary"
GOOD = orjson.dumps({"id": "claude-new-1", "type": "model", "max_input_tokens": 400_000})


@dataclass
class Service:
    """A service that is asked for models."""

    url: str = ""
    status: int = 200
    body: bytes = GOOD
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@contextmanager
def serving() -> Iterator[Service]:
    """Serve while the block lasts."""
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            service.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
            self.send_response(service.status)
            self.send_header("content-length", str(len(service.body)))
            if service.status == 302:
                self.send_header("location", f"{service.url}/elsewhere")
            self.end_headers()
            self.wfile.write(service.body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.fixture
def service() -> Iterator[Service]:
    """A running service."""
    with serving() as running:
        yield running


def looked_up(service: Service, path: Path, model: str = "claude-new-1") -> dict[str, int]:
    """Look a model up, and wait for what comes of it."""
    known: dict[str, int] = {}
    environment = {"ANTHROPIC_BASE_URL": service.url, "ANTHROPIC_API_KEY": KEY}
    thread = look_up(model, environment, path, known)
    if thread is not None:
        thread.join(20)
        assert not thread.is_alive()
    return known


def test_a_window_is_asked_for_once(service: Service, tmp_path: Path) -> None:
    """The documented endpoint is asked, with the key as a bearer; the answer is kept."""
    path = tmp_path / "models.json"
    assert looked_up(service, path) == {"claude-new-1": 400_000}
    assert looked_up(service, path) == {"claude-new-1": 400_000}
    ((asked, headers),) = service.asked
    assert asked == "/v1/models/claude-new-1"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["anthropic-version"] == "2026-10-21"
    assert KEY.encode() not in path.read_bytes()


def test_an_answer_is_kept_for_a_day(service: Service, tmp_path: Path) -> None:
    """What is older than a day is asked for again."""
    path = tmp_path / "models.json"
    looked_up(service, path)
    rows = orjson.loads(path.read_bytes())
    ((name, (window, _)),) = rows.items()
    path.write_bytes(orjson.dumps({name: [window, time.time() - DAY_S - 1]}))
    assert kept(path, service.url, "claude-new-1") == 0
    looked_up(service, path)
    assert len(service.asked) == 2


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, GOOD),
        (500, b""),
        (302, b""),
        (200, b"not json"),
        (200, b"[]"),
        (200, b'{"max_input_tokens":"many"}'),
        (200, b'{"max_input_tokens":-5}'),
        (200, b'{"max_input_tokens":true}'),
        (200, b'{"max_input_tokens":999999999999}'),
        (200, b"x" * 2_000_000),
    ],
)
def test_what_is_no_answer_leaves_it_unknown(
    service: Service, tmp_path: Path, status: int, body: bytes
) -> None:
    """Errors, redirects and nonsense are no window, and nothing is kept of them."""
    service.status, service.body = status, body
    path = tmp_path / "models.json"
    assert looked_up(service, path) == {}
    assert not path.exists()
    assert [asked for asked, _ in service.asked] == ["/v1/models/claude-new-1"]


def test_a_broken_file_is_no_answer(service: Service, tmp_path: Path) -> None:
    """A file that is broken, or holds something else, is written anew."""
    path = tmp_path / "models.json"
    for broken in (b"{", b"[1]", b'{"claude-new-1 x": [1]}'):
        path.write_bytes(broken)
        assert looked_up(service, path) == {"claude-new-1": 400_000}


def test_nobody_waits_for_it(service: Service, tmp_path: Path) -> None:
    """A known window comes from the table; for another the answer is 0 until it has come."""
    environment = {"ANTHROPIC_BASE_URL": service.url, "ANTHROPIC_API_KEY": KEY}
    windows = Windows(environment, tmp_path / "models.json")
    assert windows.of(Model("claude-opus-5-5", None, context=1_000_000)) == 1_000_000
    assert not service.asked
    new = Model("claude-new-1", None)
    end = time.monotonic() + 20
    while windows.of(new) == 0:
        assert time.monotonic() < end
    assert windows.of(new) == 400_000
    assert len(service.asked) == 1


def test_without_a_key_nobody_is_asked(service: Service, tmp_path: Path) -> None:
    """No key, no question."""
    environment = {"ANTHROPIC_BASE_URL": service.url}
    assert look_up("claude-new-1", environment, tmp_path / "models.json", {}) is None
    assert not service.asked
