"""No walls at all: everything runs as the user. Only by an explicit choice of the user."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence

import anyio

from orchestrator.errors import SandboxUnavailable
from orchestrator.records import SandboxSpec
from orchestrator.sandboxes import inside
from orchestrator.sandboxes.bubblewrap import SandboxedProcess
from orchestrator.sandboxes.probe import find_rg


class UnconfinedSandbox:
    """Starts processes without walls, in a clean environment.

    Args:
        environment: the host's environment, of which only PATH is looked at.
    """

    name = "none: commands run without walls, as you"
    maps_paths = False

    def __init__(self, *, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._rg = ""

    async def check(self) -> str:
        """Find the programs; there are no walls to prove."""
        self._rg = find_rg(self._environment)
        return "no walls"

    @property
    def python(self) -> str:
        """Return the interpreter for the tool server."""
        return sys.executable

    async def start(
        self, argv: Sequence[str], spec: SandboxSpec, *, pass_fds: Sequence[int] = ()
    ) -> SandboxedProcess:
        """Start a process with a clean environment, and no walls."""
        if not self._rg:
            raise SandboxUnavailable("the sandbox has not been checked yet")
        values = dict(inside.ENVIRONMENT)
        values["ORCHESTRATE_RG"] = self._rg
        usual = self._environment.get("PATH", ":".join(inside.SYSTEM_PATH))
        values["PATH"] = ":".join([*spec.path, usual])
        try:
            process = await anyio.open_process(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=spec.cwd,
                env=values | dict(spec.environment),
                start_new_session=True,
                pass_fds=tuple(pass_fds),
            )
        except OSError as error:
            raise SandboxUnavailable(f"{argv[0]} cannot be started: {error.strerror}") from None
        return SandboxedProcess(process)
