"""What every sandbox looks like inside, whatever builds its walls."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from orchestrator.records import Mount

HOME = "/home/agent"
TOOLCHAINS = "/opt/toolchains"

ENVIRONMENT = {
    "USER": "agent",
    "LOGNAME": "agent",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "EDITOR": "false",
    "GIT_EDITOR": "false",
    "GIT_TERMINAL_PROMPT": "0",
    "CI": "1",
    "NO_COLOR": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
SYSTEM_PATH = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")

SYSTEM_FILES = (
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/os-release",
    "/etc/debian_version",
    "/etc/nsswitch.conf",
    "/etc/protocols",
    "/etc/services",
    "/etc/mime.types",
    "/etc/bash.bashrc",
    "/etc/inputrc",
    "/etc/fonts",
    "/etc/java-17-openjdk",
    "/etc/java-21-openjdk",
)
"""What of /etc is shown: nothing that can hold a secret, since root may read every file it owns."""

LAUNCHER = 256 * 1024
"""Bytes that a Python has at most whose code is in a library of its own."""

PROCESS_LIMITS = {
    "RLIMIT_CORE": 0,
    "RLIMIT_NOFILE": 4096,
    "RLIMIT_FSIZE": 2 * 1024**3,
    "RLIMIT_DATA": 4 * 1024**3,
}
"""Of each process: no cores, descriptors, bytes of one file, bytes of data."""

HOME_MARKS = (".ssh", ".config", ".cache", ".gnupg", ".profile", ".bashrc", ".zshrc", ".netrc")
"""What tells a home directory from other folders."""


def own_files(uid: int = 1000, gid: int = 1000) -> dict[str, str]:
    """Return files of /etc that are ours inside, whatever the host's say, for who runs there."""
    return {
        "passwd": (
            "root:x:0:0:root:/root:/usr/sbin/nologin\n"
            f"agent:x:{uid}:{gid}:agent:{HOME}:/bin/bash\n"
            "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        ),
        "group": f"root:x:0:\nagent:x:{gid}:\nnogroup:x:65534:\n",
        "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    }


def boot_id() -> str:
    """Return what tells this start of the machine from others; empty where nothing does."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def shell_limits(block: int) -> str:
    """Return the limits of each process as a shell sets them; data is counted in KiB.

    Args:
        block: bytes in which the shell counts the size of a file: 512 by POSIX, 1024 in bash.
    """
    limits = PROCESS_LIMITS
    return (
        f"ulimit -c {limits['RLIMIT_CORE']}; ulimit -n {limits['RLIMIT_NOFILE']}; "
        f"ulimit -f {limits['RLIMIT_FSIZE'] // block}; "
        f"ulimit -d {limits['RLIMIT_DATA'] // 1024}; "
    )


def toolchains(
    environment: Mapping[str, str], *, in_place: bool = False
) -> tuple[list[Mount], list[str]]:
    """Find what PATH names outside the system's folders.

    A prefix (``bin`` beside ``lib``) is shown whole, any other folder by itself; what lies below
    a home directory appears under another path, so that no host path is seen inside. Folders of
    shims are left out: they are scripts that point elsewhere.

    Args:
        environment: the host's.
        in_place: whether everything is seen where it is on the host after all.

    Returns:
        The mounts, and the folders to put in front of PATH inside.
    """
    mounts: list[Mount] = []
    path: list[str] = []
    home = os.path.realpath(environment.get("HOME") or "/nonexistent")
    for entry in environment.get("PATH", "").split(os.pathsep):
        folder = os.path.realpath(entry)
        system = folder.startswith(("/usr/", "/bin", "/sbin")) or folder == "/usr"
        # A folder that this user may not look into is as good as none: PATH may be another's.
        if not entry.startswith("/") or system or not os.path.isdir(folder):  # noqa: PTH112
            continue
        root = _root(Path(folder), home)
        if root is None or _lacks_its_python(Path(folder)):
            continue
        target = _target(root, home, len(mounts))
        moved = not in_place and target != str(root)
        if moved and _has_python_of_its_place(Path(folder)):
            continue
        if all(mount.source != str(root) for mount in mounts):
            mounts.append(Mount(str(root), target))
        mount = next(one for one in mounts if one.source == str(root))
        inside = mount.target + folder[len(str(root)) :]
        if inside not in path:
            path.append(inside)
    return mounts, path


def _root(folder: Path, home: str) -> Path | None:
    """Choose what to show of a PATH folder; never a home directory, nor what holds others."""
    if folder.name == "shims" or str(folder) in {"/", home} or _is_personal(folder):
        return None
    parent = folder.parent
    prefix = folder.name == "bin" and (parent / "lib").is_dir()
    private = str(parent) in {"/", home} or len(parent.parts) < 3 or _is_personal(parent)
    root = parent if prefix and not private else folder
    # Nothing that holds the home directory is shown, whatever PATH says.
    return None if Path(home).is_relative_to(root) else root


def _lacks_its_python(folder: Path) -> bool:
    """Tell whether it is a virtual environment whose interpreter is no part of the system.

    Its programs could be seen inside, and none of them would start.
    """
    if not (folder.parent / "pyvenv.cfg").is_file():
        return False
    python = os.path.realpath(folder / "python3")
    return not python.startswith(("/usr/", f"{folder.parent}/"))


def _has_python_of_its_place(folder: Path) -> bool:
    """Tell whether its Python looks for its library where it was built, as a shared build does.

    Under another path it would take the system's library, with modules that do not fit that.
    Source: elf(5); the path is DT_RUNPATH, and such a program is a few kilobytes.
    """
    python = folder / "python3"
    if not os.path.isfile(python):  # noqa: PTH113 - a pipe would be read from for ever
        return False
    try:
        with python.open("rb") as file:
            program = file.read(LAUNCHER + 1)
    except OSError:
        return False
    library = os.fsencode(f"{folder.parent}/lib")
    return len(program) <= LAUNCHER and b"\0libpython3" in program and library in program


def _is_personal(folder: Path) -> bool:
    """Tell whether a folder is somebody's home or holds their programs' data, whoever it is."""
    marks = (folder / mark for mark in HOME_MARKS)
    return folder.name == ".local" or any(os.path.lexists(mark) for mark in marks)


def _target(root: Path, home: str, number: int) -> str:
    elsewhere = str(root).startswith((f"{home}/", "/home/", "/root/", "/Users/", "/etc/"))
    return f"{TOOLCHAINS}/{number}-{root.name}" if elsewhere else str(root)
