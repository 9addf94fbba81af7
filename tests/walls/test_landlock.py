"""The walls of Landlock: the attacks that they withstand, and what is said of the others.

The attacks are those of bubblewrap, played once more against the other walls.
"""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import open_toolbox, open_workspace
from orchestrator.errors import ConfigError, SandboxUnavailable
from orchestrator.sandboxes import confine, landlock, seccomp
from orchestrator.settings import SandboxSettings
from tests.builders import git
from tests.walls.conftest import OpenHere
from tests.walls.inside import done, python, sh
from tests.walls.outside import eventually, processes_with, was_contacted
from tests.walls.test_walls import (  # noqa: F401 - played once more, with the fixtures below
    test_a_file_of_the_host_is_unreadable,
    test_listeners_of_the_host_are_not_reached,
    test_no_descriptor_is_inherited,
    test_no_tool_writes_outside,
    test_secrets_of_the_environment_stay_outside,
    test_the_real_home_and_the_package_are_invisible,
)
from tests.walls.test_walls_answers import (  # noqa: F401 - the same
    test_an_answer_cannot_be_forged,
    test_no_process_of_the_walls_can_be_opened,
    test_output_is_not_taken_for_an_answer,
)
from tests.walls.test_walls_kernel import (  # noqa: F401 - the same
    test_a_crash_leaves_no_core,
    test_a_dangerous_call_is_refused,
    test_a_sandbox_cannot_be_nested,
    test_foreign_ways_of_calling_kill,
    test_no_set_id_file_comes_out,
    test_settings_of_the_kernel_cannot_be_written,
    test_socket_families_beyond_the_common_do_not_exist,
    test_the_system_is_read_only,
)
from tests.walls.test_walls_processes import (  # noqa: F401 - the same
    a_sleeper,
    started,
    test_a_cancelled_call_leaves_a_working_toolbox,
    test_a_command_in_the_background_survives_the_call_and_not_the_block,
    test_a_file_cannot_fill_the_disk,
    test_a_fork_bomb_is_bounded,
    test_a_stopped_server_costs_only_a_restart,
    test_a_stopped_server_is_always_started_again,
    test_killing_everything_costs_only_a_restart,
    test_no_process_survives_the_block,
    test_where_no_process_is_left_to_be_had_all_are_ended,
)

LANDLOCK = SandboxSettings(backend="landlock")


@pytest.fixture(autouse=True)
def kernel() -> None:
    """Skip aloud where the kernel has no such walls."""
    found = confine.landlock_abi()
    if found < confine.ABI:
        pytest.skip(f"NOT TESTED: Landlock {confine.ABI} is needed, the kernel offers {found}")


@pytest.fixture
def open_here(work: Path, state: Path, kernel: None) -> OpenHere:
    """Return what opens a toolbox over ``work``, behind Landlock."""
    return lambda: open_toolbox(work, state=state, sandbox_backend=LANDLOCK)


@pytest.mark.asyncio
async def test_processes_of_the_host_are_out_of_reach(
    bystander: subprocess.Popen[bytes], open_here: OpenHere
) -> None:
    """No signal reaches a process outside, and neither its memory nor its limits can be touched."""
    numbers = {"x86_64": (302, 141, 203), "aarch64": (261, 140, 122)}[os.uname().machine]
    code = """
pid, prlimit, setpriority, affinity = map(int, sys.argv[1:])
print(attempt(lambda: os.kill(pid, 9)), attempt(lambda: os.kill(os.getppid(), 0)))
print(call(434, pid, 0), call(424, os.pidfd_open(pid), 9, 0, 0))  # pidfd_send_signal
print(call(prlimit, pid, 7, struct.pack("QQ", 1, 1), 0), call(prlimit, 0, 7, 0, bytes(16)))
print(call(setpriority, 0, pid, 19), call(affinity, pid, 8, struct.pack("Q", 1)))
print(call(setpriority, 2, 0, 19), call(setpriority, 2, os.getuid(), 19))  # PRIO_USER
print(call(setpriority, 0, 0, 5), call(setpriority, 1, 0, 6))
for name in ("environ", "mem", "fd/0", "cwd/x", "root/etc/passwd", "exe"):
    print(attempt(lambda: os.close(os.open(f"/proc/{pid}/{name}", os.O_RDONLY))))
"""
    async with open_here() as toolbox:
        said = (await python(toolbox, code, bystander.pid, *numbers)).text.splitlines()
        await sh(toolbox, f"kill -9 -{os.getpgid(bystander.pid)}; kill -9 {os.getpid()} -1")
    assert bystander.poll() is None
    assert said[0].split()[0] == "EPERM" and said[1].split()[1] == "EPERM"
    assert said[2:6] == ["EPERM OK", "EPERM EPERM", "EPERM EPERM", "OK OK"]
    assert set(said[6:]) <= {"EACCES", "EPERM"} and len(said) == 12


