"""A repository with a base and a branch, and gates that judge the one against the other."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestrator.assembly.machine import make_sandbox
from orchestrator.assembly.surroundings import _leaned_on
from orchestrator.change import CommittedChange
from orchestrator.ports import Gate, Sandbox
from orchestrator.records import Mount, Verdict
from orchestrator.repository import locate
from orchestrator.workspaces import Shared
from tests.builders import git, write_files
from tests.runs.conftest import proved

__all__ = ["Project", "ground", "project", "proved"]


def development() -> Shared:
    """Show this project's own development environment as the judged repository's ``.venv``."""
    venv = Path(sys.prefix)
    mounts = (Mount(str(venv), "/workspace/.venv"), *_leaned_on(venv, os.environ))
    return Shared((".venv",), mounts)


@dataclass
class Project:
    """A repository in the making.

    Attributes:
        top: its checkout.
        sandbox: the walls.
        shared: what is shown inside of tools.
    """

    top: Path
    sandbox: Sandbox
    shared: Shared = field(default_factory=Shared)
    commits: list[str] = field(default_factory=list)

    def commit(self, files: Mapping[str, str | bytes], *removed: str) -> str:
        """Commit files, and remove others; the first commit is the base."""
        if not self.commits:
            self.top.mkdir()
            git(self.top, "init", "--quiet", "--initial-branch=main")
        for name in removed:
            (self.top / name).unlink()
        write_files(self.top, files)
        git(self.top, "add", "--all", "--force")
        git(self.top, "commit", "--quiet", "--allow-empty", "--message=change")
        self.commits.append(git(self.top, "rev-parse", "HEAD"))
        return self.commits[-1]

    def change(self) -> CommittedChange:
        """Return the last commit as a change of the first."""
        commit = self.commits[-1]
        return CommittedChange(
            folder=self.top.parent / "gates",
            repository=locate(self.top),
            sandbox=self.sandbox,
            issue_key="1",
            branch="feature/1-a-wish",
            base=self.commits[0],
            commit=commit,
            tree=git(self.top, "rev-parse", f"{commit}^{{tree}}"),
            clock=time.monotonic,
            shared=self.shared,
        )

    async def judged(self, gate: Gate, branch: Mapping[str, str], *removed: str) -> Verdict:
        """Have a gate judge a branch that changes these files."""
        self.commit(branch, *removed)
        await self.sandbox.check()
        return await gate.judge(self.change())

    def equipped(self) -> Project:
        """Show the development tools inside."""
        self.shared = development()
        return self


@pytest.fixture(scope="session")
def ground(proved: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory on a machine whose walls have been proved."""
    state = tmp_path_factory.mktemp("state")
    shutil.copytree(proved / "sandbox", state / "sandbox")
    return state


@pytest.fixture
def project(tmp_path: Path, ground: Path) -> Project:
    """A repository that has no commit yet; of this machine's programs only the system's show."""
    sandbox = make_sandbox("auto", ground, {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})
    return Project(tmp_path / "project", sandbox)
