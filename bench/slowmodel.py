"""A scripted model that takes its time, in a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def call(turn: int, number: int, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a tool call."""
    return {"type": "tool_use", "id": f"call_{turn}_{number}", "name": name, "input": arguments}


def blocks_of(turn: int, turns: int) -> list[dict[str, Any]]:
    """Return what the model says in a turn, counted from 1."""
    path = f"/workspace/pkg/m{turn % 20}.py"
    read = call(turn, 1, "Read", {"file_path": path})
    if turn == turns:
        return [{"type": "text", "text": "The notes are written, and the tests pass."}]
    match turn % 5:
        case 1:
            return [read]
        case 2:
            return [call(turn, 1, "Grep", {"pattern": "value = 7"})]
        case 3:
            text = f"NOTE = {turn}\n"
            target = f"/workspace/pkg/note{turn}.py"
            return [call(turn, 1, "Write", {"file_path": target, "content": text})]
        case 4:
            return [call(turn, 1, "Bash", {"command": "git status --short | head -3"})]
        case _:
            return [read, call(turn, 2, "Read", {"file_path": "/workspace/README.md"})]


def stream_of(turn: int, turns: int, sent: int) -> bytes:
    """Render a turn as the service streams it."""
    usage = {"input_tokens": 10, "cache_read_input_tokens": sent // 4, "output_tokens": 1}
    started = {"id": "m", "role": "assistant", "usage": usage}
    return event({"type": "message_start", "message": started}) + rest_of(turn, turns)


@functools.cache
def rest_of(turn: int, turns: int) -> bytes:
    """Render what follows the start; made once, since this server shares the machine."""
    said = blocks_of(turn, turns)
    events: list[dict[str, Any]] = []
    for index, block in enumerate(said):
        if block["type"] == "text":
            start, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
        else:
            start = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        events += [
            {"type": "content_block_start", "index": index, "content_block": start},
            {"type": "content_block_delta", "index": index, "delta": delta},
            {"type": "content_block_stop", "index": index},
        ]
    stop = "end_turn" if turn == turns else "tool_use"
    events.append(
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop},
            "usage": {"output_tokens": 120},
        }
    )
    events.append({"type": "message_stop"})
    return b"".join(event(one) for one in events)


def event(data: dict[str, Any]) -> bytes:
    """Render one event."""
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


async def talk(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    latency: float,
    turns: int,
    ended: dict[bytes, float],
    gaps: list[tuple[int, float]],
) -> None:
    """Answer the requests of one connection."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            arrived = time.monotonic()
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            body = await reader.readexactly(length)
            turn = body.count(b'{"role":"assistant"') + 1
            mark = body.find(b"[[run ")
            run = body[mark : mark + 24]
            if run in ended and turn > 1:
                gaps.append((turn, (arrived - ended[run]) * 1000))
            await asyncio.sleep(latency)
            answer = stream_of(turn, turns, length)
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                b"content-length: %d\r\n\r\n%b" % (len(answer), answer)
            )
            await writer.drain()
            ended[run] = time.monotonic()


async def serve_model(latency: float, turns: int, log: Path) -> None:
    """Serve until the process is told to end; then write the gaps down."""
    ended: dict[bytes, float] = {}
    gaps: list[tuple[int, float]] = []
    server = await asyncio.start_server(
        lambda r, w: talk(r, w, latency, turns, ended, gaps),
        "127.0.0.1",
        0,
        backlog=512,
        limit=2**26,
    )
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stopped.wait()
    log.write_text(json.dumps(gaps))


class Model:
    """The scripted model, in a process of its own."""

    def __init__(self, latency: float, turns: int, log: Path) -> None:
        self._log = log
        command = [sys.executable, __file__, str(log)]
        command += ["--latency", str(latency), "--turns", str(turns)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def stop(self) -> list[tuple[int, float]]:
        """End it, and return turn and milliseconds of each gap."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()
        return [(turn, gap) for turn, gap in json.loads(self._log.read_text())]


def main() -> None:
    """Serve, as the benchmarks start it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("log", type=Path)
    parser.add_argument("--latency", type=float, default=1.0)
    parser.add_argument("--turns", type=int, default=10)
    options = parser.parse_args()
    asyncio.run(serve_model(options.latency, options.turns, options.log))


if __name__ == "__main__":
    main()
