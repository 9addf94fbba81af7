"""Files and descent, told from trees and commits that are read: held against git itself."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator import trees
from orchestrator.ancestry import COMMITS_MOST, Ancestry
from orchestrator.errors import WorkspaceError
from orchestrator.objects import ObjectReader
from orchestrator.repository import locate
from orchestrator.trees import Folder, Trees
from tests.builders import a_repository, git, git_bytes


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with one commit."""
    files = {f"src/part{number}/f{at}.py": "" for number in range(5) for at in range(3)}
    files = {name: f"{name}\n" for name in files}
    return a_repository(tmp_path / "repo", {"a.txt": "one\n", "src.txt": "s\n", **files})


@pytest.fixture
def objects(repo: Path) -> Iterator[ObjectReader]:
    """Reads the repository's objects."""
    reader = ObjectReader(repo / ".git")
    yield reader
    reader.close()


def head_of(repo: Path) -> str:
    return git(repo, "rev-parse", "HEAD")


def a_tree(repo: Path, folders: Mapping[str, str]) -> str:
    """Write a tree of folders, and return its id."""
    lines = "".join(f"040000 tree {sha}\t{name}\n" for name, sha in folders.items())
    return git(repo, "mktree", stdin=lines.encode())


# -- files

PATHS = [
    (),
    ("src",),
    ("src/part1", "a.txt"),
    ("src/part1/f1.py", "src"),
    ("src/part1/f1.py", "src/part2/none", "src/part1/f1.py/below", "none/at/all"),
    ("a.txt", "link", "module", "src.txt"),
    ("*.txt",),
]


@pytest.mark.parametrize("paths", PATHS)
@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_files_are_told_from_trees_as_git_lists_them(
    tmp_path: Path, paths: tuple[str, ...], form: str
) -> None:
    """Links, submodules, programs, any names, in git's order, with modes and ids."""
    path = tmp_path / "repo"
    git(tmp_path, "init", "--quiet", f"--object-format={form}", str(path))
    for name in ("a.txt", "src/part1/f1.py", "src/part1/na\udcffme", "src.txt", "src-more"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name, errors="surrogateescape")
    (path / "src.txt").chmod(0o755)
    (path / "link").symlink_to("a.txt")
    git(path, "add", ".")
    linked = "1" * (64 if form == "sha256" else 40)
    git(path, "update-index", "--add", "--cacheinfo", f"160000,{linked},module")
    git(path, "commit", "--quiet", "--message=one")
    reader = ObjectReader(path / ".git")
    found = Trees(reader).files(head_of(path), paths)
    assert found is not None
    asked = ("--literal-pathspecs", "ls-tree", "-rz", "HEAD", "--", *paths)
    listed = [one.split(b"\t", 1) for one in git_bytes(path, *asked).split(b"\0") if one]
    wanted = [(os.fsdecode(name), about.decode().split()) for about, name in listed]
    assert [(name, list(entry)) for name, entry in found.items()] == [
        (name, [mode, sha]) for name, (mode, _, sha) in wanted
    ]
    reader.close()


@pytest.mark.parametrize("path", ["", ".", "src/", "./src", "src/../src", "/src", "src//part1"])
def test_a_path_that_is_not_plain_is_left_to_git(objects: ObjectReader, path: str) -> None:
    """What git makes of it is git's to say."""
    assert Trees(objects).files(git(objects._common, "rev-parse", "HEAD"), (path,)) is None


