"""Starts a command behind walls that a process builds around itself; standard library only.

Runs on the host, or as the first process of a container, on Python 3.9 or newer::

    python3 -I -S confine.py PLAN COMMAND...

PLAN is the path of a JSON object (see ``Plan``). This process stays outside the walls: it is the
one that all orphans come to, it ends with its parent, and when the command ends, or when it is
told to end by SIGTERM, it ends all that the command has started.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import struct
import sys
import time
from typing import Any, NoReturn

FAILED = 125
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 4, 22, 24
PR_SET_SECUREBITS, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 28, 36, 38, 47
CLEAR_AMBIENT = 4
NO_ROOT = 0b00101111
"""Secure bits: the user number 0 gives no capability, and that is locked."""
CAPABILITIES = 0x20080522
CAPSET = {"x86_64": 126, "aarch64": 91}

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
PATH_BENEATH = 1
ABI = 6
"""The oldest that is taken: it keeps signals and sockets without a path within the walls."""
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
MAKE_CHAR, MAKE_BLOCK, TRUNCATE, IOCTL_DEV = 1 << 6, 1 << 11, 1 << 14, 1 << 15
ALL_FILES = (1 << 16) - 1
ALL_TCP = 0b11
ALL_SCOPES = 0b11
READING = EXECUTE | READ_FILE | READ_DIR
WRITING = ALL_FILES & ~(MAKE_CHAR | MAKE_BLOCK | IOCTL_DEV)
ON_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV

LIBC = ctypes.CDLL(None, use_errno=True)


def landlock_abi() -> int:
    """Return the version of Landlock that the kernel offers; 0 where it offers none."""
    found: int = LIBC.syscall(
        ctypes.c_long(CREATE_RULESET), None, ctypes.c_long(0), ctypes.c_int(1)
    )
    return max(found, 0)


def must(done: int, what: str) -> int:
    """Return what a call returned, or end: a wall that cannot be built stops everything."""
    if done < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return done


def prctl(option: int, value: int = 0, *more: int) -> None:
    """Change an attribute of this process."""
    given = [ctypes.c_ulong(one) for one in (value, *more, 0, 0, 0)[:4]]
    must(LIBC.prctl(ctypes.c_int(option), *given), f"prctl {option}")


def restrict_files(plan: dict[str, Any]) -> None:
    """Let this process and all it starts reach nothing but the paths of the plan."""
    attributes = struct.pack("QQQ", ALL_FILES, ALL_TCP, ALL_SCOPES)
    made = LIBC.syscall(
        ctypes.c_long(CREATE_RULESET), attributes, ctypes.c_size_t(len(attributes)), ctypes.c_int(0)
    )
    ruleset = must(made, "landlock_create_ruleset")
    kinds = {
        "reading": READING,
        "writing": WRITING,
        "devices": READ_FILE | WRITE_FILE,
    }
    for kind, access in kinds.items():
        for path in plan[kind]:
            allow(ruleset, path, access)
    done = LIBC.syscall(ctypes.c_long(RESTRICT_SELF), ctypes.c_int(ruleset), ctypes.c_int(0))
    must(done, "landlock_restrict_self")
    os.close(ruleset)


def allow(ruleset: int, path: str, access: int) -> None:
    """Add a rule for a path; one that does not exist needs none."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not os.path.isdir(path):
        access &= ON_A_FILE
    rule = struct.pack("=Qi", access, descriptor)
    done = LIBC.syscall(
        ctypes.c_long(ADD_RULE),
        ctypes.c_int(ruleset),
        ctypes.c_int(PATH_BENEATH),
        rule,
        ctypes.c_int(0),
    )
    must(done, f"landlock_add_rule {path}")
    os.close(descriptor)


def filter_calls(program: bytes) -> None:
    """Put a filter in front of all system calls from here on."""
    code = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    address = ctypes.create_string_buffer(described, len(described))
    done = LIBC.prctl(
        ctypes.c_int(PR_SET_SECCOMP),
        ctypes.c_ulong(2),
        ctypes.byref(address),
        ctypes.c_ulong(0),
        ctypes.c_ulong(0),
    )
    must(done, "the filter of system calls")


def drop_privileges() -> None:
    """Give up every capability, for good; root is a user like others afterwards."""
    if os.geteuid() != 0:
        return
    prctl(PR_CAP_AMBIENT, CLEAR_AMBIENT)
    # In a container there are none to drop, and the call is refused.
    if effective() & 1 << 8:
        prctl(PR_SET_SECUREBITS, NO_ROOT)
        with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
            last = int(file.read())
        for number in range(last + 1):
            prctl(PR_CAPBSET_DROP, number)
    header = struct.pack("Ii", CAPABILITIES, 0)
    must(LIBC.syscall(ctypes.c_long(CAPSET[os.uname().machine]), header, bytes(24)), "capset")


