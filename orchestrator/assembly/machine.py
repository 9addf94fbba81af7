"""What the runtime finds on the machine: its walls, its state directory, its own files."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

from orchestrator.errors import ConfigError, JournalError
from orchestrator.ports import Sandbox
from orchestrator.sandboxes.watch import Limits
from orchestrator.settings import Backend, SandboxSettings

BACKENDS: tuple[str, ...] = get_args(Backend)
PACKAGE = Path(__file__).parent.parent

GET_FLAGS, SET_FLAGS, TOP_FOLDER = 0x80086601, 0x40086602, 0x00020000
"""Source: ioctl_iflags(2), and ``T`` in chattr(1)."""


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
        spread(folder / "runs")
    except OSError as error:
        raise JournalError(
            f"the state directory {folder} cannot be used: {error.strerror}",
            hint="make it writable, or choose another with --state",
        ) from None


def spread(folder: Path) -> None:
    """Have what is made in a folder lie apart on the disk, where its file system can do so.

    ext4 else puts all runs into one group of inodes. Where it has no journal, as in many virtual
    machines, a new file there has to step over each one that was removed in the last minutes.
    """
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags: int = struct.unpack("i", fcntl.ioctl(opened, GET_FLAGS, bytes(4)))[0]
        if not flags & TOP_FOLDER:
            fcntl.ioctl(opened, SET_FLAGS, struct.pack("i", flags | TOP_FOLDER))
    except OSError:
        return  # another file system
    finally:
        os.close(opened)


def chosen_walls(settings: SandboxSettings, flag: str | None) -> SandboxSettings:
    """Return the settings of the walls with what the command line says in front.

    Raises:
        ConfigError: there is no such back end.
    """
    if flag is None:
        return settings
    if flag not in BACKENDS:
        raise ConfigError(
            f"sandbox.backend: there is no {flag!r}", hint=f"one of {', '.join(BACKENDS)}"
        )
    return replace(settings, backend=cast("Backend", flag))


def make_sandbox(
    wanted: SandboxSettings | str, state: Path, environment: Mapping[str, str] | None = None
) -> Sandbox:
    """Return the walls that the settings name; a name alone means that back end's defaults.

    Raises:
        ConfigError: there are none of that name, or a setting does not go with them.
    """
    settings = chosen_walls(SandboxSettings(), wanted) if isinstance(wanted, str) else wanted
    backend = settings.backend
    environment = os.environ if environment is None else environment
    if settings.run_as and backend not in {"auto", "bubblewrap"}:
        raise ConfigError(
            f"sandbox.run_as does not go with sandbox.backend {backend}",
            hint="use bubblewrap, or leave run_as out",
        )
    match backend:
        case "auto" | "bubblewrap":
            from orchestrator.sandboxes.bubblewrap import BubblewrapSandbox
            from orchestrator.sandboxes.identity import chosen

            return BubblewrapSandbox(
                state=state,
                environment=environment,
                limits=_limits(settings),
                user=chosen(settings.run_as),
            )
        case "landlock":
            from orchestrator.sandboxes.landlock import LandlockSandbox

            return LandlockSandbox(state=state, environment=environment, limits=_limits(settings))
        case "container":
            if not settings.image:
                raise ConfigError(
                    "sandbox.image: a container needs an image",
                    hint="name one that holds bash, git and python3 in your own config.yaml",
                )
            from orchestrator.sandboxes.container import ContainerSandbox

            return ContainerSandbox(
                state=state,
                environment=environment,
                image=settings.image,
                engine=settings.engine,
                limits=_limits(settings),
            )
        case "external" | "none":
            from orchestrator.sandboxes.unconfined import UnconfinedSandbox

            return UnconfinedSandbox(environment=environment, external=backend == "external")


def _limits(settings: SandboxSettings) -> Limits:
    return Limits(memory_mb=settings.memory_mb, disk_free_mb=settings.disk_free_mb)
