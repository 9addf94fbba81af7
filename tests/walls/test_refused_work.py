"""What comes out of a workspace and is not taken in: too large, broken, forged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.collect import Collector
from orchestrator.errors import WorkspaceError
from orchestrator.repository import locate
from tests.builders import a_clone, a_commit, a_pack, git
from tests.walls.conftest import OpenRepository
from tests.walls.inside import done
from tests.walls.outside import differences, photograph

OURS = (".git/refs/orchestrate", ".git/logs/refs/orchestrate")

HEAD_OF_TREE = """
tree=$(python3 - <<'END' | git hash-object -t tree --literally -w --stdin
import os, subprocess, sys
blob = subprocess.run(["git", "hash-object", "-w", "--stdin"], input=b"x\\n", capture_output=True)
for mode, name in {entries}:
    data = bytes.fromhex(blob.stdout.decode().strip())
    if mode == b"40000":
        inner = b"100644 config\\0" + data
        made = ["git", "hash-object", "-t", "tree", "--literally", "-w", "--stdin"]
        done = subprocess.run(made, input=inner, capture_output=True)
        data = bytes.fromhex(done.stdout.decode().strip())
    sys.stdout.buffer.write(mode + b" " + name + b"\\0" + data)
END
)
commit=$(printf 'tree %s\\nparent %s\\nauthor a <a@b> 1 +0000\\ncommitter a <a@b> 1 +0000\\n\\nx\\n' \
  $tree $(git rev-parse HEAD) | git hash-object -t commit --literally -w --stdin)
