"""Standard streams that never end the work: a reader may go away, and a disk may fill up."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDIN, STDOUT, STDERR = 0, 1, 2


def take_missing() -> None:
    """Give each standard stream that was closed before the start a place that takes all."""
    for descriptor in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            # Else the next file that is opened gets this number, and what is printed.
            _to_nowhere(descriptor)
    if sys.stdin is None:
        sys.stdin = _opened(STDIN, "r")
    if sys.stdout is None:
        sys.stdout = _opened(STDOUT, "w")
    if sys.stderr is None:
        sys.stderr = _opened(STDERR, "w")


@contextmanager
def lasting() -> Iterator[None]:
    """Have what is printed go nowhere once it cannot be written; the work goes on.

    Streams that somebody else put in place are left as they are.
    """
    before = sys.stdout, sys.stderr
    if sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _lasting(sys.stdout)
    if sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _lasting(sys.stderr)
    try:
        yield
    finally:
        # Stdout first: what is lost of it is told on stderr.
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


class _Lasting(io.FileIO):
    """A file that goes on as one that takes all, from the first write that fails."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            _to_nowhere(self.fileno())
            # Whoever closed a pipe had what it wanted; and stderr cannot tell of itself.
            if error.errno != errno.EPIPE and self.fileno() == STDOUT:
                told = f"orchestrate: standard output cannot be written: {error.strerror}\n"
                sys.stderr.write(told)
            return super().write(data)


def _lasting(stream: io.TextIOWrapper) -> TextIO:
    stream.flush()
    raw = _Lasting(stream.fileno(), "w", closefd=False)
    buffered = not isinstance(stream.buffer, io.RawIOBase)
    return io.TextIOWrapper(
        io.BufferedWriter(raw) if buffered else raw,
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _to_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == descriptor:
        os.set_inheritable(descriptor, True)
        return
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _opened(descriptor: int, mode: str) -> TextIO:
    return io.TextIOWrapper(
        open(descriptor, f"{mode}b", closefd=False),
        encoding="utf-8",
        errors="backslashreplace",
    )
