"""The branch name to use: as wanted, or with the first suffix that is free."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import RepositoryRefused
from orchestrator.repository import Repository, locate
from tests.builders import a_commit, a_repository, git

WANTED = "feature/7-totals"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with two commits."""
    path = a_repository(tmp_path / "repo")
    a_commit(path, {"a.txt": "two\n"})
    return path


def free(path: Path, wanted: str = WANTED) -> str:
    """Return the branch to use for work on the current commit."""
    found: Repository = locate(path)
    return found.free_branch(wanted, found.located.head)


def diverge(path: Path, branch: str) -> None:
    """Make a branch with a commit of its own."""
    git(path, "switch", "--quiet", "--create", branch, "HEAD^")
    a_commit(path, {"b.txt": "other\n"})
    git(path, "switch", "--quiet", "main")


def test_a_name_that_nobody_has_is_free(repo: Path) -> None:
    """Without such a branch the wanted name is used."""
    assert free(repo) == WANTED


@pytest.mark.parametrize("start", ["HEAD", "HEAD^"])
def test_a_branch_that_would_move_forward_is_taken(repo: Path, start: str) -> None:
    """A branch at or behind the base can be used again."""
    git(repo, "branch", WANTED, start)
    assert free(repo) == WANTED


def test_a_branch_with_commits_of_its_own_is_left_alone(repo: Path) -> None:
    """Work of others is never overwritten: the name gets a suffix, the first that is free."""
    diverge(repo, WANTED)
    assert free(repo) == f"{WANTED}-2"
    diverge(repo, f"{WANTED}-2")
    git(repo, "pack-refs", "--all")
    assert free(repo) == f"{WANTED}-3"


def test_a_branch_that_is_checked_out_is_left_alone(repo: Path, tmp_path: Path) -> None:
    """A branch that any work tree has out is not used, wherever that work tree is."""
    git(repo, "worktree", "add", "--quiet", "-b", WANTED, str(tmp_path / "linked"))
    assert free(repo) == f"{WANTED}-2"
    git(repo, "switch", "--quiet", "--create", f"{WANTED}-2")
    assert free(repo) == f"{WANTED}-3"


def test_a_tag_of_the_same_name_does_not_hide_a_branch(repo: Path) -> None:
    """A branch is seen also where a tag makes its short name ambiguous."""
    diverge(repo, WANTED)
    git(repo, "tag", WANTED)
    assert free(repo) == f"{WANTED}-2"


def test_a_branch_below_the_wanted_name_is_in_its_way(repo: Path) -> None:
    """A name that is a folder of branches cannot be a branch."""
    git(repo, "branch", f"{WANTED}/part")
    assert free(repo) == f"{WANTED}-2"


def test_a_branch_above_every_name_leaves_none(repo: Path) -> None:
    """A branch called as the folder leaves no name, and the hint says so."""
    git(repo, "branch", "feature")
    with pytest.raises(RepositoryRefused, match="no free branch name") as caught:
        free(repo)
    assert "delete old branches" in caught.value.hint


@pytest.mark.parametrize(
    "name",
    ["", "-x", "a..b", "a b", "x.lock", "a/.b", "a//b", "x@{1}", "x.", "a~1", "a\nb", "HEAD"],
)
def test_a_name_that_git_does_not_take_is_refused(repo: Path, name: str) -> None:
    """What cannot be a branch is refused before any work is done."""
    with pytest.raises(RepositoryRefused, match="not a possible branch name"):
        free(repo, name)
