"""Whether a disk is full, as it is asked when something has failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import hostgit


def test_a_file_system_that_does_not_count_is_never_full() -> None:
    """One that tells of no blocks at all, as some networks' do, has no room and is not full."""
    assert not hostgit.is_full("/proc")


def test_what_is_not_there_is_not_full(tmp_path: Path) -> None:
    """Nobody is told of a full disk where the folder is the matter."""
    assert not hostgit.is_full(tmp_path / "nowhere")


@pytest.mark.parametrize("least", [0, 1 << 62])
def test_a_disk_is_full_below_the_least_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int
) -> None:
    """What is left is what counts, however large the disk is."""
    monkeypatch.setattr(hostgit, "LEAST_ROOM", least)
    assert hostgit.is_full(tmp_path) is (least > 0)