git update-ref refs/heads/evil $commit && echo "ref: refs/heads/evil" > /git/HEAD
"""

EVIL_TREES = {
    "git folder": "[(b'40000', b'.git')]",
    "git folder in capitals": "[(b'40000', b'.GIT')]",
    "parent": "[(b'100644', b'..')]",
    "slash": "[(b'100644', b'../../escaped')]",
    "twice": "[(b'100644', b'a'), (b'100644', b'a')]",
    "empty name": "[(b'100644', b'')]",
    "modules as a link": "[(b'120000', b'.gitmodules')]",
}


@pytest.fixture
def unchanged(repository: Path) -> Callable[[], bool]:
    """Return what tells that the repository, its objects included, is as it was."""
    before = photograph(repository, leave_out=OURS)
    return lambda: differences(before, photograph(repository, leave_out=OURS)) == []


@pytest.mark.asyncio
@pytest.mark.parametrize("tree", EVIL_TREES)
async def test_a_forged_tree_is_refused(
    tree: str, open_repository: OpenRepository, unchanged: Callable[[], bool]
) -> None:
    """A commit whose tree would write to ``.git`` or outside never gets a ref."""
    async with open_repository() as workspace:
        command = HEAD_OF_TREE.replace("{entries}", EVIL_TREES[tree])
        await done(workspace.toolbox, command)
        collector = Collector(
            workspace=workspace._workspace,
            server=workspace._server,
            repository=workspace._repository,
            pack_limit=1 << 20,
        )
        head = await done(workspace.toolbox, "git rev-parse refs/heads/evil")
        with pytest.raises(WorkspaceError):
            await collector._bring_out(head)
    assert unchanged()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "command",
    [
        "find /git/objects -type f -name '????????*' -exec sh -c 'chmod 644 {}; echo junk > {}' ';'",
        "find /git/objects -type f -name '????????*' -delete; true",
        "echo 1234567812345678123456781234567812345678 > /git/refs/heads/work",
        "echo 'ref: refs/heads/../../../../../etc/passwd' > /git/HEAD",
        "echo junk > /git/HEAD",
        "rm -rf /git/objects/?? /git/refs /git/HEAD",
    ],
    ids=["corrupt", "deleted", "no such commit", "head outside", "junk head", "no head"],
)
async def test_a_broken_git_directory_is_refused(
    command: str, open_repository: OpenRepository, unchanged: Callable[[], bool]
) -> None:
    """Work whose objects or refs were destroyed inside is refused with one clear error."""
    async with open_repository() as workspace:
        await done(workspace.toolbox, "echo x > x; git add x; git commit -qm x")
        await done(workspace.toolbox, command)
        with pytest.raises(WorkspaceError) as refused:
            await workspace.collect("refs/heads/feature/out")
    assert len(str(refused.value).splitlines()) <= 5
    assert unchanged()


@pytest.mark.asyncio
async def test_a_pack_over_the_limit_is_refused(
    open_repository: OpenRepository, unchanged: Callable[[], bool]
) -> None:
    """More bytes than the limit are not taken in, and the file of them is gone."""
    async with open_repository() as workspace:
        await done(workspace.toolbox, "head -c 300000 /dev/urandom > big")
        collector = Collector(
            workspace=workspace._workspace,
            server=workspace._server,
            repository=workspace._repository,
            pack_limit=100_000,
        )
        with pytest.raises(WorkspaceError, match="larger than"):
            await collector.collect(message="Big", turn=0)
        assert not list(workspace._workspace.folder.glob("*.pack"))
    assert unchanged()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"garbage" * 100,
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[:40] + bytes([data[40] ^ 0xFF]) + data[41:],
        lambda _: b"",
    ],
    ids=["garbage", "cut off", "wrong checksum", "flipped", "empty"],
)
def test_a_broken_pack_is_refused(
    spoil: Callable[[bytes], bytes],
    repository: Path,
    tmp_path: Path,
    unchanged: Callable[[], bool],
) -> None:
    """A pack that is not whole leaves no object and no quarantine behind."""
    clone = a_clone(repository, tmp_path / "clone")
    base = git(clone, "rev-parse", "HEAD")
    head = a_commit(clone, {"src/new.py": "new\n" * 50})
    pack = tmp_path / "pack"
    pack.write_bytes(spoil(a_pack(clone, head, base)))
    with pytest.raises(WorkspaceError):
        locate(repository).import_pack(pack, base=base, head=head, limit=1 << 20)
    assert unchanged()


def test_a_pack_that_lacks_objects_is_refused(
    repository: Path, tmp_path: Path, unchanged: Callable[[], bool]
) -> None:
    """A pack without the whole history between base and head is not believed."""
    clone = a_clone(repository, tmp_path / "clone")
    base = git(clone, "rev-parse", "HEAD")
    middle = a_commit(clone, {"a": "1\n"})
    head = a_commit(clone, {"b": "2\n"})
    pack = tmp_path / "pack"
    pack.write_bytes(a_pack(clone, head, middle))
    with pytest.raises(WorkspaceError):
        locate(repository).import_pack(pack, base=base, head=head, limit=1 << 20)
    assert unchanged()


@pytest.mark.parametrize("head", ["", "HEAD", "--help", "refs/heads/main", "a" * 39, "a" * 40])
def test_a_head_that_is_no_commit_is_refused(
    head: str, repository: Path, tmp_path: Path, unchanged: Callable[[], bool]
) -> None:
    """What the inside names as its head must be the id of a commit that came with the pack."""
    (tmp_path / "pack").touch()
    base = git(repository, "rev-parse", "HEAD")
    with pytest.raises(WorkspaceError):
        locate(repository).import_pack(tmp_path / "pack", base=base, head=head, limit=1 << 20)
    assert unchanged()


@pytest.mark.parametrize("kind", ["tree", "blob", "tag"])
def test_a_head_of_another_kind_never_comes_out(
    kind: str, repository: Path, tmp_path: Path
) -> None:
    """A tree or a file in the place of a commit is refused; a tag is, or its commit is taken."""
    clone = a_clone(repository, tmp_path / "clone")
    base = git(clone, "rev-parse", "HEAD")
    a_commit(clone, {"new": "new\n"})
    git(clone, "tag", "-am", "x", "mark")
    head = git(clone, "rev-parse", {"tree": "HEAD^{tree}", "blob": "HEAD:new", "tag": "mark"}[kind])
    pack = tmp_path / "pack"
    pack.write_bytes(a_pack(clone, head, base))
    refs = git(repository, "for-each-ref")
    try:
        came = locate(repository).import_pack(pack, base=base, head=head, limit=1 << 20)
    except WorkspaceError:
        pass
    else:
        assert kind == "tag" and git(repository, "cat-file", "-t", came) == "commit"
    assert git(repository, "for-each-ref") == refs


@pytest.mark.asyncio
async def test_a_tag_as_head_inside_does_not_come_out(
    repository: Path, open_repository: OpenRepository
) -> None:
    """A HEAD that was written to hold a tag's id gives a commit, or is refused."""
    async with open_repository() as workspace:
        await done(workspace.toolbox, "git commit -q --allow-empty -m x; git tag -am x mark")
        await done(workspace.toolbox, "git rev-parse mark > /tmp/m; cp /tmp/m /git/HEAD")
        try:
            came = await workspace.collect("refs/agents/out")
        except WorkspaceError:
            return
    assert git(repository, "cat-file", "-t", came) == "commit"
