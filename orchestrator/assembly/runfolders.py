"""The folders of runs: what stays of a workspace when a run has ended, and what a fork takes up."""

from __future__ import annotations

from pathlib import Path

from orchestrator.errors import ConfigError
from orchestrator.removal import copy_tree, remove_tree

WORKING = ("work", "home", "tmp", "collected.pack")


def workspace_parts(folder: Path) -> list[Path]:
    """Return what a run works with in its folder: places, checkouts of gates, seeds."""
    return [*folder.glob("place*"), *folder.glob("gates*"), *folder.glob("seed*")]


def strip(folder: Path) -> None:
    """Remove what an ended run worked with; the states of its turns stay, so that it can be forked.

    Raises:
        WorkspaceError: something of it cannot be removed.
    """
    current = current_place(folder)
    for part in workspace_parts(folder):
        if part != current or not (part / "git" / "orchestrate" / "snapshots").is_dir():
            remove_tree(part)
            continue
        for name in WORKING:
            remove_tree(part / name)


def current_place(folder: Path) -> Path | None:
    """Return the place of a run's workspace, if it has one."""
    try:
        name = (folder / "current").read_text(encoding="ascii").strip()
    except OSError:
        return None
    place = folder / name
    return place if name.startswith("place") and "/" not in name and place.is_dir() else None


def seed(parent: Path, fork: Path, kept: str) -> None:
    """Have a fork's workspace begin with what was kept of its parent's.

    Args:
        parent: the parent's folder.
        fork: the fork's folder.
        kept: the name of the state that the fork is put back to; empty where it begins with the
            files of the base.

    Raises:
        ConfigError: that state is no longer there.
        WorkspaceError: it cannot be copied.
    """
    fork.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = fork / "seed.new"
    target.mkdir(mode=0o700)
    if kept:
        place = current_place(parent)
        turn = kept.partition(":")[0]
        if place is None or not (place / "git/orchestrate/snapshots" / turn / "index").is_file():
            remove_tree(fork)
            raise ConfigError(
                f"the workspace of run {parent.name} as it was then is no longer kept",
                hint="fork at a later turn; `orchestrate runs gc` removes what ended runs left",
            )
        copy_tree(place / "git", target / "git")
    target.rename(fork / "seed")
