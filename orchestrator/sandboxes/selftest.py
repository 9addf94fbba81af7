"""Runs inside a new sandbox and tries its walls; standard library only.

Arguments: the host's namespaces, then host paths that must not exist inside.
Prints ``ok: `` and what was proved, or what
did not hold, and ends with status 1.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys


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
    return [name for _, name in socket.if_nameindex()]


def shared_namespaces(host: str) -> list[str]:
    """Return the namespaces of the host, as it told them, that this process is in."""
    found = []
    for one in host.split(","):
        kind = one.split(":")[0]
        if os.readlink(f"/proc/self/ns/{kind}") == one:
            found.append(kind)
    return found


def failures(host: str, hidden: list[str]) -> list[str]:
    """Try every wall; return what did not hold."""
    found = [f"{path} is visible inside" for path in hidden if os.path.exists(path)]
    found += [f"the {kind} namespace is the host's" for kind in shared_namespaces(host)]
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
    if [name for name in interfaces() if name != "lo"]:
        found.append("there is a network")
    try:
        with open("/workspace/probe", "w", encoding="ascii") as file:
            file.write("x")
    except OSError as error:
        found.append(f"the workspace cannot be written: {error.strerror}")
    found += [f"{name} does not run inside" for name in ("git", "rg", "bash") if not runs(name)]
    return found


def runs(name: str) -> bool:
    """Tell whether a program starts."""
    program = shutil.which(name)
    if program is None:
        return False
    return subprocess.run([program, "--version"], capture_output=True, check=False).returncode == 0


def main() -> int:
    """Run the self-test."""
    found = failures(sys.argv[1], sys.argv[2:])
    if found:
        sys.stdout.write("; ".join(found) + "\n")
        return 1
    sys.stdout.write("ok: no network, no privileges, filtered system calls, private files\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
