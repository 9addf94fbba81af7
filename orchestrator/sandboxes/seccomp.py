"""The system call filter: what namespaces do not cover.

A deny list in classic BPF: foreign architectures die; new namespaces, mounts, keyrings, io_uring,
bpf, perf, userfaultfd and module loading are refused; sockets other than unix, IPv4, IPv6 and
netlink do not exist; nobody types into a terminal or makes a set-id file.

Without namespaces of its own a sandbox is filtered further: no sockets but pairs, no connecting,
nothing that is shared by a number rather than by a file, no other process's settings.
"""

from __future__ import annotations

import platform
import struct
from functools import cache

from orchestrator.values import frozen

LOAD, JUMP_EQUAL, JUMP_SET, JUMP_AT_LEAST, RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
MASK = 0x54
ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16

OPENAT2 = 437
X32_BIT = 0x40000000
NAMESPACES = 0x7E020080  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET,TIME}
SET_ID = 0o6000
FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
PAIRED = (1, 5)  # SOCK_STREAM, SOCK_SEQPACKET: the kinds of a pair that cannot be sent elsewhere
KIND = 0xF
TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX


# Numbers: Linux 6.x, arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
@frozen
class CallTable:
    """One architecture's numbers of the calls that matter.

    Attributes:
        audit: the architecture's own number.
        modes: calls that take a file mode, with the place of that argument.
        shared: calls that reach what is shared with the host unless there are namespaces: System
            V and POSIX queues, semaphores and memory, binding and connecting sockets.
        personal: calls about a process, with the place of its number; 0 means the caller.
        sweeping: calls that can be about all processes of a user, with the first argument then.
        high: numbers from here on belong to a foreign way of calling; 0 where there is none.
    """

    audit: int
    denied: tuple[int, ...]
    clone: int
    clone3: int
    unshare: int
    sockets: tuple[int, ...]
    ioctl: int
    modes: tuple[tuple[int, int], ...]
    shared: tuple[int, ...]
    personal: tuple[tuple[int, int], ...]
    sweeping: tuple[tuple[int, int], ...]
    high: int = 0


X86_64 = CallTable(
    audit=0xC000003E,
    denied=(
        *(321, 298, 323, 425, 426, 427),  # bpf perf_event_open userfaultfd io_uring_*
        *(248, 249, 250),  # add_key request_key keyctl
        *(165, 166, 155, 428, 429, 430, 431, 432, 433, 442, 308),  # mounts, setns
        *(246, 320, 175, 313, 176),  # kexec, modules
        *(304, 303, 179, 167, 168, 169, 163, 103, 300, 153, 172, 173),  # by handle, quotas, admin
        *(438, 161, 180, 134, 212, 227, 164, 159, 305),  # pidfd_getfd chroot ... clocks
    ),
    clone=56,
    clone3=435,
    unshare=272,
    sockets=(41, 53),
    ioctl=16,
    modes=((90, 1), (91, 1), (268, 2), (452, 2), (2, 2), (257, 3), (85, 1), (133, 1), (259, 2)),
    shared=(
        *(29, 30, 31, 67, 64, 65, 66, 220, 68, 69, 70, 71),  # shm*, sem*, msg*
        *(240, 241, 42, 49),  # mq_open mq_unlink connect bind
    ),
    # prlimit64 setpriority sched_{setparam,setscheduler,setaffinity,setattr} ioprio_set, pages
    personal=(
        (302, 0),
        (141, 1),
        (142, 0),
        (144, 0),
        (203, 0),
        (314, 0),
        (251, 1),
        (256, 0),
        (279, 0),
    ),
    sweeping=((141, 2), (251, 3)),  # setpriority PRIO_USER, ioprio_set IOPRIO_WHO_USER
    high=X32_BIT,
)
AARCH64 = CallTable(
    audit=0xC00000B7,
    denied=(
        *(280, 241, 282, 425, 426, 427),
        *(217, 218, 219),
        *(40, 39, 41, 428, 429, 430, 431, 432, 433, 442, 268),
        *(104, 294, 105, 273, 106),
        *(265, 264, 60, 224, 225, 142, 89, 116, 262, 58),
        *(438, 51, 42, 18, 112, 170, 171, 266),
    ),
    clone=220,
    clone3=435,
    unshare=97,
    sockets=(198, 199),
    ioctl=29,
    modes=((52, 1), (53, 2), (452, 2), (56, 3), (33, 2)),
    shared=(
        *(194, 195, 196, 197, 190, 191, 192, 193, 186, 187, 188, 189),
        *(180, 181, 203, 200),
    ),
    personal=(
        (261, 0),
        (140, 1),
        (118, 0),
        (119, 0),
        (122, 0),
        (274, 0),
        (30, 1),
        (238, 0),
        (239, 0),
    ),
    sweeping=((140, 2), (30, 3)),
)
TABLES = {"x86_64": X86_64, "aarch64": AARCH64}


