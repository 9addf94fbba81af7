"""The commit at the end of a run, and repositories inside the workspace."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator_tools import snapshot
from orchestrator_tools.errors import ToolError
from tests.tools.repos import DIVERGE, Repo

NESTED = "git init -q {0}; echo {0} >{0}/f; git -C {0} add f; git -C {0} commit -qm nested; "


def commit(repo: Repo, message: str = "all of it") -> dict[str, Any]:
    return snapshot.commit(str(repo.git), str(repo.work), message)


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
    assert repo.sh("git rev-parse issue-1 issue-1^{tree}").split() == [
        answer["head"],
        answer["tree"],
    ]
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


def test_what_is_set_aside_is_kept(repo: Repo) -> None:
    """A .git that is in the way is moved into the git directory, not lost."""
    repo.sh(NESTED.format("sub") + NESTED.format("other"))
    heads = {repo.sh(f"git -C {name} rev-parse HEAD").strip() for name in ("sub", "other")}
    commit(repo)
    aside = [Path(path) for path in os.scandir(repo.git / "orchestrate/aside")]
    assert {repo.sh(f"git --git-dir={path} rev-parse HEAD").strip() for path in aside} == heads
