"""A git server on loopback: git's own ``http-backend`` behind a token."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from tests.builders import git

TOKEN = "ghs-canary-8d1f6b0c"

Said = tuple[int, list[tuple[str, str]], bytes]
"""Status, headers and body of an answer."""


@dataclass
class GitServer:
    """What a server serves, who may come in, and what happened.

    Attributes:
        folder: the bare repositories.
        tokens: that are let in.
        pushes: paths of requests that brought a pack.
        logins: what was sent as authorization, decoded.
        before: is called before each request is answered; may hold it up, or change something.
        api: answers what is asked below ``/api/``: method, path, headers and body.
        sends_on: where every request is redirected to; empty means nowhere.
        die: is told of each request, before it is done and after; True means that no answer comes.
    """

    folder: Path
    url: str = ""
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    pushes: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    before: Callable[[str], None] = lambda _: None
    api: Callable[[str, str, dict[str, str], bytes], Said] | None = None
    sends_on: str = ""
    die: Callable[[str, str], bool] = lambda _, __: False

    def repository(self, name: str = "shop") -> Path:
        """Return a repository's folder."""
        return self.folder / f"{name}.git"

    def address(self, name: str = "shop") -> str:
        """Return a repository's address."""
        return f"{self.url}/{name}.git"

    def head(self, branch: str, name: str = "shop") -> str:
        """Return what a branch is at; empty where there is none."""
        found = git(
            self.repository(name), "for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}"
        )
        return found.strip()

    def hook(self, name: str, script: str, of: str = "shop") -> None:
        """Have a repository of the server run a hook."""
        path = self.repository(of) / "hooks" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def log(self, of: str = "shop") -> list[str]:
        """Return every update of every ref, as the hook ``post-receive`` saw it."""
        path = self.repository(of) / "received"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def make_repository(server: GitServer, source: Path, name: str = "shop") -> None:
    """Make a bare copy of a repository that can be pushed to."""
    bare = server.repository(name)
    git(source, "clone", "--quiet", "--bare", "--no-hardlinks", str(source), str(bare))
    git(bare, "config", "http.receivepack", "true")
    server.hook("post-receive", "cat >> received", name)


class _Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: GitServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is given
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer a question for refs."""
        self._answer(b"")

    def do_PATCH(self) -> None:
        """Answer a change."""
        self.do_POST()

    def do_DELETE(self) -> None:
        """Answer a removal."""
        self.do_POST()

    def do_PUT(self) -> None:
        """Answer a setting."""
        self.do_POST()

    def do_POST(self) -> None:
        """Take or give a pack, or answer a change."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(self._chunks())
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self._answer(body)

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _answer(self, body: bytes) -> None:
        self.state.before(self.path)
        step = f"{self.command} {self.path}"
        if self.state.die(step, "before"):
            return
        status, pairs, said = self._said(body)
        if not self.state.die(step, "after"):
            self._send(status, pairs, said)

    def _said(self, body: bytes) -> Said:
        if self.state.api is not None and self.path.startswith("/api/"):
            headers = {name.lower(): value for name, value in self.headers.items()}
            return self.state.api(self.command, self.path, headers, body)
        if self.state.sends_on:
            return 301, [("Location", f"{self.state.sends_on}{self.path}")], b""
        if not self._may_enter():
            return 401, [("WWW-Authenticate", 'Basic realm="git"')], b"who are you?\n"
        if self.path.endswith("/git-receive-pack") and self.command == "POST" and len(body) > 4:
            self.state.pushes.append(self.path)
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            env=self._environment(),
            capture_output=True,
            check=False,
        )
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        pairs = [line.split(": ", 1) for line in head.decode().split("\r\n") if line]
        status = next((int(v.split()[0]) for k, v in pairs if k == "Status"), 200)
        return status, [(k, v) for k, v in pairs if k != "Status"], rest

    def _may_enter(self) -> bool:
        kind, _, text = self.headers.get("Authorization", "").partition(" ")
        if kind != "Basic":
            return not self.state.tokens
        login = base64.b64decode(text).decode()
        self.state.logins.append(login)
        return login.partition(":")[2] in self.state.tokens

    def _environment(self) -> dict[str, str]:
        parts = urlsplit(self.path)
        values = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.state.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": parts.path,
            "QUERY_STRING": parts.query,
            "REQUEST_METHOD": self.command,
            "REMOTE_USER": "agent",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
        }
        if coding := self.headers.get("Content-Encoding"):
            values["HTTP_CONTENT_ENCODING"] = coding
        if protocol := self.headers.get("Git-Protocol"):
            values["GIT_PROTOCOL"] = protocol
        return values

    def _send(self, status: int, pairs: list[tuple[str, str]], body: bytes) -> None:
        try:
            self.send_response(status)
            for key, value in pairs:
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            return  # whoever asked was killed


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that were killed while they asked."""


@contextmanager
def git_server(folder: Path) -> Iterator[GitServer]:
    """Serve a folder of bare repositories on a free port."""
    folder.mkdir(parents=True, exist_ok=True)
    state = GitServer(folder)
    backend = type("Backend", (_Backend,), {"state": state})
    server = _Server(("127.0.0.1", 0), backend)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
