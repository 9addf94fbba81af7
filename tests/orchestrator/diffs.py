"""A real repository with a base and a commit on it, as gates that read the change see them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import anyio

from orchestrator.change import CommittedChange
from orchestrator.ports import Gate
from orchestrator.records import Verdict
from orchestrator.repository import locate
from orchestrator.sandboxes.unconfined import UnconfinedSandbox
from tests.builders import a_commit, a_repository, git

Files = Mapping[str, str | bytes | None]
"""Paths and contents; None removes the file."""


class Work:
    """A repository whose base is given, and on which commits are made.

    Args:
        folder: a new one.
        base: the files of the base commit.
    """

    def __init__(self, folder: Path, base: Files) -> None:
        self.path = a_repository(folder, {k: v for k, v in base.items() if v is not None})
        self.base = git(folder, "rev-parse", "HEAD")

    def commit(self, files: Files) -> None:
        """Make a commit."""
        for name, content in files.items():
            if content is None:
                (self.path / name).unlink()
        a_commit(self.path, {k: v for k, v in files.items() if v is not None})

    def change(self, issue: str = "7") -> CommittedChange:
        """Return what was committed since the base."""
        repository = locate(self.path)
        head = git(self.path, "rev-parse", "HEAD")
        return CommittedChange(
            folder=self.path.parent / "gates",
            repository=repository,
            sandbox=UnconfinedSandbox(environment=os.environ),
            issue_key=issue,
            branch=f"feature/{issue}-work",
            base=self.base,
            commit=head,
            tree=repository.tree(head),
            clock=time.monotonic,
        )

    def judged(self, gate: Gate, issue: str = "7") -> Verdict:
        """Let a gate judge what was committed since the base."""
        return anyio.run(gate.judge, self.change(issue))


def judged(folder: Path, gate: Gate, base: Files, *commits: Files) -> Verdict:
    """Build a repository in a folder and let a gate judge the commits on its base."""
    work = Work(folder / "judged", base)
    for files in commits:
        work.commit(files)
    return work.judged(gate)


def places(verdict: Verdict) -> list[str]:
    """Return file and line of all findings."""
    lines = [line for line in verdict.details.splitlines() if not line.startswith("note: ")]
    return [line.partition(": ")[0] for line in lines]
