"""What comes out of a sandbox is checked in quarantine before it is taken in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import WorkspaceError
from orchestrator.repository import Repository, locate
from tests.builders import a_clone, a_commit, a_pack, a_repository, git, git_bytes

MEGABYTE = 1024 * 1024


class Given:
    """A user's repository, and an agent's clone of it that the user does not have."""

    def __init__(self, folder: Path, name: str = "repo") -> None:
        self.path = a_repository(folder / name, {"a.txt": "one\n" * 100, "b.txt": "two\n"})
        self.agent = a_clone(self.path, folder / "agent")
        self.base = git(self.path, "rev-parse", "HEAD")
        self.repository: Repository = locate(self.path)
        self.pack = folder / "pack"

    def take(self, data: bytes, head: str, limit: int = MEGABYTE) -> str:
        """Import a pack."""
        self.pack.write_bytes(data)
        return self.repository.import_pack(self.pack, base=self.base, head=head, limit=limit)

    def has(self, sha: str) -> bool:
        """Tell whether the user's repository has an object."""
        listed = git(self.path, "cat-file", "--batch-check", stdin=f"{sha}\n".encode())
        return not listed.endswith("missing")

    def files(self) -> set[str]:
        """Return all files of the user's git directory."""
        return {str(path) for path in (self.path / ".git").rglob("*")}


@pytest.fixture
def given(tmp_path: Path) -> Given:
    """A repository and an agent's clone."""
    return Given(tmp_path)


@pytest.fixture
def untouched(given: Given) -> Iterator[None]:
    """Whatever the test tries, the user's git directory has the same files afterwards."""
    before = given.files()
    yield
    assert given.files() == before


def test_a_commit_on_the_base_is_taken_in(given: Given) -> None:
    """A thin pack's commit is in the repository afterwards, whole, and no ref has moved."""
    refs = git(given.path, "for-each-ref")
    head = a_commit(given.agent, {"a.txt": "one\n" * 99 + "three\n", "c.txt": "new\n"}, "Work")
    taken = given.take(a_pack(given.agent, head, given.base), head)
    assert taken == head
    assert git(given.path, "show", f"{head}:c.txt") == "new"
    assert git(given.path, "fsck", "--strict", "--no-dangling") == ""
    assert git(given.path, "for-each-ref") == refs
    assert not list((given.path / ".git/objects").glob("orchestrate-*"))


def test_taking_the_same_pack_twice_changes_nothing(given: Given) -> None:
    """An import that is repeated after a crash ends with the same commit and the same objects."""
    head = a_commit(given.agent, {"c.txt": "new\n"})
    pack = a_pack(given.agent, head, given.base)
    given.take(pack, head)
    files = given.files()
    assert given.take(pack, head) == head
    assert given.files() == files


@pytest.mark.usefixtures("untouched")
def test_without_a_change_the_base_is_the_result(given: Given) -> None:
    """An empty pack for the base itself is fine and writes nothing."""
    assert given.take(b"", given.base) == given.base


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("data", [b"garbage", b"PACK", b"PACK\0\0\0\2\0\0\0\1", b"\0" * 4096])
def test_garbage_is_refused(given: Given, data: bytes) -> None:
    """Bytes that are no pack are refused, and nothing of them stays."""
    with pytest.raises(WorkspaceError, match="what the agent committed was refused"):
        given.take(data, "b" * 40)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_pack_that_was_cut_is_refused(given: Given, cut: int) -> None:
    """A pack that lacks its end is refused."""
    head = a_commit(given.agent, {"c.txt": "new\n"})
    with pytest.raises(WorkspaceError):
        given.take(a_pack(given.agent, head, given.base)[:-cut], head)


