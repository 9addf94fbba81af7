"""Runs a program with bounds on its time and on what it prints, while it prints."""

from __future__ import annotations

import os
import selectors
import subprocess
import time

from orchestrator_tools.values import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

BLOCK = 256 * 1024
ERRORS_LIMIT = 64 * 1024


@frozen
class Ended:
    """How a program ended, and what it printed within its bounds.

    Attributes:
        output: at most as many bytes as were allowed.
        status: its exit status; meaningless where it was ended from here.
        flooded: it printed more than it was allowed, and was ended.
        late: it took longer than it was allowed, and was ended.
        stopped: it said on stderr what leaves nothing to wait for, and was ended.
    """

    output: bytes
    errors: str
    status: int
    flooded: bool = False
    late: bool = False
    stopped: bool = False


@frozen
class Bounds:
    """What a program may take.

    Attributes:
        seconds: how long it may run.
        limit: how many bytes it may print.
        fatal: words on stderr after which there is nothing to wait for.
    """

    seconds: float
    limit: int
    fatal: bytes = b""


def run(
    argv: list[str],
    bounds: Bounds,
    *,
    cwd: str,
    stdin: int = subprocess.DEVNULL,
    environment: dict[str, str] | None = None,
) -> Ended:
    """Run a program; no more of its output is ever held than it may print.

    Args:
        argv: the program and its arguments.
        bounds: when it is ended from here.
        cwd: where it runs.
        stdin: a descriptor that it reads.
        environment: its environment; this one's where none is given.
    """
    with subprocess.Popen(
        argv,
        cwd=cwd,
        env=environment,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None  # noqa: S101 - both are pipes
        assert process.stderr is not None  # noqa: S101
        reading = _Reading(bounds)
        try:
            reading.read(process.stdout, process.stderr, time.monotonic() + bounds.seconds)
        finally:
            if reading.must_end:
                process.kill()
        status = process.wait()
    return Ended(
        output=bytes(reading.output[: bounds.limit]),
        errors=reading.errors.decode("utf-8", "replace"),
        status=status,
        flooded=reading.flooded,
        late=reading.late,
        stopped=reading.stopped,
    )


class _Reading:
    """Reads both outputs of a program until they end or a bound is met."""

    def __init__(self, bounds: Bounds) -> None:
        self.output = bytearray()
        self.errors = bytearray()
        self.late = self.stopped = False
        self.must_end = True
        self._bounds = bounds

    @property
    def flooded(self) -> bool:
        return len(self.output) > self._bounds.limit

    def read(self, stdout: IO[bytes], stderr: IO[bytes], end: float) -> None:
        with selectors.DefaultSelector() as selector:
            for stream, take in ((stdout, self._take_output), (stderr, self._take_error)):
                selector.register(stream, selectors.EVENT_READ, take)
            while selector.get_map():
                ready = selector.select(max(end - time.monotonic(), 0))
                if not ready:
                    self.late = True
                    return
                for key, _ in ready:
                    data = os.read(key.fd, BLOCK)
                    if data:
                        key.data(data)
                    else:
                        selector.unregister(key.fileobj)
                    if self.flooded or self.stopped:
                        return
        self.must_end = False

    def _take_output(self, data: bytes) -> None:
        self.output += data

    def _take_error(self, data: bytes) -> None:
        self.errors += data[: ERRORS_LIMIT - len(self.errors)]
        self.stopped = bool(self._bounds.fatal) and self._bounds.fatal in self.errors
