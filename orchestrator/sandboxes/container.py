"""Walls by a container engine, docker or podman, through its command line."""

from __future__ import annotations

import array
import contextlib
import json
import os
import secrets
import socket
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio

from orchestrator.errors import SandboxUnavailable
from orchestrator.records import Mount, SandboxSpec
from orchestrator.removal import remove_tree
from orchestrator.sandboxes import confine, inside, seccomp
from orchestrator.sandboxes.checking import Checking
from orchestrator.sandboxes.engine import ENGINES, PREFIX, Engine, bind, find_engine, started_at
from orchestrator.sandboxes.groups import MOST
from orchestrator.sandboxes.probe import SELFTEST, find_rg, outcome, own_namespaces
from orchestrator.sandboxes.process import SandboxedProcess, open_piped
from orchestrator.sandboxes.watch import Limits, Watchdog

LAUNCHER = "/opt/orchestrate/confine.py"
START = "/opt/orchestrate/start"
"""Where the first process inside finds its plan, and the socket that hands over its channel."""
START_S = 60.0
IMAGE_NEEDS = "use an image that holds bash, git, python3 (3.9 or newer) and a libc that runs rg"


class ContainerSandbox:
    """Starts processes in containers, each of which is removed when its process ends.

    Args:
        state: a folder that only the user can read, for what is handed to a container.
        environment: the host's environment, of which only PATH and HOME are looked at.
        image: what containers are made of; it is never pulled.
        engine: ``docker``, ``podman``, or ``auto`` for the first that answers.
        limits: what one sandbox may use up.
    """

    name = "container"
    maps_paths = True
    own_processes = False
    python = "python3"
    owner: tuple[int, int] | None = None

    def __init__(
        self,
        *,
        state: Path,
        environment: Mapping[str, str],
        image: str,
        engine: str = "auto",
        limits: Limits | None = None,
    ) -> None:
        self._state = state / "sandbox"
        self._environment = environment
        self._image = image
        self._wanted = ENGINES if engine == "auto" else (engine,)
        self._limits = limits or Limits()
        self._checking = Checking()
        self._watchdog = Watchdog(Limits(0, self._limits.disk_free_mb))
        self._engine = Engine("", "")
        self._rg = ""
        self._proved = ""
        self.gaps: tuple[str, ...] = ()

    async def check(self) -> str:
        """Prove that the walls stand; tried anew by each process that starts."""
        return await self._checking.once(self._check)

    async def _check(self) -> str:
        if self._proved:
            return self._proved
        self._engine = await find_engine(self._wanted, self._environment)
        await self._engine.require_image(self._image)
        await self._engine.remove_leftovers()
        self._rg = find_rg(self._environment)
        said = await self._try()
        if not said.startswith("ok: "):
            raise SandboxUnavailable(
                f"the self-test in a container of {self._image} failed: {said}", hint=IMAGE_NEEDS
            )
        if self._engine.kind == "docker":
            self.gaps = ("the walls are the docker daemon's: who may talk to it is root here",)
        self._proved = said.removeprefix("ok: ")
        return self._proved

    async def start(
        self, argv: Sequence[str], spec: SandboxSpec, *, pass_fds: Sequence[int] = ()
    ) -> SandboxedProcess:
        """Start a process in a container of its own."""
        if not self._proved:
            raise SandboxUnavailable("the sandbox has not been checked yet")
        return await self._start(argv, spec, pass_fds)

    async def _start(
        self, argv: Sequence[str], spec: SandboxSpec, pass_fds: Sequence[int] = ()
    ) -> SandboxedProcess:
        handover = _Handover(self._state, pass_fds)
        name = f"{PREFIX}-{os.getpid()}-{started_at(os.getpid())}-{secrets.token_hex(6)}"
        command = [self._engine.program, *self._flags(name, spec, handover.folder)]
        command += [self._image, "-I", "-S", LAUNCHER, f"{START}/plan.json", *argv]
        try:
            process = await open_piped(
                command,
                cwd="/",
                env=self._engine.environment,
            )
        except OSError as error:
            handover.remove()
            raise SandboxUnavailable(
                f"{self._engine.program} cannot be started: {error.strerror}"
            ) from None

        async def closing() -> None:
            await self._engine.remove(name)
            handover.remove()

        written = spec.written
        started = SandboxedProcess(
            process,
            watchdog=self._watchdog,
            folders=written,
            end=lambda: self._engine.kill(name),
            closing=closing,
        )
        try:
            await handover.give(started)
        except BaseException:
            await started.aclose()
            raise
        return started

    def _flags(self, name: str, spec: SandboxSpec, folder: Path) -> list[str]:
        flags = ["run", "--rm", "--interactive", "--pull", "never", "--name", name]
        flags += ["--network", "none", "--read-only", "--cap-drop", "ALL"]
        flags += ["--security-opt", "no-new-privileges", "--pids-limit", str(MOST)]
        if Path("/sys/fs/selinux/enforce").exists():  # else nothing that is bound can be read
            flags += ["--security-opt", "label=disable"]
        if self._limits.memory_mb:
            memory = f"{self._limits.memory_mb}m"
            flags += ["--memory", memory, "--memory-swap", memory]
        flags += ["--ipc", "private", "--shm-size", "1g", "--hostname", "sandbox"]
        flags += ["--user", f"{os.geteuid()}:{os.getegid()}", *self._engine.users()]
        flags += ["--tmpfs", "/run:rw,nosuid,nodev,size=1m,mode=1777", "--workdir", spec.cwd]
        own = [
            Mount(self._rg, "/opt/bin/rg"),
            Mount(confine.__file__, LAUNCHER),
            Mount(str(folder), START),
        ]
        for mount in (*spec.mounts, *own):
            if not mount.optional or Path(mount.source).exists():
                flags += ["--mount", bind(mount)]
        for key, value in self._variables(spec).items():
            flags += ["--env", f"{key}={value}"]
        return [*flags, "--entrypoint", self.python]

    @staticmethod
    def _variables(spec: SandboxSpec) -> dict[str, str]:
        values = dict(inside.ENVIRONMENT)
        values |= {"HOME": inside.HOME, "ORCHESTRATE_RG": "/opt/bin/rg", "TMPDIR": "/tmp"}
        values["PATH"] = ":".join(["/opt/bin", *spec.path, *inside.SYSTEM_PATH])
        values |= dict(spec.environment)
        # A number of ours says nothing there: the first process inside is handed the channel.
        values.pop("ORCHESTRATE_CHANNEL", None)
        return values

    async def _try(self) -> str:
        with tempfile.TemporaryDirectory(prefix="probe-", dir=self._state) as folder:
            for name in ("workspace", "home", "tmp"):
                Path(folder, name).mkdir()
            mounts = (
                Mount(f"{folder}/tmp", "/tmp", writable=True),
                Mount(f"{folder}/home", inside.HOME, writable=True),
                Mount(f"{folder}/workspace", "/workspace", writable=True),
                Mount(str(SELFTEST), "/opt/selftest.py"),
            )
            home = self._environment.get("HOME", "")
            expected = {
                "namespaces": own_namespaces(),
                "hidden": [str(self._state), *([home] if home else [])],
            }
            argv = [self.python, "-I", "-S", "/opt/selftest.py", json.dumps(expected)]
            with anyio.move_on_after(START_S):
                return await outcome(await self._start(argv, SandboxSpec(mounts, "/workspace")))
        return f"no answer within {START_S:g} s"


