"""How Python runs in a process that is there for runs alone: the command's, or a program's own."""

from __future__ import annotations

import contextlib
import gc
import resource
import sys

THRESHOLDS = (20_000, 50, 100)
"""Objects between two looks of the collector: a look at a hundred runs takes tens of ms."""
SWITCH_S = 0.001
"""How long a thread waits for one that computes; Python's own 5 ms is longer than most turns."""
FILES = 65_536
"""Open files that are enough for thousands of runs; each has about eight."""


def tune_process() -> None:
    """Have this process spend its time on runs; for programs that embed them and do little else.

    What is loaded by now is never looked at by the garbage collector again, which from now on
    collects seldom, threads hand over to each other sooner, and as many files may be open as the
    machine lets it have. Without it all works the same, as long as a hundred runs at once have a
    thousand open files; they take some percent longer.
    """
    may_have, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
    if may_have != resource.RLIM_INFINITY and may_have < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    gc.enable()
    sys.setswitchinterval(SWITCH_S)
