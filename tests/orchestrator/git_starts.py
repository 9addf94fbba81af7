"""Notes how often git is started."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


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