@cache
def program(machine: str | None = None, *, namespaces: bool = True) -> bytes:
    """Return the filter for a machine, as ``bwrap --seccomp`` reads it.

    Args:
        machine: the architecture; None means this one.
        namespaces: whether network, processes and shared memory of the sandbox are its own.

    Raises:
        KeyError: there is no table for the machine.
    """
    table = TABLES[machine or platform.machine()]
    code: list[bytes] = [
        _op(LOAD, ARCHITECTURE_AT),
        _op(JUMP_EQUAL, table.audit, 1, 0),
        _op(RETURN, KILL),
        _op(LOAD, NUMBER_AT),
    ]
    if table.high:
        code += [_op(JUMP_AT_LEAST, table.high, 0, 1), _op(RETURN, KILL)]
    # Both pass what matters in memory, where no filter can look: programs fall back without them.
    code += _refuse(table.clone3, ENOSYS) + _refuse(OPENAT2, ENOSYS)
    for number in table.denied:
        code += _refuse(number, EPERM)
    for number in (table.clone, table.unshare):
        code += _when(number, 0, [_op(JUMP_SET, NAMESPACES, 0, 1), _op(RETURN, REFUSE | EPERM)])
    if not namespaces:
        code += _without_namespaces(table)
    for number in table.sockets if namespaces else ():
        allowed = [_op(JUMP_EQUAL, one, len(FAMILIES) - at, 0) for at, one in enumerate(FAMILIES)]
        code += _when(number, 0, [*allowed, _op(RETURN, REFUSE | EAFNOSUPPORT)])
    typing = [
        part
        for one in TERMINAL_INPUT
        for part in (_op(JUMP_EQUAL, one, 0, 1), _op(RETURN, REFUSE | EPERM))
    ]
    code += _when(table.ioctl, 1, typing)
    for number, argument in table.modes:
        code += _when(number, argument, [_op(JUMP_SET, SET_ID, 0, 1), _op(RETURN, REFUSE | EPERM)])
    return b"".join([*code, _op(RETURN, ALLOW)])


def _without_namespaces(table: CallTable) -> list[bytes]:
    """Refuse what would reach the host where the sandbox has no namespaces of its own."""
    code: list[bytes] = []
    for number in table.shared:
        code += _refuse(number, EPERM)
    everyone = dict(table.sweeping)
    for number, argument in table.personal:
        refused = _op(RETURN, REFUSE | EPERM)
        body = [_op(JUMP_EQUAL, 0, 1, 0), refused]
        if number in everyone:
            body += [_op(LOAD, ARGUMENTS_AT), _op(JUMP_EQUAL, everyone[number], 0, 1), refused]
        code += _when(number, argument, body)
    lone, pair = table.sockets
    code += _refuse(lone, EAFNOSUPPORT)
    kinds = [_op(JUMP_EQUAL, one, len(PAIRED) - at, 0) for at, one in enumerate(PAIRED)]
    refused = _op(RETURN, REFUSE | EAFNOSUPPORT)
    return code + _when(pair, 1, [_op(MASK, KIND), *kinds, refused])


def _op(code: int, value: int, on_true: int = 0, on_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, on_true, on_false, value)


def _refuse(number: int, errno: int) -> list[bytes]:
    return [_op(JUMP_EQUAL, number, 0, 1), _op(RETURN, REFUSE | errno)]


def _when(number: int, argument: int, body: list[bytes]) -> list[bytes]:
    """Look at the low half of one argument of a call; afterwards allow it."""
    inner = [_op(LOAD, ARGUMENTS_AT + 8 * argument), *body, _op(RETURN, ALLOW)]
    return [_op(JUMP_EQUAL, number, 0, len(inner)), *inner]
