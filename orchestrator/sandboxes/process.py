"""A process behind walls, as the host holds it, and what it is given at its start."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import anyio
import anyio.abc
import anyio.lowlevel

from orchestrator.sandboxes.groups import Groups
from orchestrator.sandboxes.watch import Watchdog

DRY_S = 2.0
STUBBORN_S = 20.0
GROUP_TRIES = 200


class ContextFds:
    """Files in memory that a new process reads, and that are closed here once it has started."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def holding(self, data: bytes, name: str) -> int:
        """Return a descriptor from which the data can be read."""
        number = os.memfd_create(name)
        self.numbers.append(number)
        os.write(number, data)
        os.lseek(number, 0, os.SEEK_SET)
        return number

    def close(self) -> None:
        """Close them all."""
        for number in self.numbers:
            os.close(number)


FIRST = re.compile(rb'"child-pid": *([0-9]+)')
INIT = re.compile(rb"^NSpid:[\t 0-9]*[\t ]1$", re.MULTILINE)
PROCESS_GROUP = 1 << 2
"""PIDFD_SIGNAL_PROCESS_GROUP of linux/pidfd.h, since Linux 6.9."""


class SandboxedProcess:
    """A process behind the walls; when it is killed, everything inside ends with it.

    Args:
        process: what was started; ended by a signal.
        groups: the control groups that it is in, removed at the end.
        watchdog: ends it when it uses up memory or disk; None leaves it unwatched.
        folders: where it writes.
        ending: the signal that ends everything inside.
        end: ends what a signal does not reach, besides.
        leads: whether the process leads a group of its own, which is ended with it: what it has
            forked, but not yet bound to its own end, would stay for ever.
        told: a descriptor where bubblewrap says which process is the first inside; closed here.
        closing: called once the process has ended, to remove what is left of it.
    """

    def __init__(  # noqa: PLR0913 - what belongs to one process
        self,
        process: anyio.abc.Process,
        groups: Groups | None = None,
        *,
        watchdog: Watchdog | None = None,
        folders: tuple[str, ...] = (),
        ending: signal.Signals = signal.SIGKILL,
        end: Callable[[], None] | None = None,
        leads: bool = False,
        told: int = -1,
        closing: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._process = process
        self._groups = groups or Groups()
        self._ending = ending
        self._end = end
        self._leads = leads
        self._told = told
        self._closing = closing
        # Popen.kill() may reap the process behind the event loop's back; a pidfd never does, and
        # it never means another process.
        try:
            self._handle = os.pidfd_open(process.pid)
        except ProcessLookupError:
            self._handle = -1  # it has ended already; its words and status are still to be read
        self.stdin = process.stdin
        self.stdout = process.stdout
        self.stderr = process.stderr
        self._reason = ""
        self._watchdog = watchdog
        if watchdog is not None:
            watchdog.watch(self, folders)

    @property
    def pid(self) -> int:
        """Return the number of the first process, on the host."""
        return self._process.pid

    @property
    def reason(self) -> str:
        """Return why the limits ended it; empty where they did not."""
        if not self._reason and self._watchdog is not None and self.ran_out_of_memory():
            self._reason = self._watchdog.memory_reason
        return self._reason

    async def wait(self) -> int:
        """Wait for the end and return the exit status."""
        return await self._process.wait()

    def kill(self) -> None:
        """End everything inside, at once."""
        first = self._first_inside() if self._leads and self._is_there() else -1
        if self._leads:
            self._end_group()
        self._signal(self._ending)
        if self._leads:
            self._end_first(first)
        if self._end is not None:
            self._end()

    def end_for(self, reason: str) -> None:
        """End everything inside because of a limit."""
        if not self._reason:
            self._reason = reason
            self.kill()

    def ran_out_of_memory(self) -> bool:
        """Tell whether the kernel has ended a process inside for its memory."""
        return self._groups.ran_out_of_memory()

    def count(self) -> int | None:
        """Return how many processes there are, where the kernel counts and bounds them itself."""
        return self._groups.count() if "memory" in self._groups.bounded else None

    def _is_there(self) -> bool:
        try:
            signal.pidfd_send_signal(self._handle, 0)
        except (OSError, ValueError):
            return False
        return True

    def _first_inside(self) -> int:
        """Return a handle of the first process inside; -1 where there is none, or none yet."""
        if self._told < 0:
            return -1
        found = FIRST.search(os.pread(self._told, 4096, 0))
        if found is None:
            return -1
        try:
            handle = os.pidfd_open(int(found[1]))
            numbers = Path(f"/proc/{int(found[1])}/status").read_bytes()
        except OSError:
            return -1
        if not INIT.search(numbers):  # its number is another's by now
            os.close(handle)
            return -1
        return handle

    def _end_first(self, handle: int) -> None:
        """End the first process inside, which may not be bound to the end of the others yet."""
        if handle < 0:
            handle = self._first_inside()
        if handle >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)

    def _end_group(self) -> None:
        """End the process's group; one whose leader is gone may be another's by now."""
        if self._handle < 0:
            return
        with contextlib.suppress(ProcessLookupError):
            try:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL, None, PROCESS_GROUP)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                signal.pidfd_send_signal(self._handle, 0)  # an older kernel: it is still there
                os.killpg(self._process.pid, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._handle >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    async def aclose(self) -> None:
        """End everything inside and close the streams."""
        with anyio.CancelScope(shield=True):
            if self._watchdog is not None:
                self._watchdog.unwatch(self)
            self.kill()
            with anyio.move_on_after(STUBBORN_S) as waited:
                await self._process.wait()
            if waited.cancelled_caught:
                self._signal(signal.SIGKILL)
                await self._process.wait()
            _ = self.reason  # while the groups still tell
            if self.stdin is not None:
                await self.stdin.aclose()
            for output in (self.stdout, self.stderr):
                if output is not None:
                    await _run_dry(output)
                    await output.aclose()
            self._let_go()
            await anyio.lowlevel.cancel_shielded_checkpoint()
            await self._leave_groups()
            if self._closing is not None:
                await self._closing()
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1
            if self._told >= 0:
                os.close(self._told)
                self._told = -1

    async def _leave_groups(self) -> None:
        """Remove the groups once the last process is gone, which takes the kernel a moment."""
        for _ in range(GROUP_TRIES):
            if self._groups.gone():
                return
            await anyio.sleep(0.001)

    def _let_go(self) -> None:
        """Close the event loop's own end: anyio leaves that to the garbage collector, aloud."""
        process = getattr(self._process, "_process", None)
        transport = getattr(process, "_transport", None)
        if transport is not None:
            transport.close()


async def open_piped(
    argv: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    pass_fds: Sequence[int] = (),
) -> anyio.abc.Process:
    """Start a process with three pipes, in a session of its own.

    An interruption waits until it has started: in between it would leave pipes open, and a process
    that nobody waits for.

    Raises:
        OSError: it cannot be started.
    """
    with anyio.CancelScope(shield=True):
        process = await anyio.open_process(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=env,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
    return process  # noqa: RET504 - a block that may end early has no last word


async def _run_dry(output: anyio.abc.ByteReceiveStream) -> None:
    """Read the output of an ended process to its end, so that the event loop lets go of it."""
    ended = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError)
    # A RuntimeError says that somebody else reads: the end is theirs.
    with anyio.move_on_after(DRY_S), contextlib.suppress(*ended, RuntimeError):
        while True:
            await output.receive()
