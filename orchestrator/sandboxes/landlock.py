"""Walls by Landlock and a filter of system calls, where bubblewrap cannot be had; with gaps.

There are no namespaces: paths are the host's, and what Landlock does not know stays possible. It
is never chosen by itself.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio

from orchestrator.errors import SandboxUnavailable
from orchestrator.records import Mount, SandboxSpec
from orchestrator.sandboxes import confine, groups, inside, seccomp
from orchestrator.sandboxes.checking import Checking
from orchestrator.sandboxes.groups import Groups
from orchestrator.sandboxes.probe import (
    SECONDS,
    SELFTEST,
    find_rg,
    host_interpreter,
    outcome,
)
from orchestrator.sandboxes.process import ContextFds, SandboxedProcess, open_piped
from orchestrator.sandboxes.watch import Limits, Watchdog

LAUNCHER = Path(confine.__file__)
NEEDED = "use Linux 6.12 or newer with Landlock in its list of security modules (lsm=landlock,...)"

DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom"))
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/proc")
IDENTITIES = ("/etc/passwd", "/etc/group", "/etc/hosts")

GAPS = (
    "no mounts of its own: paths are the host's; names, sizes and times of your files show",
    "modes, owners, times and attributes of files that you own can be changed, contents not",
    "git's own settings in the agent's private copy can be changed by the agent",
    "no processes of its own: what runs, with which arguments, and what /proc tells can be seen",
    "no network and no sockets at all, so local servers do not work; no terminals, no /dev/shm",
)


class LandlockSandbox:
    """Starts processes that have built walls around themselves.

    Args:
        state: a folder that only the user can read; the self-test is tried there.
        environment: the host's environment, of which only PATH and HOME are looked at.
        limits: what one sandbox may use up.
    """

    name = "landlock"
    maps_paths = False
    own_processes = False
    gaps: tuple[str, ...] = GAPS
    owner: tuple[int, int] | None = None

    def __init__(
        self, *, state: Path, environment: Mapping[str, str], limits: Limits | None = None
    ) -> None:
        self._state = state
        self._environment = environment
        self._limits = limits or Limits()
        self._checking = Checking()
        self._watchdog = Watchdog(self._limits)
        mounts, path = inside.toolchains(environment, in_place=True)
        self._shown = [mount.source for mount in mounts]
        self._path = [_outside(one, mounts) for one in path]
        self._rg = ""
        self._python = ""
        self._proved = False

    @property
    def python(self) -> str:
        """Return the interpreter for the tool server."""
        return self._python

    async def check(self) -> str:
        """Prove that the walls stand; tried anew by each process that starts."""
        return await self._checking.once(self._check)

    async def _check(self) -> str:
        groups.remove_leftovers()
        if self._proved:
            return PROVED
        _require_kernel()
        self._rg = find_rg(self._environment)
        self._python, prefix = host_interpreter()
        if prefix:
            self._shown.append(prefix)
        said = await self._try()
        if not said.startswith("ok: "):
            raise SandboxUnavailable(
                f"the self-test of landlock failed: {said}",
                hint=f"{NEEDED}; `orchestrate doctor` shows every probe",
            )
        self._proved = True
        return PROVED

    async def start(
        self, argv: Sequence[str], spec: SandboxSpec, *, pass_fds: Sequence[int] = ()
    ) -> SandboxedProcess:
        """Start a process behind the walls."""
        if not self._proved:
            raise SandboxUnavailable("the sandbox has not been checked yet")
        return await self._start(argv, spec, pass_fds)

    async def _start(
        self, argv: Sequence[str], spec: SandboxSpec, pass_fds: Sequence[int] = ()
    ) -> SandboxedProcess:
        files = ContextFds()
        bound = Groups.make(memory_mb=self._limits.memory_mb)
        try:
            plan = json.dumps(self._plan(spec, pass_fds)).encode()
            number = files.holding(plan, "plan")
            launcher = [self._python, "-I", "-S", str(LAUNCHER), f"/proc/self/fd/{number}"]
            process = await open_piped(
                bound.entered([*launcher, *argv]),
                cwd=spec.cwd,
                env=self._variables(spec),
                pass_fds=(*files.numbers, *pass_fds),
            )
        except OSError as error:
            bound.gone()
            raise SandboxUnavailable(
                f"{self._python} cannot be started: {error.strerror}"
            ) from None
        finally:
            files.close()
        written = spec.written
        return SandboxedProcess(
            process, bound, watchdog=self._watchdog, folders=written, ending=signal.SIGTERM
        )

    def _plan(self, spec: SandboxSpec, pass_fds: Sequence[int]) -> dict[str, object]:
        """Return what the launcher is told; what is written has no read-only parts, see GAPS."""
        given = [mount.source for mount in spec.mounts if not mount.writable]
        return {
            "parent": os.getpid(),
            "descriptors": list(pass_fds),
            "limits": inside.PROCESS_LIMITS,
            "processes": 0 if os.geteuid() == 0 else groups.MOST,
            "landlock": True,
            "reading": [
                *SYSTEM,
                *IDENTITIES,
                *inside.SYSTEM_FILES,
                *self._shown,
                self._rg,
                *given,
            ],
            "writing": list(spec.written),
            "devices": list(DEVICES),
            "filter": seccomp.program(namespaces=False).hex(),
        }

    def _variables(self, spec: SandboxSpec) -> dict[str, str]:
        values = dict(inside.ENVIRONMENT)
        values["ORCHESTRATE_RG"] = self._rg
        # What cannot be read is an error to git, where what is not there would be none.
        values |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}
        folders = [*spec.path, *self._path, *inside.SYSTEM_PATH, str(Path(self._rg).parent)]
        values["PATH"] = ":".join(folders)
        return values | dict(spec.environment)

    async def _try(self) -> str:
        name = f"orchestrate-{secrets.token_hex(8)}"
        folder = tempfile.TemporaryDirectory(prefix="probe-", dir=self._state / "sandbox")
        with folder as place, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"\0{name}")
            listener.listen()
            for one in ("workspace", "home", "tmp"):
                Path(place, one).mkdir()
            secret = Path(place, "secret")
            secret.write_text("x", encoding="ascii")
            expected = {
                "unreadable": [
                    str(secret),
                    str(self._state),
                    self._environment.get("HOME", "/root"),
                ],
                "unwritable": [str(secret), str(SELFTEST)],
                "processes": [os.getpid()],
                "abstract": name,
                "sockets": False,
                "workspace": f"{place}/workspace",
            }
            mounts = [
                Mount(f"{place}/{one}", f"/{one}", writable=True)
                for one in ("workspace", "home", "tmp")
            ]
            mounts.append(Mount(str(SELFTEST), str(SELFTEST)))
            told = (("HOME", f"{place}/home"), ("TMPDIR", f"{place}/tmp"))
            spec = SandboxSpec(tuple(mounts), f"{place}/workspace", told)
            argv = [self._python, "-I", "-S", str(SELFTEST), json.dumps(expected)]
            with anyio.move_on_after(SECONDS):
                return await outcome(await self._start(argv, spec))
        return f"no answer within {SECONDS} s"


PROVED = "no network, no privileges, filtered system calls, private files; with gaps"


def _require_kernel() -> None:
    if sys.platform != "linux":
        raise SandboxUnavailable(f"no sandbox for {sys.platform} yet", hint="run it on Linux")
    found = confine.landlock_abi()
    if found < confine.ABI:
        said = f"version {found}" if found else "nothing"
        raise SandboxUnavailable(
            f"landlock: the kernel offers {said}, and version {confine.ABI} is needed", hint=NEEDED
        )
    if os.uname().machine not in seccomp.TABLES:
        raise SandboxUnavailable(
            f"landlock: no table of system calls for {os.uname().machine}",
            hint="use bubblewrap elsewhere, or --sandbox external inside a container of yours",
        )


def _outside(path: str, mounts: Sequence[Mount]) -> str:
    """Return the host path of a folder that has another name inside other walls."""
    for mount in mounts:
        if path == mount.target or path.startswith(f"{mount.target}/"):
            return mount.source + path[len(mount.target) :]
    return path
