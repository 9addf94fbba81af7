"""Runs lie apart on the disk where the file system can do so; elsewhere nothing is amiss."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from orchestrator.assembly.machine import make_private, spread


def kind_of(folder: Path) -> str:
    """Return the kind of a folder's file system."""
    command = ["stat", "-f", "-c", "%T", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(shutil.which("lsattr") is None, reason="NOT TESTED: there is no lsattr")
def test_the_folder_of_runs_is_marked_and_none_of_its_runs(tmp_path: Path) -> None:
    """Another program sees the mark on ext4, set once and for all, and on that folder alone."""
    if kind_of(tmp_path) != "ext2/ext3":
        pytest.skip("NOT TESTED: no ext4 here")
    for _ in range(2):
        make_private(tmp_path / "state")
    (tmp_path / "state" / "runs" / "one").mkdir()
    folders = [tmp_path / "state" / name for name in ("runs", "runs/one", "sandbox")]
    said = subprocess.run(
        ["lsattr", "-d", *map(str, folders)], capture_output=True, text=True, check=True
    ).stdout
    marked = ["T" in line.split()[0] for line in said.splitlines()]
    assert marked == [True, False, False]


def test_a_file_system_without_such_marks_is_left_alone() -> None:
    """Where the mark is unknown the folder is used as it is."""
    shm = Path("/dev/shm")
    if not shm.is_dir() or kind_of(shm) != "tmpfs":
        pytest.skip("NOT TESTED: no tmpfs here")
    with tempfile.TemporaryDirectory(dir=shm) as folder:
        spread(Path(folder))
        (Path(folder) / "run").mkdir()
        assert [one.name for one in Path(folder).iterdir()] == ["run"]


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """What cannot be opened cannot be used."""
    with pytest.raises(FileNotFoundError):
        spread(tmp_path / "gone")
