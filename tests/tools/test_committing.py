"""The commit at the end of a run, and repositories inside the workspace."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator_tools import committing, snapshot
from orchestrator_tools.errors import ToolError
from tests.tools.repos import DIVERGE, Repo

NESTED = "git init -q {0}; echo {0} >{0}/f; git -C {0} add f; git -C {0} commit -qm nested; "


def commit(repo: Repo, message: str = "all of it") -> dict[str, Any]:
    return committing.commit(str(repo.git), str(repo.work), message)


def tree(repo: Repo) -> list[str]:
    """Return mode and name of what HEAD holds, without what the base held."""
    lines = repo.sh("git ls-tree -rz HEAD").split("\0")
    base = {".gitignore", "folder/deep", "gone", "kept", "link", "run"}
    shown = [(line.split()[0], line.split("\t", 1)[1]) for line in lines if line]
    return [f"{mode} {name}" for mode, name in shown if name not in base]


def test_commits_what_is_left(repo: Repo) -> None:
    """Everything that is not ignored is committed on the branch of HEAD, under the message."""
    repo.sh(
        "echo 2 >kept; rm gone; ln -s kept new; echo >$'two\\nlines'; echo >tool; chmod +x tool"
    )
    answer = commit(repo, "-m says\n\n# it all\n")
    assert tree(repo) == ["120000 new", "100755 tool", "100644 two\nlines"]
    assert repo.sh("git status --porcelain") == ""
    assert repo.sh("git log -1 --format=%B") == "-m says\n\n# it all\n\n"
    assert repo.sh("git rev-parse issue-1").strip() == answer["head"]
    assert repo.sh("git rev-list --count HEAD") == "2\n"


def test_commits_nothing_where_nothing_is_left(repo: Repo) -> None:
    """Where all is committed already, HEAD stays."""
    head = repo.sh("echo >ignored/more; git rev-parse HEAD").strip()
    assert commit(repo)["head"] == head


@pytest.mark.parametrize(
    ("script", "parents", "branch"),
    [
        ("git checkout -q --detach; echo 2 >kept", 1, ""),
        ("git switch -qc feature; echo 2 >kept; git add kept; echo 3 >kept", 1, "feature"),
        (DIVERGE + "git merge -q theirs || true", 2, "issue-1"),
        (DIVERGE + "git rebase -q theirs || true", 1, ""),
        (DIVERGE + "git cherry-pick theirs || true", 1, "issue-1"),
    ],
    ids=["detached", "branch", "merge", "rebase", "cherry-pick"],
)
def test_commits_wherever_head_is(repo: Repo, script: str, parents: int, branch: str) -> None:
    """A detached HEAD, another branch or a work under way is committed as it stands."""
    repo.sh(script)
    files = repo.files()
    before = repo.sh("git rev-parse HEAD").strip()
    answer = commit(repo)
    first, *others = repo.sh("git rev-list --parents -1 HEAD").split()
    assert first == answer["head"]
    assert others[0] == before
    assert len(others) == parents
    assert repo.sh("git branch --show-current").strip() == branch
    assert repo.files() == files
    assert repo.sh("GIT_OPTIONAL_LOCKS=0 git status --porcelain") == ""


@pytest.mark.parametrize("lock", ["index.lock", "HEAD.lock", "refs/heads/issue-1.lock"])
def test_a_lock_left_behind_is_no_obstacle(repo: Repo, lock: str) -> None:
    """A lock that a killed git left does not keep the work from being committed."""
    (repo.git / lock).touch()
    repo.sh("echo 2 >kept")
    answer = commit(repo)
    assert answer["head"] == repo.sh("git rev-parse issue-1").strip()
    assert repo.sh("git show HEAD:kept") == "2\n"


def test_runs_no_hook(repo: Repo) -> None:
    """No hook of the work tree or of the git directory runs."""
    for name in ("pre-commit", "commit-msg", "prepare-commit-msg", "post-commit"):
        hook = repo.git / "hooks" / name
        hook.write_text("#!/bin/sh\ntouch ../ran\nexit 1\n")
        hook.chmod(0o755)
    repo.sh("echo 2 >kept")
    commit(repo)
    assert not (repo.work.parent / "ran").exists()


def test_says_why_it_cannot_commit(repo: Repo) -> None:
    """A commit that git refuses is an error with git's own words."""
    repo.sh("echo 2 >kept")
    with pytest.raises(ToolError, match="git commit failed: Aborting commit due to empty"):
        commit(repo, "")


