"""Attacks on the kernel from inside: calls, namespaces, mounts, devices, terminals, set-id files."""

from __future__ import annotations

import os
import platform
import stat
from pathlib import Path

import pytest

from orchestrator.sandboxes.inside import SYSTEM_FILES
from tests.walls.conftest import OpenHere
from tests.walls.inside import python, sh
from tests.walls.outside import differences, photograph

# Linux: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h.
NUMBERS = {
    "x86_64": {
        "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "add_key": 248,
        "request_key": 249, "keyctl": 250, "mount": 165, "umount2": 166, "pivot_root": 155,
        "setns": 308, "unshare": 272, "clone": 56, "open_by_handle_at": 304, "chroot": 161,
        "init_module": 175, "finit_module": 313, "kexec_load": 246, "swapon": 167, "reboot": 169,
        "ptrace": 101, "process_vm_readv": 310, "ioctl": 16,
    },
    "aarch64": {
        "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "add_key": 217,
        "request_key": 218, "keyctl": 219, "mount": 40, "umount2": 39, "pivot_root": 41,
        "setns": 268, "unshare": 97, "clone": 220, "open_by_handle_at": 265, "chroot": 51,
        "init_module": 105, "finit_module": 273, "kexec_load": 104, "swapon": 224, "reboot": 142,
        "ptrace": 117, "process_vm_readv": 270, "ioctl": 29,
    },
}  # fmt: skip
ANYWHERE = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsmount": 432, "fspick": 433, "mount_setattr": 442,
    "clone3": 435, "pidfd_getfd": 438, "openat2": 437,
}  # fmt: skip

REFUSED = {
    "user namespace": ("unshare", "0x10000000", "EPERM"),
    "mount namespace": ("unshare", "0x00020000", "EPERM"),
    "network namespace": ("unshare", "0x40000000", "EPERM"),
    "process namespace": ("unshare", "0x20000000", "EPERM"),
    "time namespace": ("unshare", "0x00000080", "EPERM"),
    "cloned user namespace": ("clone", "0x10000011, 0, 0, 0, 0", "EPERM"),
    "clone3": ("clone3", "bytes(88), 88", "ENOSYS"),
    "setns": ("setns", "os.open('/proc/self/ns/net', os.O_RDONLY), 0", "EPERM"),
    "mount": ("mount", "b'none', b'/tmp', b'tmpfs', 0, 0", "EPERM"),
    "remount": ("mount", "b'none', b'/usr', b'none', 0x1020, 0", "EPERM"),
    "umount": ("umount2", "b'/usr', 2", "EPERM"),
    "pivot_root": ("pivot_root", "b'/tmp', b'/tmp'", "EPERM"),
    "chroot": ("chroot", "b'/tmp'", "EPERM"),
    "open_tree": ("open_tree", "-100, b'/usr', 1", "EPERM"),
    "move_mount": ("move_mount", "-100, b'/usr', -100, b'/tmp', 0", "EPERM"),
    "fsopen": ("fsopen", "b'tmpfs', 0", "EPERM"),
    "mount_setattr": ("mount_setattr", "-100, b'/usr', 0, bytes(32), 32", "EPERM"),
    "session keyring": ("keyctl", "0, -3, 0", "EPERM"),
    "add_key": ("add_key", "b'user', b'canary', b'x', 1, -3", "EPERM"),
    "request_key": ("request_key", "b'user', b'canary', 0, 0", "EPERM"),
    "io_uring": ("io_uring_setup", "4, bytes(120)", "EPERM"),
    "bpf": ("bpf", "0, bytes(64), 64", "EPERM"),
    "perf": ("perf_event_open", "bytes(112), 0, -1, -1, 0", "EPERM"),
    "userfaultfd": ("userfaultfd", "1", "EPERM"),
    "file by handle": ("open_by_handle_at", "-100, bytes(16), 0", "EPERM"),
    "module": ("init_module", "bytes(8), 8, b''", "EPERM"),
    "module file": ("finit_module", "0, b'', 0", "EPERM"),
    "kexec": ("kexec_load", "0, 0, 0, 0", "EPERM"),
    "swap": ("swapon", "b'/tmp/x', 0", "EPERM"),
    "reboot": ("reboot", "0, 0, 0", "EPERM"),
    "descriptor of another": ("pidfd_getfd", "0, 0, 0", "EPERM"),
}

