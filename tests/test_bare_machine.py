"""A bare machine: a minimal Debian with python3-venv, git and make, a normal user, an empty home."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from orchestrator.sandboxes.probe import bwrap_candidates

PROJECT = Path(__file__).parents[1]
PACKAGES = "python3,python3-venv,git,make,ca-certificates"
USER = 1001


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file system of a machine on which nothing else is installed."""
    if os.getuid() != 0 or shutil.which("mmdebstrap") is None:
        pytest.skip("needs root and mmdebstrap (apt-get install mmdebstrap)")
    folder = tmp_path_factory.mktemp("machine") / "root"
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}"]
    made = subprocess.run([*command, "bookworm", str(folder)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"no Debian to be had: {made.stderr.decode(errors='replace')[-300:]}")
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", folder / "etc" / name)
    trusted = "etc/ssl/certs/ca-certificates.crt"
    shutil.copy(Path("/", trusted), folder / trusted)
    with (folder / "etc/passwd").open("a", encoding="ascii") as file:
        file.write(f"dev:x:{USER}:{USER}::/home/dev:/bin/bash\n")
    return folder


@pytest.mark.heavy
def test_the_demo_needs_python_git_and_make_only(root: Path) -> None:
    """From a clean clone with an empty home, `make demo` sets everything up and resolves the issue."""
    home = root / "home" / "dev"
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(home / "project")], check=True)
    subprocess.run(["chown", "-R", f"{USER}:{USER}", str(home)], check=True)
    (root / "tmp").chmod(0o1777)
    container = bwrap_candidates(os.environ)[0]
    inside = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "make", "demo"]
    settings = ["--clearenv", "--setenv", "HOME", "/home/dev", "--setenv", "PATH", "/usr/bin:/bin"]
    mounts = ["--bind", str(root), "/", "--dev", "/dev", "--proc", "/proc"]
    done = subprocess.run(
        [
            container,
            *mounts,
            *settings,
            "--chdir",
            "/home/dev/project",
            "--unshare-pid",
            "--",
            *inside,
        ],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "gate tests: passed (6 tests executed)" in done.stderr
    assert "done: issue 1" in done.stdout
