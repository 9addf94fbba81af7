"""Objects read through one git that stays, and listings that are kept, held against git itself."""

from __future__ import annotations

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.errors import RepositoryRefused, WorkspaceError
from orchestrator.objects import Listing, Listings, ObjectReader
from orchestrator.repository import BLOB_LIMIT, locate

LARGEST = 1 << 20


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    (folder / "pkg" / "deep").mkdir(parents=True)
    for name in ("a.py", "pkg/b.py", "pkg/deep/c.py", "pkg-other.py", "pkgs", "na\udcffme"):
        (folder / name).write_bytes(f"content of {name!r}\n".encode())
    for arguments in (["init", "-qb", "main"], ["add", "."], ["commit", "-qm", "base"]):
        git(folder, *arguments)
    return folder


def git(folder: Path, *arguments: str, data: bytes = b"") -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, input=data, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


def blob(folder: Path, data: bytes) -> str:
    return git(folder, "hash-object", "-w", "--stdin", data=data)


def child_of(reader: ObjectReader) -> int:
    assert reader.pid is not None
    return reader.pid


def test_objects_come_back_in_order_as_they_are(repo: Path) -> None:
    reader = ObjectReader(repo / ".git")
    contents = [b"", b"\n", b"no end", b"x" * 70_000, bytes(range(256))]
    names = [blob(repo, one) for one in contents]
    found = reader.read([*names, "HEAD", "HEAD^{tree}", "refs/heads/main"], largest=LARGEST)
    assert [one.data for one in found[:5] if one] == contents
    head, tree, main = found[5:]
    assert head and tree and main
    assert (head.sha, head.kind) == (git(repo, "rev-parse", "HEAD"), "commit")
    assert (tree.sha, tree.kind) == (git(repo, "rev-parse", "HEAD^{tree}"), "tree")
    assert main.sha == head.sha
    reader.close()


@pytest.mark.parametrize(
    "name",
    [
        *("0" * 40, "refs/heads/none", "", "-x", "--batch", "HEAD^{blob}"),
        *("a b", "x tree", "x blob", "tree 5", "x commit 5", "two\nlines", "HEAD\0x"),
    ],
)
def test_what_is_not_there_is_none_and_the_next_answer_is_not_disturbed(
    repo: Path, name: str
) -> None:
    reader = ObjectReader(repo / ".git")
    known = blob(repo, b"known")
    before, missing, after = reader.read([known, name, known], largest=LARGEST)
    assert missing is None
    assert before == after and after is not None and after.data == b"known"
    reader.close()


def test_a_content_that_is_too_large_is_left_out_and_the_next_one_is_whole(repo: Path) -> None:
    reader = ObjectReader(repo / ".git")
    large, small = blob(repo, b"x" * 3_000_000), blob(repo, b"small")
    first, second = reader.read([large, small], largest=100)
    assert first is not None and first.data is None
    assert second is not None and second.data == b"small"
    reader.close()


def test_more_names_than_a_pipe_holds(repo: Path) -> None:
    reader = ObjectReader(repo / ".git")
    known = blob(repo, b"y" * 5000)
    assert len(set(reader.read([known] * 3000, largest=LARGEST))) == 1
    reader.close()


def test_what_is_written_later_is_found(repo: Path) -> None:
    """Loose, packed, and behind a ref that moved: the process that stays sees it all."""
    repository = locate(repo)
    first = repository.commit("main")
    (repo / "a.py").write_text("new\n")
    git(repo, "commit", "-qam", "second")
    second = git(repo, "rev-parse", "main")
    assert repository.commit("main") == second != first
    assert repository.ref("refs/heads/main") == second
    git(repo, "repack", "-adq")
    git(repo, "pack-refs", "--all")
    git(repo, "prune-packed")
    assert repository.has(second) and repository.has(first)
    git(repo, "update-ref", "refs/heads/main", first)
    assert repository.ref("refs/heads/main") == first
    git(repo, "branch", "gone")
    assert repository.ref("refs/heads/gone") == first
    git(repo, "branch", "-D", "gone")
    assert repository.ref("refs/heads/gone") == ""
    repository.close()


