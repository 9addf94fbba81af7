"""What the runtime finds on the machine: its walls, its state directory, its own files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from orchestrator.errors import ConfigError, JournalError
from orchestrator.ports import Sandbox

PACKAGE = Path(__file__).parent.parent


def bundled(name: str) -> Path:
    """Return a file or folder that comes with the package, installed or in a checkout."""
    installed = PACKAGE / "bundle" / name
    return installed if installed.exists() else PACKAGE.parent / name


def make_private(folder: Path) -> None:
    """Make the state directory, readable by its owner alone.

    Raises:
        JournalError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "sandbox").mkdir(exist_ok=True, mode=0o700)
        (folder / "runs").mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise JournalError(
            f"the state directory {folder} cannot be used: {error.strerror}",
            hint="make it writable, or choose another with --state",
        ) from None


def make_sandbox(
    backend: str, state: Path, environment: Mapping[str, str] | None = None
) -> Sandbox:
    """Return the walls that the settings name.

    Raises:
        ConfigError: there are none of that name.
    """
    environment = os.environ if environment is None else environment
    match backend:
        case "auto" | "bubblewrap":
            from orchestrator.sandboxes.bubblewrap import BubblewrapSandbox

            return BubblewrapSandbox(state=state, environment=environment)
        case "none":
            from orchestrator.sandboxes.unconfined import UnconfinedSandbox

            return UnconfinedSandbox(environment=environment)
        case other:
            raise ConfigError(f"sandbox.backend: there is no {other!r}")