@pytest.mark.usefixtures("untouched")
def test_a_pack_that_is_too_large_is_refused(given: Given) -> None:
    """No more is taken in than the limit allows."""
    noise = bytes((number * 7919 + number // 251) % 256 for number in range(200_000))
    head = a_commit(given.agent, {"c.bin": noise})
    pack = a_pack(given.agent, head, given.base)
    with pytest.raises(WorkspaceError, match="maximum allowed size"):
        given.take(pack, head, limit=len(pack) - 1)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("lacking", ["blob", "tree", "parent"])
def test_a_pack_that_lacks_objects_is_refused(given: Given, lacking: str) -> None:
    """A commit is taken in only with everything that it needs."""
    middle = a_commit(given.agent, {"c.txt": "middle\n"})
    head = a_commit(given.agent, {"d/e.txt": "new\n"})
    tree = git(given.agent, "rev-parse", "HEAD^{tree}")
    sub, blob = (
        git(given.agent, "rev-parse", "HEAD:d"),
        git(given.agent, "rev-parse", "HEAD:d/e.txt"),
    )
    kept = {
        "blob": [head, middle, tree, sub],
        "tree": [head, middle, sub, blob],
        "parent": [head, tree, sub, blob],
    }[lacking]
    listed = "".join(f"{sha}\n" for sha in kept).encode()
    packed = git_pack(given.agent, listed)
    with pytest.raises(WorkspaceError):
        given.take(packed, head)


def git_pack(path: Path, listed: bytes) -> bytes:
    """Pack exactly the listed objects."""
    return git_bytes(path, "pack-objects", "--stdout", "--quiet", stdin=listed)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("head", ["", "HEAD", "--all", "a" * 39, "b" * 40, "refs/heads/main"])
def test_a_head_that_is_no_commit_here_is_refused(given: Given, head: str) -> None:
    """What the sandbox names must be the id of a commit that came with the pack."""
    with pytest.raises(WorkspaceError):
        given.take(b"", head)


@pytest.mark.parametrize("entry", [".git", ".GIT", "..", "a/b"])
def test_a_tree_that_would_escape_is_refused(given: Given, entry: str) -> None:
    """Trees whose names reach into a git directory or out of the checkout are refused."""
    blob = git(given.agent, "hash-object", "-w", "--stdin", stdin=b"evil\n")
    raw = b"100644 " + entry.encode() + b"\0" + bytes.fromhex(blob)
    tree = git(given.agent, "hash-object", "-w", "-t", "tree", "--literally", "--stdin", stdin=raw)
    head = git(given.agent, "commit-tree", tree, "-p", given.base, "-m", "evil")
    listed = "".join(f"{sha}\n" for sha in (head, tree, blob)).encode()
    with pytest.raises(WorkspaceError, match="refused"):
        given.take(git_pack(given.agent, listed), head)
    assert not given.has(head)


def test_an_unrelated_history_becomes_one_commit_on_the_base(given: Given) -> None:
    """A head that does not descend from the base is flattened: its tree and message, on the base."""
    git(given.agent, "switch", "--quiet", "--orphan", "fresh")
    a_commit(given.agent, {"x.txt": "1\n"}, "First of its own")
    head = a_commit(given.agent, {"y.txt": "2\n"}, "Second of its own\n\nWith a body")
    taken = given.take(a_pack(given.agent, head), head)
    assert taken != head
    assert git(given.path, "rev-list", "--parents", "-1", taken) == f"{taken} {given.base}"
    assert git(given.path, "ls-tree", "--name-only", taken) == "x.txt\ny.txt"
    assert git(given.path, "log", "-1", "--format=%B", taken) == "Second of its own\n\nWith a body"
    assert git(given.path, "log", "-1", "--format=%an %cn", taken) == "orchestrate orchestrate"


def test_a_rewritten_history_becomes_one_commit_on_the_base(given: Given) -> None:
    """An amended base does not pull the user's branch aside."""
    git(given.agent, "commit", "--quiet", "--amend", "--message=Rewritten")
    head = a_commit(given.agent, {"c.txt": "new\n"}, "Work")
    taken = given.take(a_pack(given.agent, head, given.base), head)
    assert git(given.path, "rev-parse", f"{taken}^") == given.base
    assert git(given.path, "rev-parse", f"{taken}^{{tree}}") == git(
        given.agent, "rev-parse", "HEAD^{tree}"
    )


def test_no_replacement_is_believed(given: Given) -> None:
    """Replace refs of the user's repository do not make an unrelated head look related."""
    head = a_commit(given.agent, {"c.txt": "new\n"})
    other = git(given.path, "commit-tree", f"{given.base}^{{tree}}", "-m", "other root")
    git(given.path, "replace", given.base, other)
    assert given.take(a_pack(given.agent, head, given.base), head) == head


def test_a_path_with_a_colon_is_no_list_of_paths(tmp_path: Path) -> None:
    """A repository whose path holds a colon works like any other."""
    given = Given(tmp_path, name="a:b")
    head = a_commit(given.agent, {"a.txt": "one\n" * 99 + "three\n"})
    assert given.take(a_pack(given.agent, head, given.base), head) == head