def test_many_folders_are_left_to_git(
    objects: ObjectReader, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound holds for what is looked at, not for what the commit has."""
    head = head_of(repo)
    monkeypatch.setattr(trees, "TREES_MOST", 3)
    assert Trees(objects).files(head, ("src",)) is None
    assert Trees(objects).files(head, ("src/part1",)) is not None
    repository = locate(repo)
    assert len(repository.names(head, "src")) == 15
    repository.close()


@pytest.mark.parametrize("wide", [31_000, 5_000, 60])
def test_a_tree_that_names_a_wide_one_many_times_builds_little(
    objects: ObjectReader, repo: Path, wide: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three small objects that stand for millions of folders are left to git in time."""
    empty = git(repo, "mktree")
    one = a_tree(repo, {f"n{number:05}": empty for number in range(wide)})
    commit = git(
        repo, "commit-tree", a_tree(repo, {f"n{number}": one for number in range(255)}), "-mx"
    )
    built: list[Folder] = []

    def building(*values: Any) -> Folder:
        built.append(Folder(*values))
        return built[-1]

    monkeypatch.setattr(trees, "Folder", building)
    assert Trees(objects).files(commit, ()) is None
    assert len(built) <= trees.TREES_MOST + trees.FILES_MOST
    assert Trees(objects).files(commit, ("n7/n00001",)) == {}


def test_many_entries_are_left_to_git(
    objects: ObjectReader, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trees of a level are taken apart one by one, and no further than the bound."""
    wide = [
        a_tree(repo, {f"n{number}": git(repo, "mktree") for number in (*range(30), 100 + at)})
        for at in range(20)
    ]
    top = a_tree(repo, {f"w{at}": sha for at, sha in enumerate(wide)})
    commit = git(repo, "commit-tree", top, "-mx")
    paths = [f"w{at}/n1" for at in range(20)]
    assert Trees(objects).files(commit, paths) == {}
    monkeypatch.setattr(trees, "ENTRIES_MOST", 100)
    told = Trees(objects)
    assert told.files(commit, paths) is None
    assert told._entries <= 20 + 3 * 31 + 4


def test_a_tree_that_is_missing_is_git_s_to_say(objects: ObjectReader, repo: Path) -> None:
    """A listing with holes is never given."""
    gone = git(repo, "rev-parse", "HEAD:src/part1")
    (repo / ".git/objects" / gone[:2] / gone[2:]).unlink()
    repository, head = locate(repo), head_of(repo)
    for paths in ((), ("src/part1/f1.py",)):
        assert Trees(objects).files(head, paths) is None
        with pytest.raises(WorkspaceError, match=gone):
            repository.entries(head, *paths)
    assert Trees(objects).files(head, ("src/part2",)) is not None
    repository.close()


def test_what_is_borrowed_since_the_reader_s_start_is_found(repo: Path, tmp_path: Path) -> None:
    """The git that stays may not see it; one that is started anew does."""
    other = a_repository(tmp_path / "other", {"borrowed.txt": "b\n"})
    repository = locate(repo)
    assert repository.names(head_of(repo), "a.txt") == ["a.txt"]
    (repo / ".git/objects/info/alternates").write_text(f"{other}/.git/objects\n")
    assert repository.names(head_of(other)) == ["borrowed.txt"]
    repository.close()


def test_trees_make_room(objects: ObjectReader, repo: Path) -> None:
    """Only so much is kept; what is asked for is told all the same."""
    small, none = Trees(objects, most=6), Trees(objects, most=0)
    wanted = Trees(objects).files(head_of(repo), ())
    for _ in range(2):
        assert small.files(head_of(repo), ()) == none.files(head_of(repo), ()) == wanted
    assert small._entries <= 6 and not none._kept


def test_old_modes_are_told_as_git_tells_them() -> None:
    """Trees of long ago hold modes that git reads as others."""
    written = {"100664": "100644", "100775": "100755", "120777": "120000", "40000": "040000"}
    for number, (mode, wanted) in enumerate(written.items()):
        raw = f"{mode} n{number}".encode() + b"\0" + bytes(20)
        assert trees.entries_of(raw, 20) == {f"n{number}": (wanted, "0" * 40)}


# -- commits


def a_graph(repo: Path, count: int, seed: int) -> list[str]:
    """Make commits with up to three parents each, and return them, oldest first."""
    chosen = random.Random(seed)
    tree = git(repo, "rev-parse", "HEAD^{tree}")
    made: list[str] = []
    for number in range(count):
        parents = chosen.sample(made, min(len(made), chosen.choice([0, 1, 1, 1, 2, 3])))
        named = [word for one in parents for word in ("-p", one)]
        made.append(git(repo, "commit-tree", tree, *named, f"-m{number}"))
    return made


def test_descent_is_what_git_says(objects: ObjectReader, repo: Path) -> None:
    """For every pair of commits of a tangled history."""
    made = a_graph(repo, 9, seed=4)
    told = Ancestry(repo / ".git", objects)
    answers = set()
    for older in made:
        for newer in made:
            asked = ["git", "merge-base", "--is-ancestor", older, newer]
            done = subprocess.run(asked, cwd=repo, check=False, capture_output=True)
            assert told.holds(newer, older) == (done.returncode == 0)
            answers.add(done.returncode)
            line = told.line(newer, older)
            if line is not None:
                listed = git(repo, "rev-list", newer, f"^{older}").split()
                assert line == listed
    assert answers == {0, 1}


def test_what_a_few_reads_do_not_tell_is_left_to_git(objects: ObjectReader, repo: Path) -> None:
    """A long way, something that is no commit, no full id, or a history that is cut."""
    head, tree = head_of(repo), git(repo, "rev-parse", "HEAD^{tree}")
    chain = [head]
    for number in range(COMMITS_MOST + 1):
        chain.append(git(repo, "commit-tree", tree, "-p", chain[-1], f"-m{number}"))
    told = Ancestry(repo / ".git", objects)
    assert told.holds(chain[-2], chain[-2 - COMMITS_MOST + 1]) is True
    assert told.holds(chain[-1], chain[0]) is None
    assert told.line(chain[COMMITS_MOST], chain[0]) is not None
    assert told.line(chain[-1], chain[0]) is None
    for newer, older in ((tree, head), ("main", head), (head, "main"), ("1" * 40, head)):
        assert told.holds(newer, older) is None
    assert told.line("1" * 40, head) is None
    (repo / ".git/shallow").write_text(f"{head}\n")
    assert told.holds(head, head) is None
    assert told.line(chain[1], head) is None


def test_a_message_that_looks_like_a_parent_is_none(objects: ObjectReader, repo: Path) -> None:
    """Only the head of a commit names its parents."""
    tree, head = git(repo, "rev-parse", "HEAD^{tree}"), head_of(repo)
    alone = git(repo, "commit-tree", tree, "-m", f"parent {head}")
    assert Ancestry(repo / ".git", objects).holds(alone, head) is False