@pytest.mark.asyncio
async def test_there_are_no_sockets(open_here: OpenHere, tmp_path: Path) -> None:
    """No socket of any family can be made, a pair cannot be sent elsewhere, nothing is bound."""
    connect = {"x86_64": 42, "aarch64": 203}[os.uname().machine]
    code = f"""
for family in (1, 2, 10, 16):
    for kind in (1, 2, 3):
        print(attempt(lambda: socket.socket(family, kind)))
print(attempt(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)))
print(attempt(lambda: socket.socketpair(socket.AF_UNIX, 0x80000 | socket.SOCK_DGRAM)))
one, other = socket.socketpair()
other.close()
name = b"\\1\\0" + sys.argv[1].encode() + b"\\0"
print(call({connect}, one.fileno(), name, len(name)))
print(attempt(lambda: one.bind("bound")))
"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        at = f"/tmp/{tmp_path.name}-{os.getpid()}"
        listener.bind(at)
        try:
            listener.listen()
            async with open_here() as toolbox:
                said = (await python(toolbox, code, at)).text.splitlines()
            assert not was_contacted(listener)
        finally:
            Path(at).unlink()
    assert said == ["EAFNOSUPPORT"] * 14 + ["EPERM", "EPERM"]


@pytest.mark.asyncio
async def test_nothing_is_shared_by_number(open_here: OpenHere) -> None:
    """Memory, semaphores and queues that have numbers instead of files do not exist."""
    numbers = {"x86_64": (29, 64, 68, 240), "aarch64": (194, 190, 186, 180)}[os.uname().machine]
    shmget, semget, msgget, mq_open = numbers
    code = f"""
print(call({shmget}, 7, 4096, 0o1600), call({semget}, 7, 1, 0o1600), call({msgget}, 7, 0o1600))
print(call({mq_open}, b"q", os.O_CREAT | os.O_RDWR, 0o600, 0))
"""
    async with open_here() as toolbox:
        assert (await python(toolbox, code)).text.split() == ["EPERM"] * 4


@pytest.mark.asyncio
async def test_no_privilege_is_left(open_here: OpenHere) -> None:
    """Nobody holds a capability, root neither, and no set-id program gives one."""
    look = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | cut -f2"
    async with open_here() as toolbox:
        said = (await done(toolbox, look)).split()
        gained = await sh(toolbox, "su -c id root </dev/null; mount -t tmpfs none /tmp; mount")
    bounding = said.pop(3)
    assert said == ["0" * 16] * 4 + ["1", "2"]
    assert bounding == "0" * 16 or os.getuid() != 0
    assert "uid=0(root) gid=0(root) groups=0(root)" not in gained.text
    assert "tmpfs on /tmp" not in gained.text


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["null", "zero", "urandom"])
async def test_devices_are_few(name: str, open_here: OpenHere, work: Path) -> None:
    """The harmless devices work; terminals, disks and shared memory cannot be opened or made."""
    code = """
