"""No walls of ours: everything runs as the user. Only by an explicit choice of the user."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from orchestrator.errors import SandboxUnavailable
from orchestrator.records import SandboxSpec
from orchestrator.sandboxes import inside
from orchestrator.sandboxes.probe import find_rg
from orchestrator.sandboxes.process import SandboxedProcess, open_piped


class UnconfinedSandbox:
    """Starts processes without walls, in a clean environment.

    Args:
        environment: the host's environment, of which only PATH is looked at.
        external: whether the user says that all of this runs inside walls of their own.
    """

    maps_paths = False
    own_processes = False
    owner: tuple[int, int] | None = None

    def __init__(self, *, environment: Mapping[str, str], external: bool = False) -> None:
        self._environment = environment
        self._rg = ""
        if external:
            self.name = "external"
            self.gaps: tuple[str, ...] = (
                "no walls of ours: you say that all of this runs inside a container or VM of yours",
                "commands can read and change all that this process can, its credentials too",
            )
        else:
            self.name = "none"
            self.gaps = ("no walls: commands run as you, with your files and your network",)

    async def check(self) -> str:
        """Find the programs; there are no walls to prove."""
        self._rg = find_rg(self._environment)
        return "no walls" if self.name == "none" else "walls of the user's own, not looked at"

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
            process = await open_piped(
                list(argv),
                cwd=spec.cwd,
                env=values | dict(spec.environment),
                pass_fds=tuple(pass_fds),
            )
        except OSError as error:
            raise SandboxUnavailable(f"{argv[0]} cannot be started: {error.strerror}") from None
        return SandboxedProcess(process)
