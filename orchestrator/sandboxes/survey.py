"""What this machine offers for walls: every probe of every back end, each with its fix."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from orchestrator.errors import SandboxUnavailable
from orchestrator.sandboxes import confine, identity, seccomp
from orchestrator.sandboxes.engine import ENGINES, find_engine
from orchestrator.sandboxes.groups import Groups
from orchestrator.sandboxes.landlock import NEEDED, LandlockSandbox
from orchestrator.sandboxes.probe import INSTALL, OLDEST_BWRAP, bwrap_candidates, fix_for, newest
from orchestrator.values import frozen

DELEGATE = (
    "run it as root, or in a systemd user session with delegated controllers; until then process "
    "limits and the watchdog hold"
)
TRIED_S = 10


@frozen
class Probed:
    """One thing that a back end needs or can use.

    Attributes:
        backend: what needs it.
    """

    name: str
    backend: str
    works: bool
    said: str
    fix: str = ""


async def survey(state: Path, environment: Mapping[str, str]) -> list[Probed]:
    """Try everything that walls are made of; nothing of it is a proof, the self-tests are."""
    found = [*_bubblewrap(environment), _seccomp(), _run_as(), *_groups()]
    found.append(await _landlock(state, environment))
    found += [await _engine(kind, environment) for kind in ENGINES]
    return found


def _bubblewrap(environment: Mapping[str, str]) -> Iterator[Probed]:
    best = newest(bwrap_candidates(environment))
    if best is None or best[0] < OLDEST_BWRAP:
        said = f"{best[1]} is too old" if best else "not installed"
        yield Probed("bwrap", "bubblewrap", works=False, said=said, fix=INSTALL)
        return
    version = ".".join(map(str, best[0]))
    yield Probed("bwrap", "bubblewrap", works=True, said=f"{version}, {best[1]}")
    bare = ["--unshare-user", "--unshare-pid", "--unshare-net", "--ro-bind", "/", "/"]
    said = _tried([best[1], *bare, "/bin/true"])
    fix = fix_for(said)
    yield Probed("users", "bubblewrap", not said, said or "user namespaces can be made", fix)
    said = _tried([best[1], *bare, "--proc", "/proc", "/bin/true"])
    shown = f"{said}; the host's is shown, read-only" if said else "a fresh one can be mounted"
    yield Probed("proc", "bubblewrap", not said, shown, fix_for(said))


def _tried(argv: list[str]) -> str:
    """Return what a program complains of; an empty text says that it works."""
    try:
        done = subprocess.run(argv, capture_output=True, check=False, env={}, timeout=TRIED_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return said[-1] if said else f"ended with status {done.returncode}"


def _seccomp() -> Probed:
    machine = platform.machine()
    if machine not in seccomp.TABLES:
        fix = f"run it on {' or '.join(seccomp.TABLES)}"
        return Probed("seccomp", "all", works=False, said=f"no table for {machine}", fix=fix)
    works = Path("/proc/sys/kernel/seccomp/actions_avail").exists()
    said = "filters can be set" if works else "the kernel has no filters"
    return Probed("seccomp", "all", works, said, "use a kernel with CONFIG_SECCOMP_FILTER")


def _run_as() -> Probed:
    if os.geteuid() != 0:
        said = "not root: everything inside runs as you already"
        return Probed("run_as", "bubblewrap", works=False, said=said, fix="none is needed")
    program = identity.setpriv()
    said = f"possible with {program}" if program else "setpriv is not installed"
    return Probed("run_as", "bubblewrap", program is not None, said, "install util-linux")


def _groups() -> Iterator[Probed]:
    made = Groups.make(memory_mb=64)
    made.gone()
    for what in ("processes", "memory"):
        works = what in made.bounded
        said = "bound by a control group" if works else "no control group may be made"
        yield Probed("pids" if what == "processes" else what, "all", works, said, DELEGATE)


async def _landlock(state: Path, environment: Mapping[str, str]) -> Probed:
    sandbox = LandlockSandbox(state=state, environment=environment)
    try:
        proved = await sandbox.check()
    except (SandboxUnavailable, OSError) as error:
        fix = error.hint if isinstance(error, SandboxUnavailable) else NEEDED
        return Probed("landlock", "landlock", works=False, said=str(error), fix=fix)
    said = f"version {confine.landlock_abi()}: {proved}"
    return Probed("landlock", "landlock", works=True, said=said)


async def _engine(kind: str, environment: Mapping[str, str]) -> Probed:
    try:
        engine = await find_engine([kind], environment)
    except SandboxUnavailable as error:
        return Probed(kind, "container", works=False, said=str(error), fix=error.hint)
    return Probed(kind, "container", works=True, said=f"answers: {engine.program}")