EMBEDDED = {
    "with a commit": NESTED.format("sub"),
    "without a commit": "git init -q sub; echo sub >sub/f",
    "two": NESTED.format("sub") + NESTED.format("other"),
    "one in the other": NESTED.format("sub") + NESTED.format("sub/inner"),
    "deep": "mkdir -p a/b; " + NESTED.format("a/b/sub"),
    "added": NESTED.format("sub") + "git add -A",
    "committed": NESTED.format("sub") + "git add -A; git commit -qm embedded",
    "odd name": NESTED.format("'grüße 日本'") + NESTED.format("sub"),
    "a file as .git": "git init -q --separate-git-dir=../store sub; echo sub >sub/f",
}


@pytest.mark.parametrize("script", EMBEDDED.values(), ids=EMBEDDED)
def test_embedded_repositories_become_files(repo: Repo, script: str) -> None:
    """A repository inside the workspace is delivered as plain files, never as a link to nothing."""
    repo.sh(script)
    wanted = sorted(
        f"100644 {name}" for name in repo.files() if name.endswith("/f") and ".git/" not in name
    )
    assert wanted
    answer = commit(repo)
    assert sorted(tree(repo)) == wanted
    assert answer["aside"]
    assert all(not (repo.work / path).exists() for path in answer["aside"])
    assert repo.sh("git status --porcelain") == ""


@pytest.mark.parametrize("script", EMBEDDED.values(), ids=EMBEDDED)
def test_embedded_repositories_are_put_back_as_files(repo: Repo, script: str) -> None:
    """The files of a repository inside the workspace are part of a snapshot, without its .git."""
    git, work = str(repo.git), str(repo.work)
    snapshot.take(git, work, 0)
    repo.sh(script)
    taken = snapshot.take(git, work, 1)
    assert taken["aside"]
    before = repo.files()
    assert any(name.endswith("/f") for name in before)
    repo.sh("find . -mindepth 1 -maxdepth 1 -type d ! -name ignored -exec rm -r {} +")
    snapshot.restore(git, work, taken["snapshot"])
    assert repo.files() == before


def test_an_empty_repository_is_no_obstacle(repo: Repo) -> None:
    """A repository without files leaves nothing to deliver."""
    repo.sh("git init -q sub; echo 2 >kept")
    commit(repo)
    assert tree(repo) == []
    assert repo.sh("git show HEAD:kept") == "2\n"


def test_ignored_repositories_stay_whole(repo: Repo) -> None:
    """A repository in an ignored folder keeps its .git, though another one is set aside."""
    repo.sh(NESTED.format("ignored/dependency") + NESTED.format("sub"))
    assert commit(repo)["aside"] == ["sub/.git"]
    assert (repo.work / "ignored/dependency/.git/HEAD").is_file()


HEADS = {
    "branch": "true",
    "nested name": "git switch -qc a/b-c/d_e",
    "detached": "git checkout -q --detach",
    "packed": "git pack-refs --all",
    "packed and newer": "git pack-refs --all; git commit -q --allow-empty -m newer",
    "a ref of a ref": "git symbolic-ref refs/heads/other refs/heads/issue-1; "
    "echo 'ref: refs/heads/other' >../git/HEAD",
    "no branch": "git update-ref refs/odd/one HEAD; git symbolic-ref HEAD refs/odd/one",
    "a link": "ln -sf refs/heads/issue-1 ../git/HEAD",
    "more spaces": "printf 'ref:   refs/heads/issue-1  \\n\\n' >../git/HEAD",
    "no line end": "printf 'ref: refs/heads/issue-1' >../git/HEAD",
    "longer": "(git rev-parse HEAD; echo more) >../r; cp ../r ../git/refs/heads/issue-1",
    "refs elsewhere": "git checkout -q --detach; cp -r ../git ../else; git switch -q issue-1; "
    "git commit -q --allow-empty -m here; echo ../else >../git/commondir",
}


