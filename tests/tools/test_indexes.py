"""What is read of git's index without git is what git says of it, or nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator_tools import committing, indexes, snapshot
from tests.tools.repos import DIVERGE, Repo


def listed(repo: Repo) -> set[bytes]:
    """Return the paths that git lists."""
    return {os.fsencode(one) for one in repo.sh("git ls-files -z").split("\0") if one}


def paths_of(index: str) -> set[bytes] | None:
    """Return the paths of a plain index."""
    found = indexes.plain(index)
    return found.paths if found is not None else None


def own(repo: Repo) -> str:
    """Return where the agent's index is."""
    return str(repo.git / "index")


@pytest.mark.parametrize(
    "script",
    [
        "true",
        "for n in $(seq 300); do echo $n >file$n; done; git add .",
        "mkdir -p a/b; for n in 1 12 123 1234 12345 123456 1234567 12345678; do echo >a/b/$n; done; git add .",
        "echo >$'two\\nlines'; echo >'ü und ü'; ln -s kept 'a link'; git add .",
        "p=$(printf 'x%.0s' $(seq 200)); mkdir -p $p/$p/$p; echo >$p/$p/$p/end; git add .",
        "git rm -q --cached kept",
    ],
)
def test_paths_are_those_that_git_lists(repo: Repo, script: str) -> None:
    """Whatever the names and their lengths, each path is found, and none besides."""
    repo.sh(script)
    assert paths_of(own(repo)) == listed(repo)


def test_a_name_longer_than_its_field_counts_is_found(repo: Repo) -> None:
    """Names of 4095 bytes and more end at a zero instead."""
    deep = "/".join(["d" * 250] * 17)
    repo.sh(f"git update-index --add --cacheinfo 100644,$(git hash-object -w kept),{deep}")
    found = paths_of(own(repo))
    assert found == listed(repo) and deep.encode() in found and len(deep) > 4095


@pytest.mark.parametrize(
    "script",
    [
        "git update-index --assume-unchanged kept",
        "git update-index --skip-worktree kept",
        "echo >new; git add --intent-to-add new",
        "git update-index --index-version 4",
        "git update-index --split-index",
        DIVERGE + "git merge -q theirs || true",
    ],
    ids=["unseen", "skipped", "intended", "version 4", "split", "conflict"],
)
def test_an_index_that_says_more_is_not_taken_at_its_word(repo: Repo, script: str) -> None:
    """Flags by which git passes over a file, conflicts and other forms are left to git."""
    repo.sh(script)
    assert paths_of(own(repo)) is None


def test_a_broken_index_is_none(repo: Repo, tmp_path: Path) -> None:
    """Cut anywhere, or with any count of entries, it is read to its end and no further."""
    data = (repo.git / "index").read_bytes()
    whole = paths_of(own(repo))
    broken = tmp_path / "index"
    assert paths_of(str(broken)) is None and whole
    for cut in range(len(data)):
        broken.write_bytes(data[:cut])
        found = paths_of(str(broken))
        assert found is None or found <= whole
    for count in (2**31, len(whole) + 1, 2**32 - 1):
        broken.write_bytes(data[:8] + count.to_bytes(4, "big") + data[12:])
        assert paths_of(str(broken)) is None


def test_a_bare_index_is_one_to_git(repo: Repo) -> None:
    """Git finds its checksum right and the same entries in it; staging again changes no byte."""
    repo.sh("echo 2 >kept; git commit -qam second; git status")
    found = indexes.plain(own(repo))
    assert found is not None
    data = found.bare()
    assert len(data) < (repo.git / "index").stat().st_size
    before = repo.sh("git ls-files --stage --debug")
    (repo.git / "index").write_bytes(data)
    assert repo.sh("git fsck --strict; git ls-files --stage --debug") == before
    repo.sh("git add --all .")
    assert (repo.git / "index").read_bytes() == data


