"""Walls by bubblewrap: own mounts, processes, network, users; no privileges; filtered calls."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.errors import SandboxUnavailable
from orchestrator.records import SandboxSpec
from orchestrator.sandboxes import groups, identity, inside, seccomp
from orchestrator.sandboxes.checking import Checking
from orchestrator.sandboxes.etc import Etc, furnish
from orchestrator.sandboxes.groups import Groups
from orchestrator.sandboxes.identity import User
from orchestrator.sandboxes.probe import Probe, Programs, program_mounts
from orchestrator.sandboxes.process import ContextFds, SandboxedProcess, open_piped
from orchestrator.sandboxes.watch import Limits, Watchdog

NAMESPACES = (
    "--unshare-pid",
    "--unshare-net",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-cgroup-try",
    "--die-with-parent",
    "--new-session",
    "--hostname",
    "sandbox",
    "--clearenv",
    "--cap-drop",
    "ALL",
)
OWN_USERS = ("--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000")
"""Users of its own, of which there is one; the host's user behind it is whoever started it."""
OF_THE_SYSTEM = {
    "usr",
    "etc",
    "bin",
    "sbin",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "proc",
    "dev",
    "run",
}
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

# Without a group that bounds processes their number is a limit too, which has to be set inside,
# where it counts for this sandbox alone.
LIMITS = inside.shell_limits(1024) + 'ulimit -u 512 2>/dev/null; exec "$@"'
ENTER = 'cd -- "$1" || exit 126; shift; unset OLDPWD; '


