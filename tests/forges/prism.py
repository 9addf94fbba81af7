"""Prism with GitHub's published description, between our requests and a GitHub of our own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).parents[2]
START_S = 90.0
SPEC = "node_modules/@octokit/openapi/generated/api.github.com.json"


def installed() -> Path | None:
    """Return the folder that holds Prism and the description: see ``make prism``."""
    folder = Path(os.environ.get("ORCHESTRATE_PRISM", PROJECT / ".prism"))
    there = (folder / "node_modules/.bin/prism").exists() and (folder / SPEC).exists()
    return folder if there and shutil.which("node") else None


@contextmanager
def proxying(folder: Path, upstream: str, log: Path) -> Iterator[str]:
    """Run Prism in front of a service; what it objects to is in the header ``sl-violations``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [str(folder / "node_modules/.bin/prism"), "proxy", "-h", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*argv, str(folder / SPEC), upstream], stdout=file, stderr=file, cwd=folder
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(process, log)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _wait(process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until it answers; it says so in its log."""
    until = time.monotonic() + START_S
    while b"is listening" not in log.read_bytes():
        if process.poll() is not None or time.monotonic() > until:
            raise AssertionError(f"Prism did not start: {log.read_text()[-500:]}")
        time.sleep(0.1)
