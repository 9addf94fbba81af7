"""Folders that an agent has written to are removed whole, and nothing else is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from orchestrator.errors import WorkspaceError
from orchestrator.removal import DEEP, FEW, remove_tree


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The programs that were started, by name."""
    started: list[str] = []
    real = subprocess.run

    def run(command: list[str], **options: object) -> object:
        started.append(command[0])
        return real(command, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", run)
    return started


def a_tree(folder: Path, files: int = 5, depth: int = 2) -> Path:
    """Make a folder with files, links that lead out of it, and folders in each other."""
    outside = folder.parent / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "kept").touch()
    folder.mkdir()
    for number in range(files):
        (folder / f"file{number}").touch()
    (folder / "link").symlink_to(outside)
    (folder / "dangling").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    at = folder
    for number in range(depth):
        at /= f"d{number}"
        at.mkdir()
        (at / "na\udcffme").touch()
    return folder


def test_small_folders_are_removed_without_starting_anything(
    here: Path, programs: list[str]
) -> None:
    """What a link leads to stays; what is not there is no error."""
    remove_tree(a_tree(here / "a"), here / "none", a_tree(here / "b"))
    assert sorted(one.name for one in here.rglob("*")) == ["kept", "outside"]
    assert programs == []


@pytest.mark.parametrize(("files", "depth"), [(FEW + 1, 1), (1, DEEP + 2)])
def test_what_is_large_or_deep_is_removed_by_a_program(
    here: Path, programs: list[str], files: int, depth: int
) -> None:
    """One for all such folders."""
    remove_tree(*(a_tree(here / name, files, depth) for name in "abc"))
    assert sorted(one.name for one in here.rglob("*")) == ["kept", "outside"]
    assert programs == ["rm"]


def test_a_depth_that_no_path_can_name_is_removed(here: Path) -> None:
    """However deep a folder is, no recursion and no path is too long for it."""
    folder = a_tree(here / "a")
    at = os.open(folder, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("deep", dir_fd=at)
        below = os.open("deep", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    remove_tree(folder)
    assert not folder.exists()


def test_a_link_or_a_file_in_place_of_a_folder_is_removed_itself(here: Path) -> None:
    """What it leads to stays."""
    kept = a_tree(here / "kept-tree")
    (here / "link").symlink_to(kept)
    (here / "file").touch()
    remove_tree(here / "link", here / "file")
    assert not (here / "link").is_symlink() and not (here / "file").exists()
    assert (kept / "file0").exists()


def test_folders_that_nobody_may_read_are_removed(here: Path) -> None:
    """Modes are no way to keep something."""
    folder = a_tree(here / "a")
    (folder / "d0" / "d1").chmod(0)
    (folder / "d0").chmod(0)
    remove_tree(folder)
    assert not folder.exists()


def test_what_stays_is_told(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither way removes it, it is an error that names it."""
    folder = a_tree(here / "a", files=FEW)
    first = here / "bin"
    first.mkdir()
    (first / "rm").write_text("#!/bin/sh\necho cannot remove >&2\nexit 1\n")
    (first / "rm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{first}:{os.environ['PATH']}")
    with pytest.raises(WorkspaceError, match=r"/a cannot be removed: cannot remove"):
        remove_tree(folder)
