"""The host's end of a real tool server, for the tests of the server."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import orchestrator_tools
from orchestrator_tools.place import Place

SAFETY_S = 60
"""Seconds after which a test that hangs fails; no test measures them."""

BOOT = "import sys; sys.path.insert(0, {!r}); from orchestrator_tools.server import main; main()"


class Client:
    """The host's end of a server."""

    def __init__(self, place: Place, environment: dict[str, str]) -> None:
        tools = str(Path(orchestrator_tools.__file__).parent.parent)
        self.workspace = Path(place.workspace)
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", BOOT.format(tools)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=place.workspace,
            env={
                "PATH": os.environ["PATH"],
                "HOME": os.environ["HOME"],
                "TMPDIR": place.scratch,
                "ORCHESTRATE_WORKSPACE": place.workspace,
                "ORCHESTRATE_RG": place.rg,
                **environment,
            },
        )
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()
        self.ready = self.receive()

    def _read(self, stream: IO[bytes]) -> None:
        for line in stream:
            self._lines.put(line)
        self._lines.put(b'{"ended": true}')

    def send(self, **message: Any) -> None:
        self.send_line(json.dumps(message, ensure_ascii=False).encode() + b"\n")

    def send_line(self, line: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._lines.get(timeout=SAFETY_S))
        assert "ended" not in answer, "the server has ended"
        return answer

    def ask(self, **message: Any) -> dict[str, Any]:
        self.send(id=1, **message)
        answer = self.receive()
        assert answer.pop("id") == 1
        return answer

    def call(self, tool: str, **message: Any) -> dict[str, Any]:
        state = {name: message.pop(name) for name in ("cwd", "seen") if name in message}
        return self.ask(op="call", tool=tool, arguments=message, **state)

    def close(self) -> tuple[int, bytes]:
        """End the input; return the server's status and what it said on stderr."""
        assert self.process.stdin
        assert self.process.stdout
        assert self.process.stderr
        self.process.stdin.close()
        errors = self.process.stderr.read()
        status = self.process.wait(SAFETY_S)
        self._reader.join(SAFETY_S)
        self.process.stdout.close()
        self.process.stderr.close()
        return status, errors


def text_of(answer: dict[str, Any]) -> str:
    return "\n".join(block["text"] for block in answer["content"])
