"""Whoever is told at the end of a night: what they get, and what happens when telling fails."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from orchestrator.batches.onend import post, run_command, told_json
from tests.batches.nights_of import HOSTILE, a_hostile_report, a_report


@dataclass
class Hook:
    """A server that takes what is posted."""

    url: str = ""
    status: int = 200
    bodies: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)


@contextmanager
def a_hook(status: int = 200, *, silent: bool = False) -> Iterator[Hook]:
    """Serve while the block lasts."""
    hook = Hook(status=status)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.paths.append(self.path)
            hook.bodies.append(self.rfile.read(int(self.headers["content-length"])))
            if silent:
                hook.closing.wait(30)
            self.send_response(hook.status)
            if hook.status == 302:
                self.send_header("location", f"{hook.url}/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hook.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        hook.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


def test_what_is_told_has_no_words_of_anybody() -> None:
    """Fates, dollars and branches are told; titles, errors and summaries are not."""
    data = json.loads(told_json(a_report(), 1))
    assert data["batch"] == "n-20261129-01"
    assert data["exit_code"] == 1
    assert data["counts"]["done"] == 3
    assert data["issues"][3]["fate"] == "not_done"
    assert data["issues"][0]["pull_request"] == "https://github.com/acme/shop/pull/1"
    text = told_json(a_report(), 1).decode()
    assert 'asks for something"' not in text
    assert "overloaded" not in text
    hostile = json.loads(told_json(a_hostile_report(), 1))
    assert {"title", "why", "summary"}.isdisjoint(hostile["issues"][0])
    assert HOSTILE[5] not in {one.get("fate") for one in hostile["issues"]}


def test_a_command_gets_json_and_no_credentials(tmp_path: Path) -> None:
    """The JSON is its input, no shell reads its arguments, and this program's keys are not there."""
    out = tmp_path / "out"
    script = "import os,sys,json; json.dump([sys.stdin.read(), sys.argv[1:], dict(os.environ)], open(sys.argv[1],'w'))"
    command = [sys.executable, "-c", script, str(out), "$(touch evil); `x`"]
    keys = {"ANTHROPIC_API_KEY": "sk-canary", "GITHUB_TOKEN": "ghp-canary", "OTHER": "kept"}
    assert run_command(command, b'{"a":1}', {**os.environ, **keys}, timeout_s=30) == ""
    said, arguments, environment = json.loads(out.read_text())
    assert said == '{"a":1}'
    assert arguments[1] == "$(touch evil); `x`"
    assert environment["OTHER"] == "kept"
    assert "canary" not in json.dumps(environment)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (
            "import sys; sys.stderr.write('one\\nno mail today\\n'); sys.exit(3)",
            "ended with 3: no mail",
        ),
        ("import time; time.sleep(60)", "took longer than 0.5 s"),
    ],
)
def test_a_command_that_fails_is_told(script: str, told: str) -> None:
    """A bad end and one that does not come are told in one line."""
    assert told in run_command(
        [sys.executable, "-c", script],
        b"{}",
        os.environ,
        timeout_s=0.5 if "sleep" in script else 30,
    )


def test_a_command_that_is_not_there_is_told() -> None:
    """So is a program that there is none of."""
    assert "No such file" in run_command(["/nowhere/at-all"], b"{}", {}, timeout_s=5)


def test_a_webhook_gets_the_json() -> None:
    """It is posted to the address, with path and query."""
    with a_hook() as hook:
        assert post(f"{hook.url}/night?key=s3cret", b'{"a":1}', timeout_s=10) == ""
        assert (hook.paths, hook.bodies) == (["/night?key=s3cret"], [b'{"a":1}'])


@pytest.mark.parametrize(
    ("status", "told"), [(500, "answered with 500"), (302, "answered with 302")]
)
def test_no_redirect_is_followed_and_no_secret_told(status: int, told: str) -> None:
    """An answer that is no success is told without the address, and leads nowhere else."""
    with a_hook(status) as hook:
        said = post(f"{hook.url}/night?key=s3cret", b"{}", timeout_s=10)
        assert told in said
        assert "s3cret" not in said
        assert len(hook.paths) == 1


def test_a_webhook_that_says_nothing_is_given_up() -> None:
    """It has a time limit."""
    with a_hook(silent=True) as hook:
        assert "did not answer within 0.3 s" in post(hook.url, b"{}", timeout_s=0.3)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://x/",
        "nowhere",
        "http://",
        "http://127.0.0.1:1/",
        "http://x:99999999/",
    ],
)
def test_what_cannot_be_reached_is_told(url: str) -> None:
    """Any address that does not work gives a line and no traceback."""
    assert "batch.on_end.webhook" in post(url, b"{}", timeout_s=2)
