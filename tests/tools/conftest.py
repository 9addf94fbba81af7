"""Fixtures of the tool tests: places over real folders, a real ripgrep, a real workspace in git."""

from __future__ import annotations

import itertools
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator_tools.place import Place
from tests.tools.repos import Repo, make_repo


@pytest.fixture(scope="session")
def rg() -> str:
    """Return the path of the ripgrep that the project installs."""
    found = shutil.which("rg") or str(Path(sys.prefix) / "bin" / "rg")
    assert Path(found).is_file(), "ripgrep is a dependency of the project"
    return found


@pytest.fixture(scope="session")
def new_place(rg: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Place]:
    """Return a function that makes an empty workspace; property tests call it per example."""
    root = tmp_path_factory.mktemp("places").resolve()
    numbers = itertools.count()

    def make() -> Place:
        folder = root / str(next(numbers))
        work, scratch = folder / "work", folder / "tmp"
        work.mkdir(parents=True)
        scratch.mkdir()
        return Place(workspace=str(work), cwd=str(work), scratch=str(scratch), rg=rg, seen={})

    return make


@pytest.fixture
def place(new_place: Callable[[], Place]) -> Place:
    """Return a place over a new, empty workspace."""
    return new_place()


@pytest.fixture
def work(place: Place) -> Path:
    """Return the workspace of ``place``."""
    return Path(place.workspace)


@pytest.fixture
def new_repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Repo]:
    """Return a function that makes a private git directory, its work tree and one commit."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "agent")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "agent@orchestrate.invalid")

    def make(form: str = "sha1") -> Repo:
        return make_repo(tmp_path, form)

    return make


@pytest.fixture
def repo(new_repo: Callable[..., Repo]) -> Repo:
    """Return a private git directory with its work tree and one commit."""
    return new_repo()