def effective() -> int:
    """Return the capabilities in force, as bits."""
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    return 0


def limit(limits: dict[str, int], more_processes: int) -> None:
    """Bound what each process may use; nothing is raised above what already holds."""
    for name, value in limits.items():
        kind = getattr(resource, name)
        most = resource.getrlimit(kind)[1]
        wanted = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(kind, (wanted, wanted))
    if more_processes:
        # Counted with all others of the same user: those that are there already do not count.
        wanted = own_threads() + more_processes
        most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        wanted = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(resource.RLIMIT_NPROC, (wanted, wanted))


def own_threads() -> int:
    """Return how many threads of this user there are on the machine."""
    count = 0
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == os.getuid():
                count += len(os.listdir(f"/proc/{name}/task"))
        except OSError:
            continue
    return count


def close_all_but(kept: list[int]) -> None:
    """Close every descriptor but the standard ones and the given."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:  # the one that this list was read from
                continue


def received(path: str) -> list[int]:
    """Return descriptors that the host hands over at a socket, once."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as own:
        own.connect(path)
        _, numbers, _, _ = socket.recv_fds(own, 1, 16)
    return numbers


def become(plan: dict[str, Any], command: list[str]) -> NoReturn:
    """Build the walls around this process and become the command."""
    os.setsid()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # Python ignores these, and what is ignored stays so in every program that is started.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    limit(plan["limits"], plan.get("processes", 0))
    drop_privileges()
    if plan.get("landlock"):
        restrict_files(plan)
    filter_calls(bytes.fromhex(plan["filter"]))
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.execvp(command[0], command)  # noqa: S606 - that is what this file is for


def descendants(top: int) -> list[int]:
    """Return all processes below one."""
    below: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
        except OSError:
            continue
        if state not in {b"Z", b"X"} or has_threads(int(name)):
            below.setdefault(int(parent), []).append(int(name))
    found, waiting = [], [top]
    while waiting:
        children = below.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def has_threads(pid: int) -> bool:
    """Tell whether a process lives on though its first thread has ended."""
    try:
        return len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def end_all() -> None:
    """End all that was started; what forks as fast as it is killed is stopped first."""
    stopped: set[int] = set()
    while True:
        there = set(descendants(os.getpid()))
        if not there:
            return
        for pid in there:
            send(pid, signal.SIGSTOP if there - stopped else signal.SIGKILL)
        if there - stopped:
            stopped |= there
            continue
        stopped.clear()
        reap()
        time.sleep(0.001)


def send(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended."""
    try:
        os.kill(pid, number)
    except OSError:
        return


def reap() -> dict[int, int]:
    """Take note of all children that have ended; return their statuses."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = status


def supervise(child: int) -> int:
    """Wait until the command ends or this is told to end; leave nothing behind."""
    awaited = {signal.SIGCHLD, signal.SIGTERM}
    status = 128 + signal.SIGKILL
    told = None
    while told != signal.SIGTERM:
        ended = reap()
        if child in ended:
            raw = ended[child]
            status = 128 + os.WTERMSIG(raw) if os.WIFSIGNALED(raw) else os.WEXITSTATUS(raw)
            break
        told = signal.sigwait(awaited)
    end_all()
    return status


def main() -> None:
    """Start the command as the plan says, and end with its status."""
    # Blocked until they are waited for, so that none is lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    command = sys.argv[2:]
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if plan.get("parent") and os.getppid() != plan["parent"]:
        os._exit(FAILED)  # it had ended before that was asked for
    handed = [int(one) for one in plan.get("descriptors", [])]
    close_all_but(handed)
    prctl(PR_SET_DUMPABLE, 0)
    if plan.get("handover"):
        handed = received(plan["handover"])
        for number in handed:
            os.set_inheritable(number, True)
        os.environ["ORCHESTRATE_CHANNEL"] = str(handed[0])
    child = os.fork()
    if not child:
        try:
            become(plan, command)
        except (OSError, ValueError, KeyError) as error:
            os.write(2, f"the walls cannot be built: {error}\n".encode())
        os._exit(FAILED)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    for number in handed:
        os.close(number)
    os._exit(supervise(child))


if __name__ == "__main__":
    main()
