"""The tools' own programs inside: where their code is shown, and how they are started."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.decoders import decoders
from orchestrator.ports import Sandbox
from orchestrator.records import Mount

LOAD = """import sys
sys.modules["orchestrator_tools"] = type(sys)("orchestrator_tools")
sys.modules["orchestrator_tools"].__path__ = [{folder!r}]"""
"""Makes the package, of which nothing but its rooms is needed, without a look at its folder's
neighbours, and without the half of the import system that does so."""


def tool_mounts() -> list[Mount]:
    """Return the mounts that show the tool server's code inside, and what its decoder needs."""
    import orchestrator_tools

    own = str(Path(orchestrator_tools.__file__).parent)
    shown = decoders(maps_paths=True).mounts
    return [Mount(own, "/opt/orchestrator/orchestrator_tools"), *shown]


def tool_environment(sandbox: Sandbox) -> Sequence[tuple[str, str]]:
    """Return the environment that tells the tool server where its decoder is."""
    return decoders(maps_paths=sandbox.maps_paths).environment


def boot_argv(sandbox: Sandbox, program: str = "server") -> Sequence[str]:
    """Return the command that starts one of the tools' own programs inside.

    Args:
        sandbox: where it will run.
        program: ``server``, or ``relay``, which takes another command as its arguments.
    """
    import orchestrator_tools

    if sandbox.maps_paths:
        load = "import sys\nsys.path.insert(0, '/opt/orchestrator')"
    else:
        # The folder that the package lies in need not be readable inside.
        own = str(Path(orchestrator_tools.__file__).parent)
        load = LOAD.format(folder=own)
    code = f"{load}\nfrom orchestrator_tools.{program} import main\nmain()"
    return (sandbox.python, "-I", "-S", "-c", code)
