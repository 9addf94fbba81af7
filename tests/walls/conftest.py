"""Fixtures of the walls' tests: one decision whether this machine can have walls at all."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from orchestrator import OpenToolbox, OpenWorkspace, open_toolbox, open_workspace
from orchestrator.sandboxes.probe import bwrap_candidates
from tests.builders import a_repository

OpenHere = Callable[[], AbstractAsyncContextManager[OpenToolbox]]
OpenRepository = Callable[[], AbstractAsyncContextManager[OpenWorkspace]]

BARE = ("--unshare-user", "--unshare-pid", "--unshare-net", "--ro-bind", "/", "/", "/bin/true")


@pytest.fixture(scope="session")
def bwrap() -> str:
    """Return a bubblewrap that works here; a machine that has none skips all tests aloud.

    It is tried bare, without the product's profile: a profile that is broken must fail tests.
    """
    said = "none is installed"
    for program in bwrap_candidates(os.environ):
        done = subprocess.run([program, *BARE], capture_output=True, check=False, env={})
        if done.returncode == 0:
            return program
        said = done.stderr.decode(errors="replace").strip()
    pytest.skip(f"NOT TESTED: bubblewrap cannot work on this machine: {said}")


@pytest.fixture(scope="session")
def state(bwrap: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a state directory that all tests share, so that the walls are proved once."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Return an empty folder for a toolbox to work in."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Return a folder of the host that no toolbox was given."""
    folder = tmp_path / "outside"
    folder.mkdir()
    return folder


@pytest.fixture
def open_here(work: Path, state: Path) -> OpenHere:
    """Return what opens a toolbox over ``work``."""
    return lambda: open_toolbox(work, state=state)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with one commit."""
    return a_repository(tmp_path / "repository", {"README.md": "# A project\n", "src/a.py": "A\n"})


@pytest.fixture
def open_repository(repository: Path, state: Path) -> OpenRepository:
    """Return what opens a workspace of ``repository``."""
    return lambda: open_workspace(repository, state=state)


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """Run a process of the host that attacks must neither see nor reach."""
    code = "import sys; sys.stdin.read()"
    argv = [sys.executable, "-c", code, f"bystander-{secrets.token_hex(8)}"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture
def marker() -> str:
    """Return a word that no other process of this machine has in its command line."""
    return f"marker-{secrets.token_hex(8)}"


@pytest.fixture
def first_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder whose programs are found before all others."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder
