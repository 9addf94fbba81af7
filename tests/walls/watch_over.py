"""Starts a host process, kills it after a while, and sees all that it started end.

    python watch_over.py SECONDS start|seen WORDS... -- PROGRAM ARGUMENTS...

The seconds are counted from its start, or from when one of the words was seen for the first time.
Whatever outlives the host becomes a child of this process, which is not done before the last of
them has ended. Words are looked for in command lines and environments while the host lives, so
that it can be told what was going on when it was killed.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
PATIENCE_S = 60
LOOK_S = 0.02


def below(pid: int) -> list[int]:
    """Return the descendants of a process."""
    found = [pid]
    for one in found:
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found[1:]


def groups_of(pids: list[int]) -> set[str]:
    """Return the control groups that some processes are in."""
    found = set()
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
                found.add(line.rpartition("/")[2])
    return {name for name in found if name.startswith("orchestrate-")}


def told_in(pids: list[int], word: str) -> bool:
    """Tell whether a word stands in a command line or an environment of some processes."""
    for pid in pids:
        for name in ("cmdline", "environ"):
            with suppress(OSError):
                if word.encode() in Path(f"/proc/{pid}/{name}").read_bytes():
                    return True
    return False


def until_seen(host: subprocess.Popen[bytes], words: list[str]) -> None:
    """Wait until the host, however busy the machine is, has started one of the words."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        with suppress(subprocess.TimeoutExpired):
            host.wait(LOOK_S)
            return
        pids = [one for one in below(os.getpid()) if one != host.pid]
        if any(told_in(pids, word) for word in words):
            return


def main() -> None:
    """Do it, and print what was seen as JSON."""
    split = sys.argv.index("--")
    seconds, since, words = float(sys.argv[1]), sys.argv[2], sys.argv[3:split]
    command = sys.argv[split + 1 :]
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    host = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    if since == "seen":
        until_seen(host, words)
    with suppress(subprocess.TimeoutExpired):
        host.wait(seconds)
    pids = below(os.getpid())
    seen = {
        "processes": len(pids),
        "groups": sorted(groups_of(pids)),
        "words": [word for word in words if told_in(pids, word)],
    }
    host.kill()
    signal.alarm(PATIENCE_S)  # ends this process: it then says nothing, which fails the test
    seen["status"] = host.wait()
    with suppress(ChildProcessError):
        while True:
            os.wait()
    signal.alarm(0)
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
