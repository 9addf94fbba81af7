"""Ends all that an agent has left running, so that nothing else takes part in what follows."""

from __future__ import annotations

import os
import time

from orchestrator_tools.children import SIGKILL
from orchestrator_tools.errors import ToolError

WAITS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.0, 1.0)
EARLY = 9
"""The server is one of the first processes of its sandbox; nowhere else is its number so small."""


def end_the_rest() -> None:
    """End every process of this sandbox but the first one and this one.

    The kernel goes through all of them while none can be started, and one that is about to be
    ended starts no other: whatever forks as fast as it can is ended with the rest.

    Raises:
        ToolError: this is no sandbox with processes of its own, or one of them does not end.
    """
    if os.getppid() != 1 or os.getpid() > EARLY:
        raise ToolError("these processes are not ours alone")
    for wait in WAITS_S:
        try:
            os.kill(-1, SIGKILL)
        except ProcessLookupError:
            return
        except OSError as error:
            raise ToolError(f"something here cannot be ended: {error.strerror}") from None
        _reap()
        time.sleep(wait)
    raise ToolError("something here does not end")


def _reap() -> None:
    """Take leave of children that have ended: they count as processes until then."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return
