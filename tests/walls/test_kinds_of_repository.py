"""Every kind of repository: what is inside equals the base, and a commit comes out."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import open_workspace
from orchestrator.errors import RepositoryRefused
from tests.builders import a_commit, a_repository, git, git_bytes
from tests.walls.inside import done

FILES: dict[str, str | bytes] = {"README.md": "# A project\n", "src/deep/er/a.py": "A\n", "b": b""}
ODD_NAMES = (
    "größe/naïve.txt", "日本/語", "e\u0301", "\u00e9", "with space/ lead", "trail ", "-rf", "--help",
    "tab\there", "new\nline", 'quo"te', "back\\slash", "star*", "$HOME", "`id`", "a" * 255, "~", "#x",
    "[a]", "{b}", ".hidden/.x", "git/config", ".gitignore/not", "CON", "ö/ö/ö", "!x", ":x", ":(top)y",
)  # fmt: skip


def plain(folder: Path) -> Path:
    """Make a repository with loose objects."""
    return a_repository(folder / "repo", FILES)


def subfolder(folder: Path) -> Path:
    return plain(folder) / "src" / "deep"


def linked_worktree(folder: Path) -> Path:
    repo = plain(folder)
    git(repo, "worktree", "add", "-q", "-b", "side", str(folder / "linked"))
    a_commit(folder / "linked", {"side": "of the linked work tree\n"})
    return folder / "linked"


def linked_worktree_of_bare(folder: Path) -> Path:
    repo = bare(folder)
    git(repo, "worktree", "add", "-q", str(folder / "linked"), "main")
    return folder / "linked"


def borrowing(folder: Path) -> Path:
    git(folder, "clone", "-q", "--shared", str(plain(folder)), str(folder / "shared"))
    a_commit(folder / "shared", {"own": "its own\n"})
    return folder / "shared"


def borrowing_twice(folder: Path) -> Path:
    git(folder, "clone", "-q", "--shared", str(borrowing(folder)), str(folder / "again"))
    a_commit(folder / "again", {"own2": "its own\n"})
    return folder / "again"


def borrowing_by_a_relative_path(folder: Path) -> Path:
    repo = borrowing(folder)
    listed = repo / ".git/objects/info/alternates"
    listed.write_text("# where\n../../../repo/.git/objects\n", encoding="utf-8")
    return repo


def shallow(folder: Path) -> Path:
    repo = plain(folder)
    a_commit(repo, {"more": "1\n"})
    a_commit(repo, {"more": "2\n"})
    git(folder, "clone", "-q", "--depth", "1", f"file://{repo}", str(folder / "shallow"))
    return folder / "shallow"


def partial(folder: Path) -> Path:
    repo = plain(folder)
    a_commit(repo, {"README.md": "# Changed\n"})
    git(repo, "config", "uploadpack.allowFilter", "true")
    url = f"file://{repo}"
    git(folder, "clone", "-q", "--filter=blob:none", url, str(folder / "partial"))
    return folder / "partial"


def sparse(folder: Path) -> Path:
    repo = plain(folder)
    git(repo, "sparse-checkout", "set", "nothing")
    return repo


def submodules(folder: Path) -> Path:
    library = a_repository(folder / "library", {"lib.c": "int x;\n"})
    repo = plain(folder)
    git(
        repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "lib"
    )
    git(repo, "commit", "-qm", "A submodule")
    return repo


def sha256(folder: Path) -> Path:
    (folder / "repo").mkdir()
    git(folder / "repo", "init", "-q", "--object-format=sha256", "--initial-branch=main")
    a_commit(folder / "repo", FILES)
    return folder / "repo"


def bare(folder: Path) -> Path:
    git(folder, "clone", "-q", "--bare", str(plain(folder)), str(folder / "bare.git"))
    return folder / "bare.git"


def detached(folder: Path) -> Path:
    repo = plain(folder)
    a_commit(repo, {"later": "later\n"})
    git(repo, "checkout", "-q", "--detach", "HEAD~1")
    return repo


def packed(folder: Path) -> Path:
    repo = plain(folder)
    git(repo, "gc", "-q")
    git(repo, "pack-refs", "--all")
    return repo


def packed_and_loose(folder: Path) -> Path:
    repo = packed(folder)
    a_commit(repo, {"README.md": "# Loose\n"})
    return repo


def odd_names(folder: Path) -> Path:
    names: dict[str, str | bytes] = {name: f"{name!r}\n" for name in ODD_NAMES}
    return a_repository(folder / "repo", {**names, os.fsdecode(b"latin\xe9"): b"\xe9\n"})


def odd_place(folder: Path) -> Path:
    return a_repository(folder / 'ge:ben "x" größe' / "re po", FILES)


def modes_and_links(folder: Path) -> Path:
    repo = plain(folder)
    (repo / "run.sh").write_text("#!/bin/sh\necho ran\n", encoding="utf-8")
    (repo / "run.sh").chmod(0o755)
    links = {"file": "README.md", "folder": "src", "up": "../x", "dangling": "no", "root": "/etc"}
    for name, target in links.items():
        (repo / f"link-{name}").symlink_to(target)
    git(repo, "add", "--all")
    git(repo, "commit", "-qm", "Modes and links")
    return repo


def line_ends(folder: Path) -> Path:
    files: dict[str, str | bytes] = {"crlf": b"a\r\nb\r\n", "mixed": b"a\r\nb\n", "bin": b"\0\r\n"}
    return a_repository(folder / "repo", {**FILES, **files})


def line_ends_by_attribute(folder: Path) -> Path:
    files: dict[str, str | bytes] = {
        ".gitattributes": "*.bat text eol=crlf\n*.sh text eol=lf\n*.txt text=auto\n*.id ident\n"
        "*.u16 text working-tree-encoding=UTF-16LE\n",
        "run.bat": b"a\nb\n", "run.sh": b"a\nb\n", "x.txt": b"a\nb\n", "x.id": b"$Id$\n",
        "x.u16": "größe\n".encode("utf-16-le"),
    }  # fmt: skip
    return a_repository(folder / "repo", {**FILES, **files})


def set_to_crlf(folder: Path) -> Path:
    repo = line_ends(folder)
    git(repo, "config", "core.autocrlf", "true")
    return repo


def ignored_and_dirty(folder: Path) -> Path:
    repo = a_repository(folder / "repo", {**FILES, ".gitignore": "*.log\n/build\n"})
    (repo / "build").mkdir()
    (repo / "x.log").write_text("ignored\n", encoding="utf-8")
    (repo / "README.md").write_text("changed\n", encoding="utf-8")
    (repo / "untracked").write_text("untracked\n", encoding="utf-8")
    return repo


def without_files(folder: Path) -> Path:
    (folder / "repo").mkdir()
    git(folder / "repo", "init", "-q", "--initial-branch=main")
    git(folder / "repo", "commit", "-q", "--allow-empty", "-m", "Empty")
    return folder / "repo"


def many_branches(folder: Path) -> Path:
    repo = plain(folder)
    for name in ("work/under", "orchestrate", "feature"):
        git(repo, "branch", name)
    return repo


def with_its_own_ideas(folder: Path) -> Path:
    repo = plain(folder)
    for key, value in {
        "index.version": "4", "core.untrackedCache": "true", "feature.manyFiles": "true",
        "commit.gpgSign": "true", "gpg.program": "/bin/false", "core.logAllRefUpdates": "false",
        "core.hooksPath": "/nonexistent", "core.quotePath": "false", "core.sharedRepository": "all",
        "transfer.unpackLimit": "1", "core.compression": "0", "core.fsync": "none",
    }.items():  # fmt: skip
        git(repo, "config", key, value)
    return repo


KINDS: list[Callable[[Path], Path]] = [
    plain, subfolder, linked_worktree, linked_worktree_of_bare, borrowing, borrowing_twice,
    borrowing_by_a_relative_path, shallow, partial, sparse, submodules, sha256, bare, detached,
    packed, packed_and_loose, odd_names, odd_place, modes_and_links, line_ends,
    line_ends_by_attribute, set_to_crlf, ignored_and_dirty, without_files, many_branches,
    with_its_own_ideas,
]  # fmt: skip


def checked_out(repo: Path, base: str) -> dict[str, tuple[str, bytes]]:
    """Return kind and bytes of every file, as a fresh checkout of a commit would have them."""
    data = git_bytes(repo, "-c", "core.autocrlf=false", "archive", "--format=tar", base)
    found: dict[str, tuple[str, bytes]] = {}
    if not git(repo, "ls-tree", base):
        return found
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive:
        for one in archive:
            if one.issym():
                found[one.name] = ("link", os.fsencode(one.linkname))
            elif one.isfile():
                file = archive.extractfile(one)
                kind = "program" if one.mode & 0o100 else "file"
                found[one.name] = (kind, file.read() if file else b"")
    return found


def lying_in(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Return kind and bytes of every file of a work tree."""
    found: dict[str, tuple[str, bytes]] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ("link", os.fsencode(path.readlink()))
        elif path.is_file() and name != ".git":
            kind = "program" if path.stat().st_mode & 0o100 else "file"
            found[name] = (kind, path.read_bytes())
    return found


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_a_kind_of_repository(
    kind: Callable[[Path], Path], tmp_path: Path, state: Path
) -> None:
    """The files inside are the base's, ``git status`` is clean, and a commit comes out whole."""
    (tmp_path / "kind").mkdir()
    repo = kind(tmp_path / "kind")
    base = git(repo, "rev-parse", "HEAD")
    top = repo if kind is bare else Path(git(repo, "rev-parse", "--show-toplevel"))
    async with open_workspace(repo, state=state) as workspace:
        assert workspace.base == base
        assert lying_in(workspace._workspace.work) == checked_out(top, base)
        clean = await done(
            workspace.toolbox, "git status --porcelain; git diff-files; git diff HEAD"
        )
        assert clean == ""
        assert await done(workspace.toolbox, "git rev-parse HEAD") == base
        assert await done(workspace.toolbox, "git symbolic-ref HEAD") == "refs/heads/work"
        await done(workspace.toolbox, "echo new > new.txt; git add new.txt; git commit -qm New")
        commit = await workspace.collect("refs/heads/out")
    assert git(repo, "log", "-1", "--format=%P %s", "out") == f"{base} New"
    assert git(repo, "rev-parse", "out") == commit
    assert git(repo, "diff", "--name-status", base, commit) == "A\tnew.txt"
    assert git(repo, "show", "out:new.txt") == "new"
    git(repo, "fsck", "--no-dangling")


