"""What the decoder of images and PDFs needs inside: its packages, and an interpreter for them.

The packages are looked up and shown, never imported: what is hostile is decoded behind the walls.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from functools import cache
from pathlib import Path

from orchestrator.records import Mount
from orchestrator.values import frozen

PACKAGES = ("PIL", "pypdfium2", "pypdfium2_raw", "pypdfium2_cfg")
SITE = "/opt/site"
PREFIX = "/opt/decoder"
LIBRARIES = ("libpython", "libffi", "libz.", "libexpat", "libbz2", "liblzma", "libcrypto")
"""What of an interpreter's own libraries is shown, where it is not the system's."""


@frozen
class Decoders:
    """What makes the decoder work in one kind of sandbox; both are empty where nothing does."""

    mounts: tuple[Mount, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


@cache
def decoders(*, maps_paths: bool) -> Decoders:
    """Return what a sandbox has to show, and what the tool server has to be told.

    Args:
        maps_paths: whether paths inside differ from those on the host.
    """
    folders = [folder for folder in map(_folder, PACKAGES) if folder is not None]
    if not folders:
        return Decoders()
    if not maps_paths:
        sites = dict.fromkeys(str(folder.parent) for folder in folders)
        return _told(os.pathsep.join(sites), sys.executable)
    # Compiled packages bring libraries in a folder beside them.
    libraries = folders[0].parent / "pillow.libs"
    shown = [*folders, libraries] if libraries.is_dir() else folders
    mounts = tuple(Mount(str(folder), f"{SITE}/{folder.name}", optional=True) for folder in shown)
    python, own = _interpreter()
    return Decoders((*mounts, *own), _told(SITE, python).environment)


def _told(site: str, python: str) -> Decoders:
    told = (("ORCHESTRATE_SITE", site), ("ORCHESTRATE_DECODER_PYTHON", python))
    return Decoders(environment=told)


def _folder(package: str) -> Path | None:
    """Return where a package lies, without importing it."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]).resolve()


def _interpreter() -> tuple[str, tuple[Mount, ...]]:
    """Choose the interpreter that the packages were compiled for: the system's, or this one."""
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    system = Path("/usr/bin") / name
    if os.access(system, os.X_OK) and not sysconfig.get_config_var("Py_GIL_DISABLED"):
        return str(system), ()
    own = Path(sys.executable).resolve()
    if own.is_relative_to("/usr"):
        return str(own), ()
    return f"{PREFIX}/bin/{own.name}", tuple(_parts(own, Path(sys.base_prefix).resolve()))


def _parts(own: Path, prefix: Path) -> list[Mount]:
    """Return what of an interpreter outside the system's folders has to be shown: no more."""
    mounts = [Mount(str(own), f"{PREFIX}/bin/{own.name}", optional=True)]
    standard = Path(os.__file__).resolve().parent
    mounts.append(Mount(str(standard), f"{PREFIX}/lib/{standard.name}", optional=True))
    for library in sorted((prefix / "lib").glob("lib*.so*")):
        if library.name.startswith(LIBRARIES):
            target = f"{PREFIX}/lib/{library.name}"
            mounts.append(Mount(str(library.resolve()), target, optional=True))
    return mounts
