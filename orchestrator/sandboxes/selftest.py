"""Runs inside a new sandbox and tries its walls; standard library only, Python 3.9 or newer.

The argument is a JSON object: what holds here, as the host knows it.

- ``namespaces``: the host's, of which none may be shared;
- ``hidden``: host paths that must not exist inside;
- ``unreadable``, ``unwritable``: paths that may exist, and that must not be opened;
- ``user``: the user and group that everything must run as;
- ``processes``: of the host, that no signal may reach and whose environment must be closed;
- ``abstract``: the name of a socket that somebody on the host listens on;
- ``sockets``: whether sockets may be made at all;
- ``workspace``: what must be writable.

Prints ``ok: `` and what was proved, or what did not hold, and ends with status 1.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
from typing import Any

MOST_PROCESSES = 512


def status_field(name: str) -> str:
    """Return one field of this process's status."""
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            key, _, value = line.partition(":")
            if key == name:
                return value.strip()
    return ""


def can_write(path: str) -> bool:
    """Tell whether a file can be opened for writing."""
    try:
        os.close(os.open(path, os.O_WRONLY))
    except OSError:
        return False
    return True


def can_make_namespace() -> bool:
    """Tell whether a new user namespace can be made inside."""
    program = shutil.which("unshare")
    if program is None:
        return False
    done = subprocess.run([program, "--user", "true"], capture_output=True, check=False)
    return done.returncode == 0


def has_vsock() -> bool:
    """Tell whether a socket family that namespaces do not cover can be opened."""
    try:
        socket.socket(getattr(socket, "AF_VSOCK", 40), socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


def interfaces() -> list[str]:
    """Return the names of the network interfaces."""
    try:
        return [name for _, name in socket.if_nameindex()]
    except OSError:
        return []


def can_read(path: str) -> bool:
    """Tell whether a file can be read, or a folder be listed."""
    try:
        if os.path.isdir(path):
            os.listdir(path)
        else:
            os.close(os.open(path, os.O_RDONLY))
    except OSError:
        return False
    return True


def can_signal(pid: int) -> bool:
    """Tell whether a process of the host can be signalled."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def can_open(family: int, kind: int) -> bool:
    """Tell whether a socket can be made."""
    try:
        socket.socket(family, kind).close()
    except OSError:
        return False
    return True


def can_connect(name: str) -> bool:
    """Tell whether a unix socket of the host without a path can be reached."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as own:
            own.connect("\0" + name)
    except OSError:
        return False
    return True


def shared_namespaces(host: list[str]) -> list[str]:
    """Return the namespaces of the host, as it told them, that this process is in."""
    found = []
    for one in host:
        kind = one.split(":")[0]
        if os.readlink(f"/proc/self/ns/{kind}") == one:
            found.append(kind)
    return found


def failures(host: dict[str, Any]) -> list[str]:
    """Try every wall; return what did not hold."""
    found = [f"{path} is visible inside" for path in host.get("hidden", []) if os.path.exists(path)]
    shared = shared_namespaces(host.get("namespaces", []))
    found += [f"the {kind} namespace is the host's" for kind in shared]
    if int(status_field("CapEff") or "1", 16) or int(status_field("CapPrm") or "1", 16):
        found.append("privileges are left")
    if status_field("NoNewPrivs") != "1":
        found.append("new privileges can be gained")
    if status_field("Seccomp") != "2":
        found.append("system calls are not filtered")
    if can_write("/proc/sys/kernel/core_pattern") or can_write("/usr/bin/env"):
        found.append("the machine can be changed from inside")
    if can_make_namespace():
        found.append("namespaces can be made inside")
    if has_vsock():
        found.append("a VSOCK socket can be opened")
    if [name for name in interfaces() if name != "lo"] and host.get("sockets", True):
        found.append("there is a network")
    found += reached(host)
    if host.get("user"):
        found += user_failures(*host["user"])
    workspace = host.get("workspace", "/workspace")
    try:
        with open(workspace + "/probe", "w", encoding="ascii") as file:
            file.write("x")
    except OSError as error:
        found.append(f"the workspace cannot be written: {error.strerror}")
    found += [f"{name} does not run inside" for name in ("git", "rg", "bash") if not runs(name)]
    return found


def reached(host: dict[str, Any]) -> list[str]:
    """Return what of the host is reached without being seen as a file of the sandbox."""
    found = [f"{path} can be read" for path in host.get("unreadable", []) if can_read(path)]
    found += [f"{path} can be written" for path in host.get("unwritable", []) if can_write(path)]
    for pid in host.get("processes", []):
        if can_signal(pid):
            found.append("processes of the host can be signalled")
        if any(can_read(f"/proc/{pid}/{name}") for name in ("environ", "fd/0", "mem", "cwd/")):
            found.append("what host processes hold can be read")
    if host.get("abstract") and can_connect(host["abstract"]):
        found.append("sockets of the host can be reached")
    if not host.get("sockets", True):
        families = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)
        kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
        if any(can_open(family, kind) for family in families for kind in kinds):
            found.append("sockets can be made")
    return found


def user_failures(uid: int, gid: int) -> list[str]:
    """Return what does not hold of the change of user."""
    found = []
    if os.getresuid() != (uid,) * 3 or os.getresgid() != (gid,) * 3 or os.getgroups():
        found.append("the user was not changed")
    if resource.getrlimit(resource.RLIMIT_NPROC)[1] not in range(1, MOST_PROCESSES + 1):
        found.append("the number of processes is not bounded")
    return found


def runs(name: str) -> bool:
    """Tell whether a program starts."""
    program = shutil.which(name)
    if program is None:
        return False
    return subprocess.run([program, "--version"], capture_output=True, check=False).returncode == 0


def main() -> int:
    """Run the self-test."""
    found = failures(json.loads(sys.argv[1]))
    if found:
        sys.stdout.write("; ".join(found) + "\n")
        return 1
    sys.stdout.write("ok: no network, no privileges, filtered system calls, private files\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
