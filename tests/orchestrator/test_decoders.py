"""What is shown inside for the decoder: its packages, and an interpreter that fits them."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import decoders as room
from orchestrator.decoders import PREFIX, SITE, decoders
from orchestrator.records import Mount
from orchestrator.sandboxes.probe import bwrap_candidates


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What one test finds is not remembered for the next."""
    decoders.cache_clear()
    yield
    decoders.cache_clear()


def test_shows_the_packages_and_nothing_beside_them() -> None:
    """Each package is a mount of its own, read-only."""
    found = decoders(maps_paths=True)
    packages = [mount for mount in found.mounts if mount.target.startswith(f"{SITE}/")]
    names = {mount.target.removeprefix(f"{SITE}/") for mount in packages}
    assert {"PIL", "pypdfium2", "pypdfium2_raw"} <= names
    assert all(Path(mount.source).is_dir() and not mount.writable for mount in found.mounts[:3])
    assert dict(found.environment)["ORCHESTRATE_SITE"] == SITE


def test_names_the_host_s_own_without_walls() -> None:
    """Where paths are not mapped, nothing is mounted and this interpreter decodes."""
    found = decoders(maps_paths=False)
    told = dict(found.environment)
    assert found.mounts == ()
    assert told["ORCHESTRATE_DECODER_PYTHON"] == sys.executable
    assert (Path(told["ORCHESTRATE_SITE"].split(os.pathsep)[0]) / "PIL").is_dir()


def test_says_nothing_where_there_are_no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither is installed nothing is shown, and nothing fails."""
    monkeypatch.setattr(room, "PACKAGES", ("no_such_package", "no.such.package"))
    assert decoders(maps_paths=True) == room.Decoders()
    assert decoders(maps_paths=False) == room.Decoders()


def own_interpreter(monkeypatch: pytest.MonkeyPatch) -> tuple[str, tuple[Mount, ...]]:
    """Choose as on a machine whose system has no interpreter of this version."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    if Path(sys.executable).resolve().is_relative_to("/usr"):
        pytest.skip("NOT TESTED: this interpreter is the system's own")
    return room._interpreter()


def test_shows_an_interpreter_of_its_own_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter outside the system's folders is shown by its parts, not by its folder."""
    python, mounts = own_interpreter(monkeypatch)
    assert python.startswith(f"{PREFIX}/bin/python")
    base = str(Path(sys.base_prefix).resolve())
    assert base not in {mount.source for mount in mounts}
    assert all(mount.target.startswith(f"{PREFIX}/") for mount in mounts)
    assert not any(mount.writable for mount in mounts)


def test_an_interpreter_in_parts_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing but those parts and the packages, the packages can be imported."""
    bwrap = bwrap_candidates(os.environ)[0]
    bare = [bwrap, "--unshare-user", "--ro-bind", "/", "/", "/bin/true"]
    if subprocess.run(bare, capture_output=True, check=False).returncode:
        pytest.skip("NOT TESTED: bubblewrap cannot work on this machine")
    python, mounts = own_interpreter(monkeypatch)
    shown = [*mounts, *(one for one in decoders(maps_paths=True).mounts if SITE in one.target)]
    flags = ["--unshare-user", "--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev"]
    for name in ("lib", "lib64", "bin"):
        if Path("/", name).is_symlink():
            flags += ["--symlink", str(Path("/", name).readlink()), f"/{name}"]
        elif Path("/", name).is_dir():
            flags += ["--ro-bind", f"/{name}", f"/{name}"]
    for mount in shown:
        flags += ["--ro-bind", mount.source, mount.target]
    code = f"import sys; sys.path.append({SITE!r}); import PIL.Image, pypdfium2; print(sys.version_info[:2])"
    argv = [bwrap, *flags, "--", python, "-I", "-S", "-B", "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={})
    assert done.stdout == f"{sys.version_info[:2]}\n", done.stderr


def test_prefers_the_system_s_interpreter_of_the_same_version() -> None:
    """Where the system has this very version nothing of this one is shown."""
    system = Path(f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}")
    if not system.exists() or sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip(f"NOT TESTED: there is no {system}")
    assert room._interpreter() == (str(system), ())