class BubblewrapSandbox:
    """Starts processes behind bubblewrap's walls.

    Args:
        state: a folder that only the user can read, where what was proved is kept.
        environment: the host's environment, of which only PATH and HOME are looked at.
        limits: what one sandbox may use up.
        user: whom root runs everything inside as; None is root itself, without privileges.
    """

    maps_paths = True
    own_processes = True

    def __init__(
        self,
        *,
        state: Path,
        environment: Mapping[str, str],
        limits: Limits | None = None,
        user: User | None = None,
    ) -> None:
        self.name = "bubblewrap"
        self.gaps: tuple[str, ...] = ()
        self.user = user
        self._limits = limits or Limits()
        self._checking = Checking()
        self._watchdog = Watchdog(self._limits)
        self._mounts, self._path = inside.toolchains(environment)
        self._state = state / "sandbox"
        self._probe = Probe(
            state=self._state, environment=environment, shown=self._mounts, user=user
        )
        self._programs: Programs | None = None
        self._etc = Etc("", ())
        self._system: dict[Programs, list[str]] = {}

    @property
    def owner(self) -> tuple[int, int] | None:
        """Return whom files must belong to on the host, where that is not who started this."""
        return (self.user.uid, self.user.gid) if self.user else None

    async def check(self) -> str:
        """Prove that the walls stand; what was proved is kept until machine or programs change."""
        return await self._checking.once(self._check)

    async def _check(self) -> str:
        groups.remove_leftovers()
        try:
            self._etc = furnish(self._state, self.user)
        except OSError as error:
            raise SandboxUnavailable(
                f"{self._state} cannot be written: {error.strerror}",
                hint="free some disk space, or choose another folder with --state",
            ) from None
        self._system.clear()
        programs = self._probe.remembered()
        if programs is None:
            programs = await self._probe.run(self._start)
        self._programs = programs
        self.name = "bubblewrap"
        if not programs.fresh_proc:
            self.gaps = ("the host's /proc is shown: command lines of other processes can be read",)
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
        bound = Groups.make(memory_mb=self._limits.memory_mb)
        try:
            flags = self._flags(spec, programs, walls.holding(seccomp.program(), "seccomp"))
            first = walls.holding(b"", "first")
            flags = ["--info-fd", str(first), *flags]
            # By a descriptor: a command line can be read inside, and would tell the host's paths.
            told = walls.holding(os.fsencode("\0".join(flags)) + b"\0", "flags")
            # A folder of the user's own can be entered only once the user has been changed.
            # The shell that enters the groups sets the other limits on the way: a program less.
            once = self.user is None and "processes" in bound.bounded
            entering = ENTER + LIMITS if self.user else LIMITS
            where = [spec.cwd] if self.user else []
            limited = list(argv) if once else ["/bin/bash", "-c", entering, "bash", *where, *argv]
            inner = identity.changing_to(self.user, limited)
            command = [programs.bwrap, "--args", str(told), "--", *inner]
            process = await open_piped(
                bound.entered(command, limits=once),
                cwd="/",
                env={},
                pass_fds=(*walls.numbers, *pass_fds),
            )
            said = os.dup(first)
        except OSError as error:
            bound.gone()
            raise SandboxUnavailable(
                f"{programs.bwrap} cannot be started: {error.strerror}"
            ) from None
        finally:
            walls.close()
        written = spec.written
        return SandboxedProcess(
            process, bound, watchdog=self._watchdog, folders=written, leads=True, told=said
        )

    def _users(self) -> tuple[str, ...]:
        if self.user is None:
            return OWN_USERS
        return tuple(part for one in identity.CAPABILITIES for part in ("--cap-add", one))

    def _flags(self, spec: SandboxSpec, programs: Programs, filter_fd: int) -> list[str]:
        shown = (*self._mounts, *program_mounts(programs))
        flags = [*NAMESPACES, *self._users()]
        if self.user is not None:
            # Folders that bubblewrap makes by itself on the way to a mount are root's alone.
            targets = [mount.target for mount in (*shown, *spec.mounts)]
            flags += [part for one in _folders_above(targets) for part in ("--dir", one)]
        if programs not in self._system:
            self._system[programs] = self._of_the_system(programs)
        flags += self._system[programs]
        for mount in shown:
            flags += ["--ro-bind-try", mount.source, mount.target]
        for mount in spec.mounts:
            verb = "--bind" if mount.writable else "--ro-bind"
            flags += [f"{verb}-try" if mount.optional else verb, mount.source, mount.target]
        for name, value in self._environment(spec).items():
            flags += ["--setenv", name, value]
        cwd = spec.cwd if self.user is None else "/"
        return [*flags, "--remount-ro", "/", "--chdir", cwd, "--seccomp", str(filter_fd)]

    def _environment(self, spec: SandboxSpec) -> dict[str, str]:
        values = dict(inside.ENVIRONMENT)
        values["HOME"] = inside.HOME
        values["ORCHESTRATE_RG"] = "/opt/bin/rg"
        values["TMPDIR"] = "/tmp"
        values["PATH"] = ":".join(["/opt/bin", *spec.path, *self._path, *inside.SYSTEM_PATH])
        return values | dict(spec.environment)

    def _of_the_system(self, programs: Programs) -> list[str]:
        """Return the flags for what every sandbox shows of the machine."""
        flags = ["--ro-bind", "/usr", "/usr"]
        for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
            folder = Path("/", name)
            if folder.is_symlink():
                flags += ["--symlink", str(folder.readlink()), str(folder)]
            elif folder.is_dir():
                flags += ["--ro-bind", str(folder), str(folder)]
        flags += self._etc.flags()
        fresh = ["--proc", "/proc", "--remount-ro", "/proc"]
        flags += fresh if programs.fresh_proc else ["--ro-bind", "/proc", "/proc"]
        flags += ["--dev", "/dev", "--perms", "1777", "--size", "1073741824", "--tmpfs", "/dev/shm"]
        for name in PROC_HIDDEN:
            if Path("/proc", name).exists() and programs.fresh_proc:
                flags += ["--ro-bind", "/dev/null", f"/proc/{name}"]
        return [*flags, "--perms", "1777", "--size", "1048576", "--tmpfs", "/run"]


def _folders_above(targets: Sequence[str]) -> list[str]:
    """Return the folders above some paths, the upper ones first; the system's are left out."""
    folders = {str(one) for target in targets for one in Path(target).parents}
    return sorted(one for one in folders if one != "/" and one.split("/")[1] not in OF_THE_SYSTEM)