FAMILIES = {"AF_VSOCK": 40, "AF_ALG": 38, "AF_PACKET": 17, "AF_TIPC": 30, "AF_BLUETOOTH": 31,
            "AF_KEY": 15, "AF_RDS": 21, "AF_XDP": 44, "AF_CAN": 29}  # fmt: skip

SET_ID = {
    "chmod": "os.chmod('own', 0o4755)",
    "fchmod": "os.fchmod(os.open('own', os.O_RDONLY), 0o6755)",
    "fchmodat2": "call(452, -100, b'own', 0o4755, 0)",
    "group": "os.chmod('own', 0o2755)",
    "open": "os.open('new', os.O_CREAT | os.O_WRONLY, 0o4755)",
    "mknod": "os.mknod('new', stat.S_IFREG | 0o4755)",
    "openat2": "call(437, -100, b'new', struct.pack('QQQ', os.O_CREAT | 1, 0o4755, 0), 24)",
    "temporary": "os.open('.', os.O_TMPFILE | os.O_RDWR, 0o4755)",
    "install": "os.spawnlp(os.P_WAIT, 'install', 'install', '-m', '6755', '/bin/true', 'new')",
    "copy": "os.spawnlp(os.P_WAIT, 'cp', 'cp', '--preserve=mode', '/usr/bin/passwd', 'new')",
    "tar": "os.system('cd /usr/bin && tar c passwd | tar xp -C /workspace')",
}


def number(name: str) -> int:
    machine = platform.machine()
    if machine not in NUMBERS:
        pytest.skip(f"NOT TESTED: no table of system calls for {machine}")
    return {**NUMBERS[machine], **ANYWHERE}[name]


@pytest.mark.asyncio
@pytest.mark.parametrize("what", REFUSED)
async def test_a_dangerous_call_is_refused(what: str, open_here: OpenHere) -> None:
    """A call that namespaces do not cover, or that would make new ones, is refused."""
    name, arguments, error = REFUSED[what]
    async with open_here() as toolbox:
        said = await python(toolbox, f"print(call({number(name)}, {arguments}))")
    assert said.text == error


@pytest.mark.asyncio
async def test_socket_families_beyond_the_common_do_not_exist(open_here: OpenHere) -> None:
    """VSOCK, which no namespace covers, and other rare families cannot be opened."""
    code = f"""
for name, family in {FAMILIES!r}.items():
    print(name, attempt(lambda: socket.socket(family, socket.SOCK_STREAM)))
    print(name, attempt(lambda: socket.socket(family, socket.SOCK_DGRAM)))
print("RAW", attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)))
"""
    async with open_here() as toolbox:
        said = (await python(toolbox, code)).text.splitlines()
    assert {one.split()[1] for one in said if not one.startswith("RAW")} == {"EAFNOSUPPORT"}
    assert said[-1] in {"RAW EPERM", "RAW EACCES", "RAW EAFNOSUPPORT"}


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["int 0x80", "x32"])
async def test_foreign_ways_of_calling_kill(way: str, open_here: OpenHere) -> None:
    """A call by another architecture's table ends the process, so that it cannot pass the filter."""
    if platform.machine() != "x86_64":
        pytest.skip("NOT TESTED: only x86-64 has other ways of calling")
    # getpid, by the 32-bit table or with the x32 bit; then return its result.
    machine_code = {
        "int 0x80": "b8 14 00 00 00 cd 80 c3",
        "x32": "b8 27 00 00 40 0f 05 c3",
    }[way]
    code = f"""
import mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("{machine_code}"))
at = ctypes.addressof(ctypes.c_char.from_buffer(page))
child = os.fork()
if not child:
    os._exit(0 if ctypes.CFUNCTYPE(ctypes.c_int)(at)() >= 0 else 1)
status = os.waitpid(child, 0)[1]
print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else "it was answered")
"""
    async with open_here() as toolbox:
        said = await python(toolbox, code)
    assert said.text == "31"  # SIGSYS