COMMITTED = {
    "an edit": ("echo 2 >kept; rm gone; echo >new", True),
    "nothing": ("true", True),
    "a commit of its own": ("echo 2 >kept; git commit -qam own", True),
    "an ignored file that was added": ("echo 1 >ignored/x; git add -f ignored/x", True),
    "a file that is passed over": ("git update-index --assume-unchanged kept; echo 2 >kept", False),
    "a file out of the tree": ("git update-index --skip-worktree kept; echo 2 >kept", False),
    "an ignored file no longer listed": (
        "echo kept >>.gitignore; git rm -q --cached kept; echo 3 >kept",
        False,
    ),
    "another form": ("git update-index --index-version 4; echo 2 >kept", False),
}


@pytest.mark.parametrize(("script", "without_git"), COMMITTED.values(), ids=COMMITTED)
def test_the_state_after_a_commit_is_all_that_is_there(
    repo: Repo, monkeypatch: pytest.MonkeyPatch, script: str, without_git: bool
) -> None:
    """What is put back is what was there, whether the agent's index was good enough or not."""
    git, work = str(repo.git), str(repo.work)
    snapshot.take(git, work, 0)
    repo.sh(script)
    committing.commit(git, work, "all of it")
    before = repo.files()
    staged: list[Any] = []
    add_all = snapshot.add_all

    def spied(*asked: Any) -> list[str]:
        staged.append(asked)
        return add_all(*asked)

    monkeypatch.setattr(snapshot, "add_all", spied)
    name = snapshot.take(git, work, 1, is_committed=True)["snapshot"]
    assert bool(staged) is not without_git
    head = repo.sh("git rev-parse HEAD")
    repo.sh(
        "find . -mindepth 1 -maxdepth 1 ! -name .git ! -name ignored ! -name '*.log' -exec rm -r {} +"
        "; rm -f ignored/x; echo z >z; git add -A; git commit -qm mess"
    )
    snapshot.restore(git, work, name)
    assert repo.files() == before
    assert repo.sh("git rev-parse HEAD") == head


def test_a_later_state_builds_on_it(repo: Repo) -> None:
    """The index that was taken over is an ordinary one: the next changes are staged in it."""
    git, work = str(repo.git), str(repo.work)
    snapshot.take(git, work, 0)
    repo.sh("echo 2 >kept")
    committing.commit(git, work, "all of it")
    first = snapshot.take(git, work, 1, is_committed=True)["snapshot"]
    again = snapshot.take(git, work, 1, is_committed=True)["snapshot"]
    repo.sh("printf 3 >kept; echo >more")
    before = repo.files()
    second = snapshot.take(git, work, 2)["snapshot"]
    repo.sh("rm kept more")
    snapshot.restore(git, work, second)
    assert repo.files() == before and first == again != second
    snapshot.restore(git, work, first)
    assert (repo.work / "kept").read_text("utf-8") == "2\n"
    assert not (repo.work / "more").exists()


def test_a_state_that_was_told_keeps_its_name(repo: Repo) -> None:
    """Work is brought out at a turn whose state is journaled: by that name it is still put back."""
    git, work = str(repo.git), str(repo.work)
    repo.sh("echo 2 >kept; echo >new")
    told = snapshot.take(git, work, 5)["snapshot"]
    before = repo.files()
    committing.commit(git, work, "all of it")
    again = snapshot.take(git, work, 5, is_committed=True)["snapshot"]
    repo.sh("echo 3 >kept; rm new")
    snapshot.restore(git, work, told)
    assert repo.files() == before and again == told


@pytest.mark.parametrize("script", ["mv ../git/index ../git/own; ln -s own ../git/index", "true"])
def test_an_index_of_another_kind_is_no_obstacle(repo: Repo, script: str) -> None:
    """A link in its place, or a folder where it would be copied to: all is staged as before."""
    git, work = str(repo.git), str(repo.work)
    snapshot.take(git, work, 0)
    repo.sh(script)
    if script == "true":
        (repo.git / "orchestrate" / "index.new" / "full").mkdir(parents=True)
    repo.sh("echo 2 >kept")
    committing.commit(git, work, "all of it")
    before = repo.files()
    name = snapshot.take(git, work, 1, is_committed=True)["snapshot"]
    if script == "true":
        (repo.git / "orchestrate" / "index.new" / "full").rmdir()
        (repo.git / "orchestrate" / "index.new").rmdir()
    repo.sh("echo 3 >kept")
    snapshot.restore(git, work, name)
    assert repo.files() == before