print(attempt(lambda: os.mknod("disk", stat.S_IFBLK | 0o600, os.makedev(8, 0))))
for path in ("/dev/ptmx", "/dev/tty", "/dev/kmsg", "/dev/mem", "/dev/fuse", "/dev/shm/x"):
    print(attempt(lambda: os.close(os.open(path, os.O_RDWR | os.O_CREAT))))
print(attempt(lambda: os.listdir("/dev")))
"""
    async with open_here() as toolbox:
        await done(toolbox, f"head -c 10 /dev/{name} | wc -c")
        said = (await python(toolbox, code)).text.splitlines()
    assert set(said) <= {"EACCES", "EPERM"} and len(said) == 8
    assert list(work.iterdir()) == []


@pytest.mark.asyncio
async def test_a_private_copy_is_worked_on_and_collected(
    repository: Path, state: Path, kernel: None
) -> None:
    """A workspace behind Landlock takes commits, and they come out."""
    async with open_workspace(repository, state=state, sandbox_backend=LANDLOCK) as workspace:
        toolbox = workspace.toolbox
        assert await done(toolbox, "git status --porcelain; git log --format=%s") == "First commit"
        await done(
            toolbox, "echo B > src/a.py; git commit -qam second; git stash list; echo x > new"
        )
        commit = await workspace.collect("refs/heads/feature/out")
    assert git(repository, "show", f"{commit}:src/a.py") == "B"
    assert git(repository, "show", f"{commit}:new") == "x"


@pytest.mark.asyncio
async def test_a_checkout_in_place_is_refused(work: Path, state: Path) -> None:
    """Where ``.git`` could not be protected nothing runs; the error names what to use instead."""
    git(work, "init", "-q")
    with pytest.raises(ConfigError, match=r"\.git") as caught:
        async with open_toolbox(work, state=state, sandbox_backend=LANDLOCK):
            pass
    assert "open_workspace" in caught.value.hint


@pytest.mark.asyncio
async def test_what_is_told_as_a_gap_is_one(outside: Path, open_here: OpenHere) -> None:
    """Names, sizes and modes outside are within reach, contents are not: no more, no less."""
    (outside / "victim").write_text("as it was\n", encoding="utf-8")
    async with open_here() as toolbox:
        shown = await done(toolbox, f"stat -c %s {outside}/victim")
        await done(toolbox, f"chmod 604 {outside}/victim")
        read = await sh(toolbox, f"cat {outside}/victim; ls {outside}; echo x >> {outside}/victim")
    assert shown == "10" and stat.S_IMODE((outside / "victim").stat().st_mode) == 0o604
    assert read.text.count("ermission denied") == 3
    assert (outside / "victim").read_text(encoding="utf-8") == "as it was\n"
    assert all(len(gap) <= 120 for gap in landlock.GAPS)


@pytest.mark.asyncio
async def test_a_process_whose_first_thread_has_ended_is_ended_too(
    marker: str, open_here: OpenHere
) -> None:
    """What looks like a zombie and is none does not survive the block."""
    code = f"""
import threading, time  # {marker}
pid = os.fork()
if pid:
    os._exit(0)
os.setsid()
ready = open("ready", "w")
threading.Thread(target=lambda: (ready.write("x"), ready.flush(), time.sleep(600))).start()
libc.pthread_exit(None)
"""
    async with open_here() as toolbox:
        await done(toolbox, f"(exec -a {marker} python3 -c {_quoted(code)}) & sleep 0.2")
        await done(toolbox, "while [ ! -s ready ]; do sleep 0.01; done")
        there = await done(
            toolbox, "grep -l ready /dev/null; ps -eLo pid=,stat=,args= | grep -c Zl"
        )
        assert int(there.splitlines()[-1]) >= 1
    await eventually(lambda: not _zombies_with_threads(), "it is gone")


def _quoted(code: str) -> str:
    import shlex

    from tests.walls.inside import PRELUDE

    return shlex.quote(PRELUDE + code)


def _zombies_with_threads() -> list[str]:
    """Return processes of this machine whose first thread has ended while others live."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit():
                state = (entry / "stat").read_text("ascii", "replace").rpartition(")")[2].split()[0]
                if state == "Z" and len(list((entry / "task").iterdir())) > 1:
                    found.append(entry.name)
        except OSError:
            continue
    return found


