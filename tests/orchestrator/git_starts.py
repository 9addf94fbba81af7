"""A repository with folders, and how often git is started for it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.builders import a_repository, git


def starts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have every start of git noted from now on, and return the file that names their first words.

    Args:
        folder: where that is done.
    """
    first = folder / "first"
    first.mkdir()
    (first / "git").write_text(
        f'#!/bin/sh\necho "$1" >> "{first}/started"\nexec {shutil.which("git")} "$@"\n'
    )
    (first / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{first}:{os.environ['PATH']}")
    return first / "started"


def with_folders(path: Path) -> Path:
    """Make a repository with one commit of some files, in folders and beside them."""
    files = {f"src/part{number}/f{at}.py": "" for number in range(5) for at in range(3)}
    files = {name: f"{name}\n" for name in files}
    return a_repository(path, {"a.txt": "one\n", "src.txt": "s\n", **files})


def head_of(repo: Path) -> str:
    """Return the commit that is checked out."""
    return git(repo, "rev-parse", "HEAD")
