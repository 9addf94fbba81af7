"""Walls by bubblewrap: own mounts, processes, network, users; no privileges; filtered calls."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
import anyio.abc
import anyio.lowlevel

from orchestrator.errors import SandboxUnavailable
from orchestrator.records import SandboxSpec
from orchestrator.sandboxes import inside, processes, seccomp
from orchestrator.sandboxes.probe import Probe, Programs, program_mounts

NAMESPACES = (
    "--unshare-user",
    "--unshare-pid",
    "--unshare-net",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-cgroup-try",
    "--disable-userns",
    "--cap-drop",
    "ALL",
    "--die-with-parent",
    "--new-session",
    "--hostname",
    "sandbox",
    "--uid",
    "1000",
    "--gid",
    "1000",
    "--clearenv",
)
PROC_READ_ONLY = ("sys", "sysrq-trigger", "irq", "bus", "fs")
PROC_HIDDEN = (
    "kcore",
    "kmsg",
    "keys",
    "key-users",
    "kallsyms",
    "timer_list",
    "sched_debug",
    "kpageflags",
)

DRY_S = 2.0
GROUP_TRIES = 200

# Limits are set inside, where they count for this sandbox alone. -f is in KiB, -d too.
LIMITS = (
    "ulimit -c 0; ulimit -n 4096; ulimit -f 2097152; ulimit -d 4194304; ulimit -u 512 2>/dev/null; "
    'exec "$@"'
)


class BubblewrapSandbox:
    """Starts processes behind bubblewrap's walls.

    Args:
        state: a folder that only the user can read, where what was proved is kept.
        environment: the host's environment, of which only PATH and HOME are looked at.
    """

    maps_paths = True

    def __init__(self, *, state: Path, environment: Mapping[str, str]) -> None:
        self.name = "bubblewrap"
        self._state = state
        self._mounts, self._path = inside.toolchains(environment)
        self._probe = Probe(state=state / "sandbox", environment=environment, shown=self._mounts)
        self._programs: Programs | None = None

    async def check(self) -> str:
        """Prove that the walls stand; what was proved is kept until machine or programs change."""
        processes.remove_leftovers()
        programs = self._probe.remembered()
        if programs is None:
            programs = await self._probe.run(self._start)
        self._programs = programs
        self.name = "bubblewrap" if programs.fresh_proc else "bubblewrap (host /proc, read-only)"
        return programs.proved

    @property
    def python(self) -> str:
        """Return the interpreter for the tool server, as it is called inside."""
        return self._proved().python

    async def start(
        self, argv: Sequence[str], spec: SandboxSpec, *, pass_fds: Sequence[int] = ()
    ) -> SandboxedProcess:
        """Start a process behind the walls."""
        return await self._start(argv, spec, self._proved(), pass_fds)

    def _proved(self) -> Programs:
        if self._programs is None:
            raise SandboxUnavailable("the sandbox has not been checked yet")
        return self._programs

    async def _start(
        self,
        argv: Sequence[str],
        spec: SandboxSpec,
        programs: Programs,
        pass_fds: Sequence[int] = (),
    ) -> SandboxedProcess:
        if not os.access(programs.bwrap, os.X_OK):
            raise SandboxUnavailable(f"{programs.bwrap} cannot be started: it is gone")
        walls = ContextFds()
        group = processes.make_group()
        try:
            flags = self._flags(spec, programs, walls.holding(seccomp.program(), "seccomp"))
            # By a descriptor: a command line can be read inside, and would tell the host's paths.
            told = walls.holding(b"".join(os.fsencode(flag) + b"\0" for flag in flags), "flags")
            command = [programs.bwrap, "--args", str(told), "--", "/bin/bash", "-c", LIMITS, "bash"]
            process = await anyio.open_process(
                processes.entered(group, [*command, *argv]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd="/",
                env={},
                start_new_session=True,
                pass_fds=(*walls.numbers, *pass_fds),
            )
        except OSError as error:
            if group is not None:
                processes.remove_group(group)
            raise SandboxUnavailable(
                f"{programs.bwrap} cannot be started: {error.strerror}"
            ) from None
        finally:
            walls.close()
        return SandboxedProcess(process, group)

    def _flags(self, spec: SandboxSpec, programs: Programs, filter_fd: int) -> list[str]:
        flags = [*NAMESPACES, *self._system(programs)]
        for mount in (*self._mounts, *program_mounts(programs)):
            flags += ["--ro-bind-try", mount.source, mount.target]
        for mount in spec.mounts:
            verb = "--bind" if mount.writable else "--ro-bind"
            flags += [f"{verb}-try" if mount.optional else verb, mount.source, mount.target]
        for name, value in self._environment(spec).items():
            flags += ["--setenv", name, value]
        return [*flags, "--remount-ro", "/", "--chdir", spec.cwd, "--seccomp", str(filter_fd)]

    def _environment(self, spec: SandboxSpec) -> dict[str, str]:
        values = dict(inside.ENVIRONMENT)
        values["HOME"] = inside.HOME
        values["ORCHESTRATE_RG"] = "/opt/bin/rg"
        values["TMPDIR"] = "/tmp"
        values["PATH"] = ":".join(["/opt/bin", *spec.path, *self._path, *inside.SYSTEM_PATH])
        return values | dict(spec.environment)

    def _system(self, programs: Programs) -> list[str]:
        """Return the flags for what every sandbox shows of the machine."""
        flags = ["--ro-bind", "/usr", "/usr"]
        for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
            folder = Path("/", name)
            if folder.is_symlink():
                flags += ["--symlink", str(folder.readlink()), str(folder)]
            elif folder.is_dir():
                flags += ["--ro-bind", str(folder), str(folder)]
        for name in inside.SYSTEM_FILES:
            flags += ["--ro-bind-try", name, name]
        for name in inside.OWN_FILES:
            flags += ["--ro-bind", str(self._probe.own_file(name)), f"/etc/{name}"]
        flags += ["--proc", "/proc"] if programs.fresh_proc else ["--ro-bind", "/proc", "/proc"]
        for name in PROC_READ_ONLY:
            if Path("/proc", name).exists() and programs.fresh_proc:
                flags += ["--ro-bind", f"/proc/{name}", f"/proc/{name}"]
        flags += ["--dev", "/dev", "--size", "1073741824", "--tmpfs", "/dev/shm"]
        for name in PROC_HIDDEN:
            if Path("/proc", name).exists() and programs.fresh_proc:
                flags += ["--ro-bind", "/dev/null", f"/proc/{name}"]
        return [*flags, "--size", "1048576", "--tmpfs", "/run"]


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


class SandboxedProcess:
    """A process behind the walls; when it is killed, everything inside ends with it."""

    def __init__(self, process: anyio.abc.Process, group: Path | None = None) -> None:
        self._process = process
        self._group = group
        # Popen.kill() may reap the process behind the event loop's back; a pidfd never does, and
        # it never means another process.
        try:
            self._handle = os.pidfd_open(process.pid)
        except ProcessLookupError:
            self._handle = -1  # it has ended already; its words and status are still to be read
        self.stdin = process.stdin
        self.stdout = process.stdout
        self.stderr = process.stderr

    async def wait(self) -> int:
        """Wait for the end and return the exit status."""
        return await self._process.wait()

    def kill(self) -> None:
        """End everything inside, at once."""
        if self._handle >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    async def aclose(self) -> None:
        """End everything inside and close the streams."""
        with anyio.CancelScope(shield=True):
            self.kill()
            await self._process.wait()
            if self.stdin is not None:
                await self.stdin.aclose()
            for output in (self.stdout, self.stderr):
                if output is not None:
                    await _run_dry(output)
                    await output.aclose()
            self._let_go()
            await anyio.lowlevel.cancel_shielded_checkpoint()
            await self._leave_group()
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1

    async def _leave_group(self) -> None:
        """Remove the group once the last process in it is gone, which takes the kernel a moment."""
        for _ in range(GROUP_TRIES):
            if self._group is None or not self._group.exists():
                return
            processes.remove_group(self._group)
            await anyio.sleep(0.001)

    def _let_go(self) -> None:
        """Close the event loop's own end: anyio leaves that to the garbage collector, aloud."""
        process = getattr(self._process, "_process", None)
        transport = getattr(process, "_transport", None)
        if transport is not None:
            transport.close()


async def _run_dry(output: anyio.abc.ByteReceiveStream) -> None:
    """Read the output of an ended process to its end, so that the event loop lets go of it."""
    ended = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError)
    # A RuntimeError says that somebody else reads: the end is theirs.
    with anyio.move_on_after(DRY_S), contextlib.suppress(*ended, RuntimeError):
        while True:
            await output.receive()