def test_a_process_that_was_killed_is_started_anew(repo: Path) -> None:
    reader = ObjectReader(repo / ".git")
    known = blob(repo, b"known")
    reader.read([known], largest=LARGEST)
    killed = child_of(reader)
    os.kill(killed, signal.SIGKILL)
    (again,) = reader.read([known], largest=LARGEST)
    assert again is not None and again.data == b"known"
    assert child_of(reader) != killed
    reader.close()


def test_a_repository_that_is_gone_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(WorkspaceError, match="does not read objects"):
        ObjectReader(tmp_path / "empty").read(["HEAD"], largest=LARGEST)


def test_threads_get_their_own_answers(repo: Path) -> None:
    reader = ObjectReader(repo / ".git")
    names = {blob(repo, f"number {number}".encode()): number for number in range(40)}

    def one(sha: str) -> bytes | None:
        (found,) = reader.read([sha], largest=LARGEST)
        return found.data if found else None

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(one, list(names) * 20))
    assert found == [f"number {number}".encode() for number in list(names.values()) * 20]
    reader.close()


def test_nothing_is_left_when_it_is_closed_or_forgotten(repo: Path) -> None:
    pids = []
    for ending in (ObjectReader.close, lambda _: None):
        reader = ObjectReader(repo / ".git")
        reader.read(["HEAD"], largest=LARGEST)
        pids.append(child_of(reader))
        ending(reader)
        del reader
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_names_that_only_look_like_options_name_nothing(repo: Path) -> None:
    repository = locate(repo)
    for name in ("--help", "-h", "main\nmain", "HEAD^{tree}"):
        with pytest.raises(RepositoryRefused):
            repository.commit(name)
    repository.close()


def test_a_blob_above_the_limit_is_empty(repo: Path) -> None:
    repository = locate(repo)
    large = blob(repo, b"x" * (BLOB_LIMIT + 1))
    assert repository.blobs([large, blob(repo, b"ok")]) == [b"", b"ok"]
    with pytest.raises(WorkspaceError, match="is missing"):
        repository.blobs(["1" * 40])
    repository.close()


PATHS = [
    (),
    ("pkg",),
    ("pkg/",),
    ("pkg/deep", "a.py"),
    ("pkg/deep/c.py", "pkg"),
    ("none",),
    ("pk",),
    ("*.py",),
    ("pkg-other.py", "pkgs"),
    ("na\udcffme",),
]


@pytest.mark.parametrize("paths", PATHS)
@pytest.mark.parametrize("known", [False, True])
def test_a_listing_is_git_s(repo: Path, paths: tuple[str, ...], known: bool) -> None:
    repository = locate(repo)
    commit = repository.commit("HEAD")
    if known:
        repository.entries(commit)
    listed = subprocess.run(
        ["git", "--literal-pathspecs", "ls-tree", "-rz", "--name-only", commit, "--", *paths],
        cwd=repo,
        capture_output=True,
        check=True,
    )
    wanted = [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    for _ in range(2):
        assert sorted(repository.names(commit, *paths)) == sorted(wanted)
    entries = repository.entries(commit, *paths)
    assert all(mode == "100644" and len(sha) == 40 for mode, sha in entries.values())
    repository.close()


def test_listings_make_room_and_names_that_may_move_are_not_kept() -> None:
    listings = Listings(most=10)
    one, two, three = ("1" * 40, "2" * 40, "3" * 40)
    entries = {f"f{number}": ("100644", "0" * 40) for number in range(4)}
    listings.keep(one, (), entries)
    listings.keep(two, (), entries)
    assert listings.find(one, ()) == entries
    listings.keep(three, (), entries)
    assert listings.find(two, ()) is None, "the one that was used longest ago goes first"
    assert listings.find(one, ("f1",)) == {"f1": ("100644", "0" * 40)}
    listings.keep("main", (), entries)
    assert listings.find("main", ()) is None
    listings.keep(two, (), {f"f{number}": ("100644", "0" * 40) for number in range(20)})
    assert listings.find(two, ()) is None and listings.find(one, ()) is not None
    listings.keep(one, ("f1", "f2"), {"f1": ("100644", "0" * 40)})
    assert listings.find(one, ("f1", "f2")) is not None


def test_a_listing_counts_its_files() -> None:
    assert len(Listing({"a": ("100644", "0" * 40)})) == 1