@pytest.mark.asyncio
async def test_any_commit_can_be_the_base(tmp_path: Path, state: Path) -> None:
    """A base may be named as git names commits; what it names no commit is refused."""
    repo = plain(tmp_path)
    first = git(repo, "rev-parse", "HEAD")
    git(repo, "tag", "-am", "x", "v1")
    a_commit(repo, {"later": "later\n"})
    for base in (first, first[:10], "v1", "HEAD~1", "main^"):
        async with open_workspace(repo, base, state=state) as workspace:
            assert workspace.base == first
            assert not (workspace._workspace.work / "later").exists()
    for base in ("nothing", "HEAD^{tree}", "--all", "", "HEAD:README.md", "-", "@{99}"):
        with pytest.raises(RepositoryRefused):
            async with open_workspace(repo, base, state=state):
                pass


@pytest.mark.asyncio
async def test_what_is_no_repository_is_refused(tmp_path: Path, state: Path) -> None:
    """A plain folder, a missing one, a file and a repository without a commit are refused."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    git(tmp_path, "init", "-q", "empty")
    git(tmp_path, "init", "-q", "--bare", "bare")
    for name in ("folder", "missing", "file", "empty", "bare"):
        with pytest.raises(RepositoryRefused):
            async with open_workspace(tmp_path / name, state=state):
                pass


@pytest.mark.asyncio
async def test_a_partial_clone_that_lacks_files_is_refused(tmp_path: Path, state: Path) -> None:
    """A base whose files were never fetched is refused with what to run, not half checked out."""
    repo = plain(tmp_path)
    git(repo, "config", "uploadpack.allowFilter", "true")
    where = str(tmp_path / "partial")
    git(tmp_path, "clone", "-q", "--no-checkout", "--filter=blob:none", f"file://{repo}", where)
    repo.rename(tmp_path / "gone")
    with pytest.raises(RepositoryRefused) as refused:
        async with open_workspace(where, state=state):
            pass
    assert "git fetch" in refused.value.hint
