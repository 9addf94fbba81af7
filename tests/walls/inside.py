"""What is played inside the walls: commands and small programs, through the public tools."""

from __future__ import annotations

import shlex

from orchestrator import OpenToolbox, ToolResult

SAFETY_MS = 60_000
"""Milliseconds after which a command that hangs is ended; no test measures them."""

PRELUDE = """\
import ctypes, errno, os, signal, socket, stat, struct, sys
libc = ctypes.CDLL(None, use_errno=True)

def call(number, *arguments):
    "Make a system call; return the name of its error, or OK."
    ctypes.set_errno(0)
    done = libc.syscall(ctypes.c_long(number), *[
        one if isinstance(one, (bytes, ctypes.Array)) else ctypes.c_long(one) for one in arguments
    ])
    return "OK" if done >= 0 else errno.errorcode[ctypes.get_errno()]

def attempt(do):
    "Do something; return the name of its error, or OK."
    try:
        do()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "OK"
"""


async def sh(toolbox: OpenToolbox, command: str, milliseconds: int = SAFETY_MS) -> ToolResult:
    """Run a command inside, whether it fails or not."""
    return await toolbox.call("Bash", {"command": command, "timeout": milliseconds})


async def done(toolbox: OpenToolbox, command: str) -> str:
    """Run a command inside that must succeed, and return what it printed."""
    result = await sh(toolbox, command)
    assert not result.is_error, f"{command}\n{result.text}"
    return "" if result.text == "(no output)" else result.text


async def python(toolbox: OpenToolbox, code: str, *arguments: object) -> ToolResult:
    """Run a program inside, with ``call`` and ``attempt`` at hand."""
    given = shlex.join(map(str, arguments))
    return await sh(toolbox, f"python3 - {given} <<'END-OF-CODE'\n{PRELUDE}\n{code}\nEND-OF-CODE")
