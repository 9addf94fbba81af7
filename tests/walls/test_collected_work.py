"""What comes out of a workspace: which commits, onto which refs, in which form."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import ConfigError, WorkspaceError
from tests.builders import a_commit, git
from tests.walls.conftest import OpenRepository
from tests.walls.inside import done, sh
from tests.walls.outside import differences, photograph

OURS = (".git/refs/orchestrate", ".git/logs/refs/orchestrate")


@pytest.fixture
def repository(repository: Path) -> Path:
    """Return a repository with a history, a branch and a tag."""
    git(repository, "branch", "topic")
    git(repository, "tag", "v0")
    for number in range(3):
        a_commit(repository, {"src/a.py": f"{number}\n"})
    return repository


@pytest.mark.asyncio
async def test_work_without_a_change_collects_the_base(
    repository: Path, open_repository: OpenRepository
) -> None:
    """Where nothing was done, the ref is set to the base itself."""
    async with open_repository() as workspace:
        commit = await workspace.collect("refs/heads/feature/out")
        assert commit == workspace.base == git(repository, "rev-parse", "HEAD")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "command",
    [
        "git checkout -q --orphan other; git commit -qm orphan",
        "git commit -q --amend -m amended",
        "git reset -q --hard HEAD~2; git commit -q --allow-empty -m back",
        "git checkout -q --detach $(git commit-tree HEAD^{tree} -m new); echo > .git/x",
    ],
)
async def test_a_history_that_leaves_the_base_is_flattened(
    command: str, repository: Path, open_repository: OpenRepository
) -> None:
    """A head that does not descend from the base comes out as one commit of its tree on it."""
    async with open_repository() as workspace:
        await sh(workspace.toolbox, command)
        tree = await done(workspace.toolbox, "echo x > more; git add -A; git write-tree")
        commit = await workspace.collect("refs/heads/feature/out")
    assert git(repository, "log", "-1", "--format=%P %T", commit) == f"{workspace.base} {tree}"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "command",
    [
        "true",
        "git -C sub add -A; git -C sub commit -qm x",
        "git -C sub add -A; git -C sub commit -qm x; git add sub; git commit -qm gitlink",
        "git config --global advice.addEmbeddedRepo false; git -C sub add -A; git -C sub commit -qm x",
        "git init -q sub/deep; echo d > sub/deep/d; git -C sub add file; git -C sub commit -qm x",
        "git init -q --separate-git-dir /tmp/elsewhere sub; git -C sub commit -q --allow-empty -m x",
    ],
    ids=["unborn", "born", "committed", "advice off", "two deep", "git file"],
)
async def test_repositories_inside_come_out_as_plain_files(
    command: str, repository: Path, open_repository: OpenRepository
) -> None:
    """The files of a repository that was made inside are delivered, never a link to nothing."""
    async with open_repository() as workspace:
        await done(workspace.toolbox, f"git init -q sub; echo content > sub/file; {command}")
        commit = await workspace.collect("refs/heads/feature/out")
    listed = git(repository, "ls-tree", "-r", commit, "sub")
    assert "160000" not in listed
    assert git(repository, "show", f"{commit}:sub/file") == "content"


@pytest.mark.asyncio
@pytest.mark.parametrize("ref", ["refs/heads/topic", "refs/tags/v0", "refs/stash"])
async def test_a_ref_that_is_something_else_is_not_moved(
    ref: str, repository: Path, open_repository: OpenRepository
) -> None:
    """A ref that the work does not continue stays, and the caller is told."""
    git(repository, "update-ref", ref, git(repository, "commit-tree", "HEAD^{tree}", "-m", "other"))
    before = git(repository, "rev-parse", ref)
    async with open_repository() as workspace:
        await done(workspace.toolbox, "echo x > x")
        with pytest.raises(WorkspaceError, match="does not continue"):
            await workspace.collect(ref)
    assert git(repository, "rev-parse", ref) == before


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "ref", ["feature/x", "HEAD", "", "refs/heads/../../config", "refs/heads/a..b"]
)
async def test_a_name_that_is_no_ref_is_refused(
    ref: str, repository: Path, open_repository: OpenRepository
) -> None:
    """Only full, valid ref names are written to."""
    before = photograph(repository, leave_out=OURS)
    async with open_repository() as workspace:
        with pytest.raises((ConfigError, WorkspaceError)):
            await workspace.collect(ref)
    assert differences(before, photograph(repository, leave_out=OURS)) == []