@pytest.mark.asyncio
@pytest.mark.parametrize("way", SET_ID)
async def test_no_set_id_file_comes_out(way: str, work: Path, open_here: OpenHere) -> None:
    """No way of setting a mode makes a set-user or set-group file on the host's disk."""
    (work / "own").write_bytes(b"#!/bin/sh\n")
    (work / "own").chmod(0o755)
    async with open_here() as toolbox:
        await python(toolbox, f"print(attempt(lambda: {SET_ID[way]}))")
    modes = {path.name: path.lstat().st_mode for path in work.iterdir()}
    assert not [name for name, mode in modes.items() if mode & (stat.S_ISUID | stat.S_ISGID)]


@pytest.mark.asyncio
@pytest.mark.parametrize("value", [0x5412, 0x1_0000_5412, 0x541C])
async def test_nobody_types_into_a_terminal(value: int, open_here: OpenHere) -> None:
    """TIOCSTI and TIOCLINUX are refused on the caller's own terminal, with high bits set too."""
    code = f"""
import fcntl, termios
host, terminal = os.openpty()
child = os.fork()
if not child:
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    done = call({number("ioctl")}, terminal, {value}, b"x")
    os.write(2, done.encode())
    os._exit(0)
os.waitpid(child, 0)
"""
    async with open_here() as toolbox:
        said = await python(toolbox, code)
    assert said.text == "EPERM"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "name", ["kernel/core_pattern", "kernel/panic", "kernel/hostname", "vm/overcommit_memory"]
)
async def test_settings_of_the_kernel_cannot_be_written(name: str, open_here: OpenHere) -> None:
    """A kernel setting, by which root outside would run a program, stays as it is."""
    path = Path("/proc/sys", name)
    before = path.read_bytes()
    try:
        async with open_here() as toolbox:
            said = await sh(toolbox, f"chmod 666 {path}; echo '|/tmp/x' > {path}")
            assert said.is_error
            written = await toolbox.call("Write", {"file_path": str(path), "content": "|/tmp/x"})
            assert written.is_error
        assert path.read_bytes() == before
    finally:
        if path.read_bytes() != before:
            path.write_bytes(before)


@pytest.mark.asyncio
async def test_the_system_is_read_only(open_here: OpenHere) -> None:
    """Programs, /etc, /proc, /dev and the tool server's code cannot be changed from inside."""
    places = ["/usr/bin/env", "/etc/passwd", "/etc/new", "/new", "/usr/new", "/opt/bin/rg", "/run/x",
              "/opt/orchestrator/orchestrator_tools/server.py", "/opt/orchestrator/json.py",
              "/proc/sysrq-trigger", "/lib/new", "/home/new", "/var/new", "/proc/self/oom_score_adj",
              "/etc/hosts", "/etc/ssl/new", "/etc/ld.so.cache"]  # fmt: skip
    code = f"""
for path in {places!r}:
    done = attempt(lambda: os.close(os.open(path, os.O_WRONLY | os.O_CREAT)))
    removed = attempt(lambda: os.rename(path, path + ".moved"))
    print(path, done, removed)
"""
    async with open_here() as toolbox:
        said = (await python(toolbox, code)).text.splitlines()
    # /run is a small file system of this sandbox alone.
    opened = [one for one in said if " OK" in one and not one.startswith("/run/x")]
    assert len(said) == len(places) and opened == []


@pytest.mark.asyncio
async def test_no_more_of_etc_is_shown_than_is_listed(open_here: OpenHere) -> None:
    """What /etc holds inside is what is listed and what is ours; names are known from there."""
    async with open_here() as toolbox:
        found = (await sh(toolbox, "cd /etc; find . -maxdepth 1 -mindepth 1 -printf '%P '")).text
        who = (await sh(toolbox, "id -un; cat /etc/hosts; cut -d: -f1 /etc/passwd")).text.split()
        dated = await sh(toolbox, "test -r /etc/ssl/certs -a -r /etc/os-release && date +%Z")
    listed = {Path(path).parts[2] for path in SYSTEM_FILES}
    assert {"passwd", "group", "hosts", "os-release"} <= set(found.split())
    assert set(found.split()) <= listed | {"passwd", "group", "hosts"}
    assert who[0] == "agent" and "sandbox" in who and who[-3:] == ["root", "agent", "nobody"]
    assert not dated.is_error


