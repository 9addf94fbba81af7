"""A stand-in for a container engine, for machines that have none.

It is a program named ``docker`` that takes the very command line, notes it, and runs the command
behind bubblewrap, with the machine's own /usr as the image. A flag that it does not know is an
error. It proves what this project says to an engine, not what an engine makes of it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

PROGRAM = """#!{python}
import csv, json, os, signal, subprocess, sys

HERE = {here!r}
given = sys.argv[1:]
with open(HERE + "/asked", "a") as log:
    log.write(json.dumps(given) + "\\n")

def pid_of(name):
    with open(HERE + "/running/" + name) as file:
        return int(file.read())

def main():
    verb = given[0]
    if verb == "version":
        print("stand-in 1.0")
    elif given[:2] == ["image", "inspect"]:
        if given[2] != "tools:1":
            sys.exit("Error: No such image: " + given[2])
    elif verb == "ps":
        print("\\n".join(os.listdir(HERE + "/running")))
    elif verb in ("kill", "rm"):
        try:
            os.kill(pid_of(given[-1]), signal.SIGKILL)
        except (OSError, ValueError):
            sys.exit("Error: No such container: " + given[-1])
        if verb == "rm":
            os.unlink(HERE + "/running/" + given[-1])
    elif verb == "run":
        run(given[1:])
    else:
        sys.exit("unknown command " + verb)

ALONE = ("--rm", "--interactive", "--read-only")
EXPECTED = {{
    "--pull": "never", "--network": "none", "--cap-drop": "ALL", "--pids-limit": "512",
    "--ipc": "private", "--shm-size": "1g", "--hostname": "sandbox",
}}

def run(rest):
    values, mounts, variables, alone = {{}}, [], [], set()
    security = []
    while rest[0].startswith("--"):
        flag = rest.pop(0)
        if flag in ALONE:
            alone.add(flag)
            continue
        value = rest.pop(0)
        if flag == "--mount":
            mounts.append(next(csv.reader([value])))
        elif flag == "--env":
            variables.append(value.split("=", 1))
        elif flag == "--security-opt":
            security.append(value)
        elif flag in ("--name", "--memory", "--memory-swap", "--user", "--tmpfs", "--workdir",
                      "--entrypoint") or EXPECTED.get(flag) == value:
            values[flag] = value
        else:
            sys.exit("unknown flag " + flag + " " + value)
    missing = [one for one in ALONE if one not in alone] + [one for one in EXPECTED if one not in values]
    if missing or "no-new-privileges" not in security:
        sys.exit("not asked for: " + " ".join(missing))
    image = rest.pop(0)
    uid, gid = values["--user"].split(":")
    argv = [{bwrap!r}, "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc",
            "--unshare-uts", "--hostname", "sandbox", "--cap-drop", "ALL", "--uid", uid,
            "--gid", gid, "--clearenv", "--die-with-parent", "--ro-bind", "/usr", "/usr",
            "--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev",
            "--tmpfs", "/run", "--dir", "/etc"]
    for name in ("bin", "sbin", "lib", "lib64"):
        if os.path.islink("/" + name):
            argv += ["--symlink", os.readlink("/" + name), "/" + name]
        elif os.path.isdir("/" + name):
            argv += ["--ro-bind", "/" + name, "/" + name]
    for fields in mounts:
        parts = dict(one.partition("=")[::2] for one in fields)
        assert parts["type"] == "bind"
        verb = "--ro-bind" if "readonly" in parts else "--bind"
        argv += [verb, parts["source"], parts["target"]]
    for name, value in variables:
        argv += ["--setenv", name, value]
    argv += ["--remount-ro", "/", "--chdir", values["--workdir"], "--", values["--entrypoint"], *rest]
    place = HERE + "/running/" + values["--name"]
    process = subprocess.Popen(argv)
    with open(place, "w") as file:
        file.write(str(process.pid))
    status = process.wait()
    try:
        os.unlink(place)
    except OSError:
        pass
    sys.exit(status if status >= 0 else 128 - status)

main()
"""


def a_stand_in(folder: Path, bwrap: str) -> Path:
    """Write the program, to be put in front of PATH; return its folder."""
    (folder / "running").mkdir(parents=True)
    program = folder / "docker"
    text = PROGRAM.format(python=sys.executable, here=str(folder), bwrap=bwrap)
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)
    return folder


def asked(folder: Path) -> list[list[str]]:
    """Return every command line that the stand-in was given."""
    lines = (folder / "asked").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
