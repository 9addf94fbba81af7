"""Starts programs, and runs them with bounds on their time and on what they print.

``subprocess`` does the same, and takes ten milliseconds to load with all that it needs, of which
every run would pay two or three times. What is used here is what the system offers: a program is
started by ``posix_spawn``, which copies nothing of this process, and inherits no descriptor but
those that it is given: Python makes none that are inherited, and ``keep_descriptors`` sees to
those that were there before.
"""

from __future__ import annotations

import _thread
import os
import select
import time

from orchestrator_tools.values import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

BLOCK = 256 * 1024
ERRORS_LIMIT = 64 * 1024
SIGTERM, SIGKILL = 15, 9
IGNORED = (13, 25)
"""SIGPIPE and SIGXFSZ, which Python ignores and other programs count on."""

STARTING = _thread.allocate_lock()
"""A program starts where this process stands: one after the other."""


class Process:
    """A program that was started here.

    Attributes:
        pid: its process.
        status: how it ended: its exit status, less than 0 where a signal ended it; None before.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.status: int | None = None
        self._waiting = _thread.allocate_lock()

    def poll(self) -> int | None:
        """Return how it ended, or None while it runs."""
        if self.status is None and self._waiting.acquire(blocking=False):
            try:
                self._reap(os.WNOHANG)
            finally:
                self._waiting.release()
        return self.status

    def wait(self) -> int:
        """Wait for its end; return how it ended."""
        while self.status is None:
            with self._waiting:
                self._reap(0)
        return self.status

    def _reap(self, flags: int) -> None:
        if self.status is not None:
            return
        try:
            pid, status = os.waitpid(self.pid, flags)
        except ChildProcessError:
            self.status = -SIGKILL  # nobody can tell how it ended, so it did not end well
            return
        if pid:
            self.status = os.waitstatus_to_exitcode(status)

    def ends_within(self, seconds: float | None) -> bool:
        """Wait for its end without polling; tell whether it came in time."""
        try:
            descriptor = os.pidfd_open(self.pid)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            return self._ends_within_polled(seconds)
        try:
            return bool(_poll(descriptor).poll(_milliseconds(seconds)))
        finally:
            os.close(descriptor)

    def _ends_within_polled(self, seconds: float | None) -> bool:
        """Wait for its end where the kernel cannot tell of it."""
        end = None if seconds is None else time.monotonic() + seconds
        pause = 0.0005
        while self.poll() is None:
            if end is not None and time.monotonic() >= end:
                return False
            pause = min(pause * 2, 0.05)
            time.sleep(pause)
        return True

    def kill(self) -> None:
        """End it, unless it has ended."""
        if self.poll() is None:
            try:
                os.kill(self.pid, SIGKILL)
            except OSError:
                return


def start(
    argv: list[str],
    given: Mapping[int, int],
    *,
    cwd: str,
    environment: Mapping[str, str] | None = None,
    session: bool = False,
) -> Process:
    """Start a program.

    Args:
        argv: the program and its arguments.
        given: which descriptors it has, and which of this process they are; its first three are
            ``/dev/null`` where none is given.
        cwd: where it runs.
        environment: its environment; this one's where none is given.
        session: whether it begins a session of its own.

    Raises:
        OSError: it cannot be started.
    """
    actions: list[tuple[Any, ...]] = [
        (os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0)
        for number in range(3)
        if number not in given
    ]
    actions += [(os.POSIX_SPAWN_DUP2, own, number) for number, own in given.items()]
    values = os.environ if environment is None else environment
    with STARTING:
        here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.chdir(cwd)
            return Process(_spawned(argv, values, actions, session=session))
        finally:
            _go_back(here)


def _spawned(
    argv: list[str], values: Mapping[str, str], actions: list[tuple[Any, ...]], *, session: bool
) -> int:
    """Start a program; return its process."""
    if session:
        try:
            return os.posix_spawnp(
                argv[0], argv, values, file_actions=actions, setsid=True, setsigdef=IGNORED
            )
        except NotImplementedError:  # a Python that was built for old systems
            argv = ["setsid", *argv]
    return os.posix_spawnp(argv[0], argv, values, file_actions=actions, setsigdef=IGNORED)


def _go_back(here: int) -> None:
    try:
        os.fchdir(here)
    except OSError:
        pass  # no path that this process uses depends on where it stands
    finally:
        os.close(here)


def keep_descriptors() -> None:
    """Let no program that is started from here inherit a descriptor beyond its first three."""
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        numbers = list(range(4096))
    for number in numbers:
        if number > 2:
            try:
                os.set_inheritable(number, False)
            except OSError:
                continue  # it is closed, as what listed them is


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
        errors: how many bytes of stderr are kept.
    """

    seconds: float
    limit: int
    fatal: bytes = b""
    errors: int = ERRORS_LIMIT


def run(
    argv: list[str],
    bounds: Bounds,
    *,
    cwd: str,
    stdin: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run a program; no more of its output is ever held than it may print.

    Args:
        argv: the program and its arguments.
        bounds: when it is ended from here.
        cwd: where it runs.
        stdin: a descriptor that it reads; ``/dev/null`` where none is given.
        environment: its environment; this one's where none is given.

    Raises:
        OSError: it cannot be started.
    """
    reading = _Reading(bounds)
    ends: list[int] = []
    try:
        for _ in range(2):
            ends += os.pipe()
        stdout, output, stderr, errors = ends
        given = {1: output, 2: errors} if stdin is None else {0: stdin, 1: output, 2: errors}
        process = start(argv, given, cwd=cwd, environment=environment)
        for end in (output, errors):
            ends.remove(end)
            os.close(end)
        try:
            latest = time.monotonic() + bounds.seconds
            reading.read(stdout, stderr, latest)
            if not (reading.must_end or process.ends_within(latest - time.monotonic())):
                reading.late = reading.must_end = True
        finally:
            if reading.must_end:
                process.kill()
            status = process.wait()
    finally:
        for end in ends:
            os.close(end)
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

    def read(self, stdout: int, stderr: int, end: float) -> None:
        takes: dict[int, Callable[[bytes], None]] = {
            stdout: self._take_output,
            stderr: self._take_error,
        }
        poll = _poll(stdout, stderr)
        while takes:
            ready = poll.poll(_milliseconds(end - time.monotonic()))
            if not ready:
                self.late = True
                return
            for number, _ in ready:
                data = os.read(number, BLOCK)
                if data:
                    takes[number](data)
                else:
                    poll.unregister(number)
                    del takes[number]
                if self.flooded or self.stopped:
                    return
        self.must_end = False

    def _take_output(self, data: bytes) -> None:
        self.output += data

    def _take_error(self, data: bytes) -> None:
        self.errors += data[: self._bounds.errors - len(self.errors)]
        self.stopped = bool(self._bounds.fatal) and self._bounds.fatal in self.errors


def _poll(*descriptors: int) -> select.poll:
    """Return what waits until one of some descriptors can be read, or has ended."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return poll


def _milliseconds(seconds: float | None) -> int | None:
    """Return a time to wait in whole milliseconds: none too few, and nothing where none is left."""
    if seconds is None:
        return None
    return int(seconds * 1000) + 1 if seconds > 0 else 0