@pytest.mark.asyncio
async def test_devices_are_few_and_none_can_be_made(work: Path, open_here: OpenHere) -> None:
    """No memory, disk, console or kernel log is there as a device, and mknod makes none."""
    code = """
print(attempt(lambda: os.mknod("disk", stat.S_IFBLK | 0o600, os.makedev(8, 0))))
print(attempt(lambda: os.mknod("/dev/shm/mem", stat.S_IFCHR | 0o600, os.makedev(1, 1))))
kept = {"null", "zero", "full", "random", "urandom", "tty", "ptmx"}
for folder, _, names in os.walk("/dev"):
    for name in names:
        mode = os.lstat(os.path.join(folder, name)).st_mode
        if (stat.S_ISBLK(mode) or stat.S_ISCHR(mode)) and name not in kept:
            print("there is", folder, name)
for name in ("/proc/kcore", "/proc/kmsg", "/proc/kallsyms", "/dev/core"):
    try:
        print(len(open(name, "rb").read(16)))
    except OSError as error:
        print(0)
"""
    async with open_here() as toolbox:
        said = await python(toolbox, code)
    assert said.text.splitlines() == ["EPERM", "EPERM", "0", "0", "0", "0"]
    assert list(work.iterdir()) == []


@pytest.mark.asyncio
async def test_a_crash_leaves_no_core(work: Path, open_here: OpenHere) -> None:
    """A crashing process writes no memory image, and the limit cannot be lifted."""
    async with open_here() as toolbox:
        lifted = await sh(toolbox, "ulimit -c unlimited")
        ended = [await sh(toolbox, f"kill -{how} $$") for how in ("SEGV", "ABRT")]
    assert lifted.is_error and [one.details["exit_code"] for one in ended] == [139, 134]
    assert list(work.iterdir()) == []


@pytest.mark.asyncio
async def test_no_privilege_is_left_and_none_can_be_gained(open_here: OpenHere) -> None:
    """No capability is held, set-id programs gain nothing, and the ids cannot be changed."""
    code = """
for line in open("/proc/self/status"):
    if line.startswith(("Cap", "NoNewPrivs", "Seccomp:")):
        print(line.split()[1])
for do in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0])):
    print(attempt(do))
print(attempt(lambda: os.write(os.open("/proc/self/uid_map", os.O_WRONLY), b"0 0 1")))
"""
    async with open_here() as toolbox:
        said = (await python(toolbox, code)).text.splitlines()
        gained = await sh(
            toolbox, "su -c id root </dev/null || sudo -n id || mount -o remount,rw /usr"
        )
    assert said[:7] == ["0" * 16] * 5 + ["1", "2"]
    assert len(said) == 11 and set(said[7:]) <= {"EPERM", "EINVAL", "EROFS"}
    assert gained.is_error and "uid=0" not in gained.text


@pytest.mark.asyncio
async def test_a_sandbox_cannot_be_nested(open_here: OpenHere, bwrap: str) -> None:
    """Inside, neither unshare nor a bubblewrap of one's own gets a namespace."""
    code = Path(bwrap).read_bytes()
    assert code.startswith(b"\x7fELF")
    async with open_here() as toolbox:
        said = await sh(toolbox, "unshare --user --map-root-user id || bwrap --ro-bind / / id")
    assert said.is_error and "uid=" not in said.text


@pytest.mark.asyncio
async def test_times_owners_and_names_outside_stay(
    work: Path, outside: Path, open_here: OpenHere
) -> None:
    """Ownership and times of files outside cannot be changed through links."""
    (outside / "victim").write_text("x", encoding="utf-8")
    (work / "link").symlink_to(outside / "victim")
    before = photograph(outside)
    async with open_here() as toolbox:
        await sh(
            toolbox,
            f"chmod 777 link; touch -d 2001-01-01 link; chown 1000 link; chown -h {os.getuid()} link",
        )
        await sh(toolbox, "setfattr -n user.x -v y link; truncate -s 0 link; cp /etc/passwd link")
    assert differences(before, photograph(outside)) == []