class _Handover:
    """Hands descriptors to the first process inside, which no other process could be before it.

    A container inherits no descriptors, and what it has as stdin and stdout could be opened by
    any command inside. So there is a socket that is connected to once, and gone at once.
    """

    def __init__(self, state: Path, numbers: Sequence[int]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="start-", dir=state))
        self._numbers = [os.dup(number) for number in numbers]
        self._listener: socket.socket | None = None
        plan: dict[str, object] = {
            "limits": inside.PROCESS_LIMITS,
            "filter": seccomp.program().hex(),
        }
        if numbers:
            plan["handover"] = f"{START}/socket"
            self._listener = self._listening()
        (self.folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")

    def _listening(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder = os.open(self.folder, os.O_PATH)
        try:
            # By its descriptor: the path of a socket may not be long.
            listener.bind(f"/proc/self/fd/{folder}/socket")
        finally:
            os.close(folder)
        listener.listen(1)
        listener.setblocking(False)
        return listener

    async def give(self, process: SandboxedProcess) -> None:
        """Wait until the first process inside has what it needs; nothing else can ask later.

        Raises:
            SandboxUnavailable: the container ended, or took too long.
        """
        if self._listener is None:
            return
        try:
            with anyio.move_on_after(START_S):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._ended, process, tasks.cancel_scope)
                    await anyio.wait_readable(self._listener)
                    self._send()
                    tasks.cancel_scope.cancel()
        finally:
            self._close()
        if self._listener is not None:
            raise SandboxUnavailable(
                f"the container did not start: {await _last_line(process) or 'no answer'}",
                hint=IMAGE_NEEDS,
            )

    @staticmethod
    async def _ended(process: SandboxedProcess, scope: anyio.CancelScope) -> None:
        await process.wait()
        scope.cancel()

    def _send(self) -> None:
        if self._listener is None:
            return
        taker, _ = self._listener.accept()
        with taker:
            rights = array.array("i", self._numbers)
            taker.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        self._listener.close()
        self._listener = None

    def _close(self) -> None:
        (self.folder / "socket").unlink(missing_ok=True)
        if self._listener is not None:
            self._listener.close()
        while self._numbers:
            os.close(self._numbers.pop())

    def remove(self) -> None:
        """Remove what was laid out for the container."""
        self._close()
        remove_tree(self.folder)


async def _last_line(process: SandboxedProcess) -> str:
    """Return the last thing that an engine has complained of."""
    said = b""
    with anyio.move_on_after(1.0), contextlib.suppress(anyio.EndOfStream):
        while process.stderr is not None and len(said) < 65536:
            said += await process.stderr.receive()
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""
