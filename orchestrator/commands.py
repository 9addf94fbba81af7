"""A command inside a sandbox, as the host sees it: its status, and a bounded part of its output."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path

import anyio

from orchestrator.ports import Clock, Sandbox, SandboxProcess
from orchestrator.records import SandboxSpec
from orchestrator.values import frozen

OUTPUT_LIMIT = 64 * 1024
REPORT_LIMIT = 32 * 1024 * 1024
"""Bytes of one file that a command leaves for the host; a larger one is as if it were missing."""


@frozen
class FinishedCommand:
    """What the host saw of a command; ``exit_status`` is None if it was ended for its time."""

    argv: tuple[str, ...]
    exit_status: int | None
    output: str
    duration_s: float
    reports: Mapping[str, bytes] = field(default_factory=dict)


async def run_command(  # noqa: PLR0913 - what a command depends on
    sandbox: Sandbox,
    spec: SandboxSpec,
    command: str,
    *,
    timeout_s: float,
    clock: Clock,
    through: Sequence[str] = (),
    limit: int = OUTPUT_LIMIT,
) -> FinishedCommand:
    """Run a shell command in a sandbox of its own; both outputs are read as one.

    Args:
        sandbox: the walls.
        spec: what is seen inside.
        command: for the shell.
        timeout_s: seconds after which everything inside is ended.
        clock: measures how long it took.
        through: what starts the command, if something has to stand between.
        limit: bytes of the output that are kept, from its beginning and its end.
    """
    argv = ("bash", "-c", command)
    started = clock()
    status: int | None = None
    output = _Output(limit)
    process = await sandbox.start(
        ("bash", "-c", 'exec 2>&1; exec "$@"', "bash", *through, *argv), spec
    )
    try:
        with anyio.move_on_after(timeout_s):
            if process.stdin is not None:
                await process.stdin.aclose()
            await output.read(process)
            status = await process.wait()
    finally:
        await process.aclose()
    said = output.text()
    if process.reason:
        said = f"{said}\n(ended: {process.reason})".strip()
    return FinishedCommand(argv, status, said, clock() - started)


def left_behind(folder: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Read files that a command left, which has ended; only plain files of a bounded size.

    Args:
        folder: a folder that was writable inside; nothing in it is followed anywhere.
        names: names right below it.
    """
    return dict(_left_behind(folder, names))


def _left_behind(folder: Path, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    for name in names:
        try:
            fd = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            continue
        with os.fdopen(fd, "rb") as file:
            data = file.read(REPORT_LIMIT + 1)
        if len(data) <= REPORT_LIMIT:
            yield name, data


class _Output:
    """The head and the tail of what a command prints, in bounded memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._head = bytearray()
        self._tail = bytearray()
        self._missing = 0

    async def read(self, process: SandboxProcess) -> None:
        while process.stdout is not None:
            try:
                chunk = await process.stdout.receive()
            except anyio.EndOfStream:
                return
            room = self._limit // 2 - len(self._head)
            self._head += chunk[: max(room, 0)]
            self._tail += chunk[max(room, 0) :]
            surplus = len(self._tail) - self._limit // 2
            if surplus > 0:
                del self._tail[:surplus]
                self._missing += surplus

    def text(self) -> str:
        gap = f"\n[... {self._missing} bytes left out ...]\n" if self._missing else ""
        head = self._head.decode("utf-8", "replace")
        return f"{head}{gap}{self._tail.decode('utf-8', 'replace')}".strip()