HOST = """
import asyncio, sys
from orchestrator import open_toolbox
async def main():
    async with open_toolbox(sys.argv[1], state=sys.argv[2], sandbox_backend="landlock") as toolbox:
        await toolbox.call("Bash", {"command": sys.argv[3]})
        print("ready", flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.mark.asyncio
async def test_nothing_survives_a_killed_host(marker: str, work: Path, tmp_path: Path) -> None:
    """When the host process is killed, everything inside ends, detached processes too."""
    sleeper = a_sleeper(marker)
    command = f"{sleeper} & setsid --fork {sleeper}; (trap '' TERM HUP; {sleeper}) &"
    with started("-c", HOST, str(work), str(tmp_path / "state"), command) as host:
        assert host.stdout is not None and host.stdout.readline() == b"ready\n"
        assert len(processes_with(marker)) >= 3
        os.kill(host.pid, signal.SIGKILL)
    await eventually(lambda: not processes_with(marker), "all processes are gone")


# -- fail closed ---------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("version", [0, 1, 5])
async def test_an_older_kernel_is_refused(
    version: int, work: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the whole of what is needed nothing runs, and the error says what to do."""
    monkeypatch.setattr(confine, "landlock_abi", lambda: version)
    with pytest.raises(SandboxUnavailable, match="landlock") as caught:
        async with open_toolbox(work, state=state, sandbox_backend=LANDLOCK) as toolbox:
            await sh(toolbox, "touch ran")
    assert "6.12" in caught.value.hint and list(work.iterdir()) == []


def without(*names: str) -> Callable[..., dict[str, Any]]:
    whole = landlock.LandlockSandbox._plan

    def plan(*arguments: Any) -> dict[str, Any]:
        return {key: value for key, value in whole(*arguments).items() if key not in names}

    return plan


def with_filter(program: bytes) -> Callable[..., dict[str, Any]]:
    whole = landlock.LandlockSandbox._plan
    return lambda *arguments: {**whole(*arguments), "filter": program.hex()}


ALLOW_ALL = seccomp._op(seccomp.RETURN, seccomp.ALLOW)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (without("landlock"), "can be read"),
        (without("filter"), "walls cannot be built"),
        (with_filter(seccomp.program()), "sockets can be made"),
        (with_filter(ALLOW_ALL), "namespaces can be made"),
    ],
    ids=["no rules", "no filter", "bubblewrap's filter", "empty filter"],
)
async def test_each_missing_wall_is_noticed(
    plan: Callable[..., dict[str, Any]],
    said: str,
    work: Path,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The self-test proves each wall by itself; where one is missing nothing runs."""
    monkeypatch.setattr(landlock.LandlockSandbox, "_plan", plan)
    with pytest.raises(SandboxUnavailable, match=said):
        async with open_toolbox(work, state=state, sandbox_backend=LANDLOCK) as toolbox:
            await sh(toolbox, "touch ran")
    assert list(work.iterdir()) == []


@pytest.mark.asyncio
async def test_a_launcher_that_builds_nothing_is_noticed(
    work: Path, tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A launcher that only starts the command does not pass."""
    bare = tmp_path / "bare.py"
    bare.write_text("import os, sys\nos.execvp(sys.argv[2], sys.argv[2:])\n", encoding="utf-8")
    monkeypatch.setattr(landlock, "LAUNCHER", bare)
    with pytest.raises(SandboxUnavailable, match="self-test"):
        async with open_toolbox(work, state=state, sandbox_backend=LANDLOCK) as toolbox:
            await sh(toolbox, "touch ran")
    assert list(work.iterdir()) == []
