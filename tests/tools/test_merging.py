"""A moved base is merged inside: cleanly, or left half done with the files that conflict."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator_tools import committing, merging
from orchestrator_tools.errors import ToolError
from tests.tools.repos import Repo

THEIRS = "git switch -qc theirs; {0}; git add -A; git commit -qm theirs; git switch -q issue-1; "


def diverged(repo: Repo, ours: str, theirs: str) -> tuple[str, str]:
    """Have two branches that differ so; return both commits."""
    repo.sh(THEIRS.format(theirs) + f"{ours}; git add -A; git commit -qm ours")
    first, second = repo.sh("git rev-parse issue-1 theirs").split()
    return first, second


def merge(repo: Repo, ours: str, theirs: str) -> dict[str, Any]:
    return merging.merge(str(repo.git), str(repo.work), ours, theirs, "Merge theirs")


def test_two_sides_that_go_together(repo: Repo) -> None:
    """A clean merge is one commit of both, on the branch of HEAD, with nothing left over."""
    ours, theirs = diverged(repo, "echo 2 >kept", "echo new >new")
    said = merge(repo, ours, theirs)
    assert said["conflicts"] == []
    assert repo.sh("git rev-parse issue-1 HEAD^1 HEAD^2").split() == [said["head"], ours, theirs]
    assert repo.sh("cat kept new; git status --porcelain") == "2\nnew\n"
    assert repo.sh("git log -1 --format=%s") == "Merge theirs\n"


def test_a_base_that_has_only_moved_on(repo: Repo) -> None:
    """Where nothing but the base has changed the merge is a commit all the same."""
    theirs = repo.sh(THEIRS.format("echo new >new") + "git rev-parse theirs").strip()
    ours = repo.sh("git rev-parse issue-1").strip()
    said = merge(repo, ours, theirs)
    assert repo.sh("git rev-parse HEAD^1 HEAD^2").split() == [ours, theirs]
    assert said["head"] == repo.sh("git rev-parse HEAD").strip()


@pytest.mark.parametrize(
    ("ours", "theirs", "conflicts"),
    [
        ("echo 2 >kept", "echo 3 >kept", ["kept"]),
        ("echo 2 >kept; rm gone", "git rm -q kept; echo 3 >gone", ["gone", "kept"]),
        ("printf x >'two\nlines'", "printf y >'two\nlines'", ["two\nlines"]),
        ("printf '\\0x' >bin", "printf '\\0y' >bin", ["bin"]),
    ],
    ids=["contents", "removed", "odd name", "binary"],
)
def test_two_sides_that_conflict(repo: Repo, ours: str, theirs: str, conflicts: list[str]) -> None:
    """The files are named, the merge is under way, and what the agent makes of it is a merge."""
    first, second = diverged(repo, ours, theirs)
    said = merge(repo, first, second)
    assert (said["head"], sorted(said["conflicts"])) == ("", conflicts)
    assert (repo.git / "MERGE_HEAD").read_text(encoding="ascii").strip() == second
    repo.sh("git checkout -q --ours . 2>/dev/null || true")
    done = committing.commit(str(repo.git), str(repo.work), "Resolved")
    assert repo.sh("git rev-parse HEAD^1 HEAD^2").split() == [first, second]
    assert done["head"] == repo.sh("git rev-parse HEAD").strip()


def test_a_resolution_that_changes_nothing_is_a_merge(repo: Repo) -> None:
    """Where all is resolved to what was there before, the merge is committed all the same."""
    first, second = diverged(repo, "echo 2 >kept", "echo 3 >kept")
    merge(repo, first, second)
    repo.sh("git checkout -q --ours kept; git add kept; git diff --cached --quiet")
    committing.commit(str(repo.git), str(repo.work), "Resolved")
    assert repo.sh("git rev-parse HEAD^1 HEAD^2").split() == [first, second]


def test_doing_it_again(repo: Repo) -> None:
    """A merge that was cut off anywhere is done anew, and gives the same tree."""
    first, second = diverged(repo, "echo 2 >kept", "echo 3 >kept; echo new >new")
    merge(repo, first, second)
    repo.sh("echo half >new; echo rubbish >more; rm kept")
    (repo.git / "index.lock").touch()
    said = merge(repo, first, second)
    assert said["conflicts"] == ["kept"]
    assert repo.sh("cat new; ls more 2>&1 || true").startswith("new\nls: ")
    clean, other = diverged_again(repo, first)
    done = [repo.sh(f"git rev-parse {merge(repo, clean, other)['head']}^{{tree}}") for _ in "ab"]
    assert done[0] == done[1]


def diverged_again(repo: Repo, ours: str) -> tuple[str, str]:
    """Give up the merge under way; return our commit, and another that goes together with it."""
    repo.sh(f"git reset -q --hard {ours}; git switch -qc others {ours}~1; echo o >other")
    repo.sh("git add -A; git commit -qm others; git switch -q issue-1")
    return ours, repo.sh("git rev-parse others").strip()


def test_what_was_flattened_is_merged_as_that(repo: Repo) -> None:
    """A workspace whose history is another is put on the commit that came out of it."""
    first, second = diverged(repo, "echo 2 >kept", "echo new >new")
    repo.sh("git checkout -q --orphan anew; git commit -qm anew")
    said = merge(repo, first, second)
    assert repo.sh(f"git rev-parse {said['head']}^1").strip() == first


def test_what_git_cannot_merge(repo: Repo) -> None:
    """A failure that is no conflict is told, and the workspace is where it was."""
    first, _ = diverged(repo, "echo 2 >kept", "echo new >new")
    with pytest.raises(ToolError, match="git merge failed"):
        merge(repo, first, "f" * 40)
    assert not (repo.git / "MERGE_HEAD").exists()
    assert repo.sh("git rev-parse HEAD; git status --porcelain") == f"{first}\n"


def test_the_agent_s_own_settings_take_no_part(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hooks, drivers and identities that an agent sets up for its git do not run."""
    ran = repo.work.parent / "ran"
    home = repo.work.parent / "home"
    home.mkdir(exist_ok=True)
    (home / ".gitconfig").write_text(
        f'[merge "ours"]\n\tdriver = touch {ran}\n[merge]\n\tff = only\n', encoding="utf-8"
    )
    monkeypatch.setenv("HOME", str(home))
    first, second = diverged(
        repo, "echo 'kept merge=ours' >.gitattributes; echo 2 >kept", "echo 3 >kept"
    )
    assert merge(repo, first, second)["conflicts"] == ["kept"]
    assert not ran.exists()