@pytest.mark.parametrize("script", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_head_is_what_git_says(script: str, form: str, new_repo: Callable[..., Repo]) -> None:
    """However HEAD is written down, it is read as git reads it."""
    repo = new_repo(form)
    repo.sh(script)
    told = repo.sh("git rev-parse --verify HEAD").strip()
    assert committing.head(str(repo.git), str(repo.work)) == told


@pytest.mark.parametrize(
    "script",
    [
        "echo junk >../git/HEAD",
        "echo 'ref: refs/heads/../../../outside' >../git/HEAD; git rev-parse issue-1 >../outside",
        "echo 'ref: refs/heads/none' >../git/HEAD",
        "rm ../git/HEAD",
        "rm -r ../git/refs/heads/issue-1; mkdir ../git/refs/heads/issue-1",
    ],
)
def test_a_head_that_git_does_not_take_is_none(repo: Repo, script: str) -> None:
    """Nothing is read that git itself would not read."""
    repo.sh(script)
    with pytest.raises(ToolError, match="git rev-parse failed"):
        committing.head(str(repo.git), str(repo.work))


TWO = "echo 2 >kept; git commit -qam two"
PICKED = f"git switch -qc b; {TWO}; git switch -q -; {TWO}; git cherry-pick b || true"
HALF_MERGED = "git merge -q --no-ff --no-commit b"
STAGED = {
    "nothing": ("true", 0),
    "touched": ("touch kept folder/deep", 0),
    "changed and changed back": ("echo 2 >kept; git add kept; echo one >kept", 0),
    "all committed": ("echo 2 >kept; git commit -qam two", 0),
    "all staged": ("echo 2 >kept; git add kept", 1),
    "removed from the index": ("git rm -q --cached kept", 0),
    "no index": ("rm ../git/index", 0),
    "no index, changed": ("rm ../git/index; echo 2 >kept", 1),
    "mode": ("chmod +x kept", 1),
    "an older commit": ("git commit -q --allow-empty -m x; git reset -q --soft HEAD^", 0),
    "picked already": (
        PICKED,
        0,
    ),
    "a merge that changes nothing": (
        "git switch -qc b; git commit -q --allow-empty -m x; git switch -q -; " + HALF_MERGED,
        1,
    ),
}


@pytest.mark.parametrize(("script", "commits"), STAGED.values(), ids=STAGED)
def test_commits_only_where_something_is_staged(repo: Repo, script: str, commits: int) -> None:
    """One commit where the files differ from the last one, none where they do not."""
    repo.sh(script)
    before = int(repo.sh("git rev-list --count --first-parent HEAD"))
    answer = commit(repo)
    assert answer["head"] == repo.sh("git rev-parse HEAD").strip()
    assert int(repo.sh("git rev-list --count --first-parent HEAD")) == before + commits
    assert repo.sh("git status --porcelain") == ""
    assert repo.sh("git diff HEAD") == ""


@pytest.mark.parametrize(
    "settings",
    ["", "git update-index --index-version 4; ", "git update-index --split-index; "],
    ids=["plain", "version 4", "split"],
)
@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_a_repository_in_any_index_is_seen(
    settings: str, form: str, new_repo: Callable[..., Repo]
) -> None:
    """An entry that stood in the index before is found, however the index is written."""
    repo = new_repo(form)
    nested = NESTED.replace("git init -q", f"git init -q --object-format={form}")
    repo.sh(settings + nested.format("sub") + "git add -A; git commit -qm embedded; " + settings)
    assert commit(repo)["aside"] == ["sub/.git"]
    assert tree(repo) == ["100644 sub/f"]


def test_what_is_set_aside_is_kept(repo: Repo) -> None:
    """A .git that is in the way is moved into the git directory, not lost."""
    repo.sh(NESTED.format("sub") + NESTED.format("other"))
    heads = {repo.sh(f"git -C {name} rev-parse HEAD").strip() for name in ("sub", "other")}
    commit(repo)
    aside = [Path(path) for path in os.scandir(repo.git / "orchestrate/aside")]
    assert {repo.sh(f"git --git-dir={path} rev-parse HEAD").strip() for path in aside} == heads


def test_what_was_set_aside_is_told_to_who_asks_again(repo: Repo) -> None:
    """The host may never have heard the first answer: the second one tells the same."""
    repo.sh("git init -q sub; echo x >sub/f; git -C sub add f; git -C sub commit -qm nested")
    git, work = str(repo.git), str(repo.work)
    first = committing.commit(git, work, "all of it", 7)
    again = committing.commit(git, work, "all of it", 7)
    taken = snapshot.take(git, work, 7, is_committed=True)
    assert first["aside"] == ["sub/.git"] == taken["aside"] and again["head"] == first["head"]
