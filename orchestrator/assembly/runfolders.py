"""The folders of runs: what stays of a workspace when a run has ended, and what a fork takes up."""

from __future__ import annotations

from pathlib import Path

import anyio.to_thread
import orjson

from orchestrator.errors import ConfigError, WorkspaceError
from orchestrator.records import PARKED, Outcome, Run
from orchestrator.removal import copy_tree, remove_tree
from orchestrator.repository import Repository

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
    spent: list[Path] = []
    for part in workspace_parts(folder):
        if part != current or not (part / "git" / "orchestrate" / "snapshots").is_dir():
            spent.append(part)
        else:
            spent += [part / name for name in WORKING]
    remove_tree(*spent)


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


async def keep_report(repository: Repository, folder: Path, run: Run, outcome: Outcome) -> None:
    """Keep the report of a run beside it; drop what nothing needs any more.

    A workspace whose work could not be brought out stays: the outcome names it.
    """
    from orchestrator.delivery import render_report

    report = render_report(run.issue, outcome)
    try:
        (folder / "report.md").write_text(report, encoding="utf-8")
        (folder / "outcome.json").write_bytes(orjson.dumps(outcome, option=orjson.OPT_INDENT_2))
        if outcome.status not in PARKED:
            await anyio.to_thread.run_sync(_drop, repository, folder, run, outcome)
    except (OSError, WorkspaceError):
        return  # the outcome is in the journal; what is beside it is a convenience


def _drop(repository: Repository, folder: Path, run: Run, outcome: Outcome) -> None:
    """Drop what nothing needs of a run that has ended."""
    if not any(str(folder) in one for one in (*outcome.notes, outcome.hint)):
        strip(folder)
    # The delivered branch holds done work; other work stays under its head ref.
    ours = f"refs/orchestrate/{run.run_id}/"
    for prefix in [ours] if outcome.status == "done" else [f"{ours}base", f"{ours}moved"]:
        repository.delete_refs(prefix)
