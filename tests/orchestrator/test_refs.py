"""Refs, looked up in files and moved by a git that stays: held against git itself."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator import refs
from orchestrator.errors import WorkspaceError
from orchestrator.refs import Refs
from orchestrator.repository import locate
from tests.builders import a_commit, git
from tests.orchestrator.git_starts import head_of, starts, with_folders


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with one commit."""
    return with_folders(tmp_path / "repo")


def all_below(repo: Path, prefix: str) -> list[str]:
    return git(repo, "for-each-ref", "--format=%(refname)", prefix).split()


@pytest.mark.parametrize("packed", ["nothing", "some", "all"])
def test_refs_are_found_wherever_git_keeps_them(repo: Path, packed: str) -> None:
    """Loose, packed, or both; by their name and by what they stand below."""
    names = ["orchestrate/r1/base", "orchestrate/r1/head", "orchestrate/r1/moved/1"]
    for name in (*names, "orchestrate/r10/base", "heads/x+y"):
        git(repo, "update-ref", f"refs/{name}", "HEAD")
    git(repo, "tag", "--annotate", "--message=t", "marked")
    if packed != "nothing":
        git(repo, "pack-refs", "--all")
    if packed == "some":
        git(repo, "update-ref", "refs/orchestrate/r1/later", "HEAD")
        git(repo, "update-ref", "refs/orchestrate/r1/head", git(repo, "rev-parse", "HEAD^{tree}"))
    told = Refs(repo / ".git")
    top = "refs/orchestrate/r1"
    for prefix in (f"{top}/", top, f"{top}/base", f"{top}/base/", f"{top}/mov", f"{top}/moved"):
        assert told.below(prefix) == all_below(repo, prefix)
    for name in ("refs/heads/x+y", "refs/heads/x", "refs/heads/xxy", "refs/tags/marked"):
        assert told.has(name) == bool(all_below(repo, name))
    told.delete(f"{top}/")
    assert all_below(repo, "refs/orchestrate/") == ["refs/orchestrate/r10/base"]
    told.close()


@pytest.mark.parametrize("why", ["many packed refs", "another format", "no plain name"])
def test_refs_that_files_do_not_tell_are_git_s_to_say(
    repo: Path, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then git is started for it."""
    git(repo, "update-ref", "refs/orchestrate/r1/base", "HEAD")
    git(repo, "pack-refs", "--all")
    started = starts(repo.parent, monkeypatch)
    told = Refs(repo / ".git")
    prefix = "refs/orchestrate/"
    if why == "many packed refs":
        monkeypatch.setattr(refs, "PACKED_MOST", 10)
    elif why == "another format":
        (repo / ".git/refs/heads").rmdir()
        (repo / ".git/refs/heads").touch()
    else:
        prefix = "refs/orchestrate/../orchestrate/"
    assert told.below(prefix) == ([] if why == "no plain name" else ["refs/orchestrate/r1/base"])
    assert started.read_text().split() == ["for-each-ref"]


def test_a_ref_is_set_only_from_what_it_was(repo: Path) -> None:
    """By the git that stays as by one of its own: who comes too late is told so."""
    first = head_of(repo)
    second = a_commit(repo, {"a.txt": "two\n"})
    told = Refs(repo / ".git")
    name = "refs/heads/feature/x"
    told.set(name, first, expected="")
    for expected in ("", second):
        with pytest.raises(WorkspaceError, match="update-ref failed"):
            told.set(name, second, expected=expected)
        assert git(repo, "rev-parse", name) == first
    told.set(name, second, expected=first)
    told.set(name, first)
    assert git(repo, "rev-parse", name) == first
    assert len(git(repo, "reflog", "show", name).splitlines()) == 3
    with pytest.raises(WorkspaceError):
        told.set("refs/heads/feature/x/y", first, expected="")
    with pytest.raises(WorkspaceError):
        told.set("refs/heads/a..b", first)
    with pytest.raises(ValueError, match="null byte"):
        told.set("refs/heads/a\0delete refs/heads/main", first)
    git(repo, "update-ref", "-d", name)
    told.set("refs/heads/feature/x/y", first, expected="")
    assert git(repo, "rev-parse", "refs/heads/feature/x/y") == first
    told.close()


def test_refs_of_many_threads_and_of_a_process_that_was_killed(repo: Path) -> None:
    """Each is set; nothing depends on the process that stays."""
    told, head = Refs(repo / ".git"), head_of(repo)

    def one(number: int) -> None:
        told.set(f"refs/orchestrate/r{number}/base", head)
        if number % 7 == 0 and (pid := told._git.pid):
            os.kill(pid, signal.SIGKILL)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(one, range(40)))
    assert len(all_below(repo, "refs/orchestrate/")) == 40
    told.close()


def test_one_ref_that_cannot_be_deleted_is_told(repo: Path) -> None:
    """All are deleted, or it is an error."""
    head = head_of(repo)
    told = Refs(repo / ".git")
    for name in ("base", "head"):
        told.set(f"refs/orchestrate/r1/{name}", head)
    (repo / ".git/refs/orchestrate/r1/head.lock").touch()
    with pytest.raises(WorkspaceError):
        told.delete("refs/orchestrate/r1/")
    (repo / ".git/refs/orchestrate/r1/head.lock").unlink()
    told.delete("refs/orchestrate/r1/")
    assert all_below(repo, "refs/orchestrate/") == []
    told.close()


def test_a_work_tree_s_branch_is_seen(repo: Path, tmp_path: Path) -> None:
    """In the checkout and in linked ones, directly and by a branch that stands for another."""
    repository = locate(repo)
    git(repo, "branch", "free")
    git(repo, "worktree", "add", "--quiet", "-b", "linked", str(tmp_path / "one"))
    git(repo, "worktree", "add", "--quiet", "--detach", str(tmp_path / "two"))
    told = {name: repository.is_checked_out(name) for name in ("main", "linked", "free", "none")}
    assert told == {"main": True, "linked": True, "free": False, "none": False}
    git(repo, "symbolic-ref", "refs/heads/alias", "refs/heads/free")
    git(tmp_path / "two", "symbolic-ref", "HEAD", "refs/heads/alias")
    assert repository.is_checked_out("free")
    repository.close()
