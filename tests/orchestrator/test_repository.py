"""The user's repository, as host git reads it and sets refs in it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from orchestrator.comparing import Comparing
from orchestrator.errors import RepositoryRefused, WorkspaceError
from orchestrator.records import DiffStat
from orchestrator.repository import BLOB_LIMIT, locate
from tests.builders import a_clone, a_commit, a_repository, git, write_files


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with one commit."""
    return a_repository(tmp_path / "repo", {"a.txt": "one\n", "src/b.py": "two\n"})


# -- finding it


@pytest.mark.parametrize("below", ["", "src", "src/deep"])
def test_a_repository_is_found_from_any_folder(repo: Path, below: str) -> None:
    """Wherever one stands in a checkout, its top, git directory and commit are found."""
    folder = repo / below
    folder.mkdir(exist_ok=True, parents=True)
    located = locate(folder).located
    assert (located.common, located.top) == (repo / ".git", repo)
    assert located.head == git(repo, "rev-parse", "HEAD")
    assert (located.shallow, located.object_format) == (False, "sha1")


def test_a_linked_worktree_is_the_same_repository(repo: Path, tmp_path: Path) -> None:
    """A linked worktree has its own top and commit, and the repository's one identity."""
    git(repo, "worktree", "add", "--quiet", "-b", "other", str(tmp_path / "linked"))
    commit = a_commit(tmp_path / "linked", {"c.txt": "3\n"})
    (tmp_path / "linked" / "sub").mkdir()
    for folder in (tmp_path / "linked", tmp_path / "linked" / "sub"):
        found = locate(folder)
        assert found.id == locate(repo).id
        assert found.top == tmp_path / "linked"
        assert found.located.head == commit


def test_a_bare_repository_has_no_checkout(repo: Path, tmp_path: Path) -> None:
    """A bare repository is found, without a top, and is never dirty."""
    git(repo, "clone", "--quiet", "--bare", str(repo), str(tmp_path / "bare.git"))
    found = locate(tmp_path / "bare.git")
    assert (found.top, found.common) == (None, tmp_path / "bare.git")
    assert not found.is_dirty()


@pytest.mark.parametrize("name", ["repo\nx", "repo\n", "\n"])
@pytest.mark.parametrize("below", ["", "src", ".git", ".git/refs"])
def test_a_path_with_a_line_break_is_no_other_path(tmp_path: Path, name: str, below: str) -> None:
    """A repository is refused rather than taken for the one whose path is the first line."""
    a_repository(tmp_path / "repo")
    found = a_repository(tmp_path / name / "inner" if name == "\n" else tmp_path / name)
    (found / "src").mkdir()
    with pytest.raises(RepositoryRefused, match="path has a line break"):
        locate(found / below)


def test_a_bare_repository_with_a_line_break_in_its_path(repo: Path, tmp_path: Path) -> None:
    """A git directory is looked at as a checkout is."""
    git(repo, "clone", "--quiet", "--bare", str(repo), str(tmp_path / "a\nb.git"))
    for below in ("", "refs"):
        with pytest.raises(RepositoryRefused, match="path has a line break"):
            locate(tmp_path / "a\nb.git" / below)


@pytest.mark.parametrize("odd", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\r", " "])
def test_other_characters_do_not_end_a_path(tmp_path: Path, odd: str) -> None:
    """Only a line break ends a line of git's; whatever else there is, the path is whole."""
    found = a_repository(tmp_path / f"a{odd}b")
    assert locate(found).top == found
    assert locate(found).located.common == found / ".git"


def test_a_symbolic_link_does_not_make_another_repository(repo: Path, tmp_path: Path) -> None:
    """A repository is known by the real path of its git directory."""
    (tmp_path / "link").symlink_to(repo)
    assert locate(tmp_path / "link").id == locate(repo).id


def test_what_cannot_be_worked_on_is_refused(repo: Path, tmp_path: Path) -> None:
    """No folder, no repository, or no commit: each is refused with what to do."""
    empty = tmp_path / "empty"
    git(repo, "init", "--quiet", str(empty))
    for folder, said, hint in (
        (tmp_path, "not in a git repository", "git init"),
        (empty, "has no commit yet", "commit something"),
        (tmp_path / "nowhere", "is not a folder", ""),
        (repo / "a.txt", "is not a folder", ""),
    ):
        with pytest.raises(RepositoryRefused, match=said) as caught:
            locate(folder)
        assert hint in caught.value.hint
        assert caught.value.exit_code == 2


def test_gits_own_environment_is_not_inherited(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hook's or a script's GIT variables do not lead to another repository."""
    other = a_repository(tmp_path / "other")
    for name, value in (("GIT_DIR", other / ".git"), ("GIT_WORK_TREE", other)):
        monkeypatch.setenv(name, str(value))
    assert locate(repo).common == repo / ".git"


def test_no_hook_or_helper_of_the_repository_is_run(repo: Path, tmp_path: Path) -> None:
    """Reading and setting refs starts none of the programs that a repository's settings name."""
    trap = tmp_path / "sprung"
    hook = repo / ".git" / "hooks" / "reference-transaction"
    hook.write_text(f"#!/bin/sh\ntouch {trap}\n")
    hook.chmod(0o755)
    git(repo, "config", "core.fsmonitor", f"touch {trap}; false")
    found = locate(repo)
    found.is_dirty()
    found.set_ref("refs/orchestrate/7/base", found.located.head)
    assert not trap.exists()


# -- reading it


def test_commits_and_trees_are_named_by_id(repo: Path) -> None:
    """A name becomes the id of a commit; what names none is refused, also if it looks like a flag."""
    found = locate(repo)
    head = git(repo, "rev-parse", "HEAD")
    git(repo, "tag", "-a", "-m", "one", "v1")
    assert {found.commit(name) for name in ("HEAD", "main", "v1", head, head[:10])} == {head}
    assert found.tree(head) == git(repo, "rev-parse", "HEAD^{tree}")
    for name in ("nothing", "", "--all", "HEAD:a.txt", "HEAD..main", "a b"):
        with pytest.raises(RepositoryRefused, match="names no commit"):
            found.commit(name)


def test_files_of_a_commit_are_listed_whatever_their_names(repo: Path) -> None:
    """Names come back as they are, of the whole commit or of some folders."""
    odd = "odd \t\n'\"ü.txt"
    commit = a_commit(repo, {odd: "x", "src/c.py": "c", "srcs/d.py": "d"})
    found = locate(repo / "src")
    assert set(found.names(commit)) == {"a.txt", odd, "src/b.py", "src/c.py", "srcs/d.py"}
    assert found.names(commit, "src") == ["src/b.py", "src/c.py"]
    entries = found.entries(commit, "a.txt", "src/b.py", "absent")
    assert {name: mode for name, (mode, _) in entries.items()} == {
        "a.txt": "100644",
        "src/b.py": "100644",
    }


def test_contents_come_back_in_order(repo: Path) -> None:
    """Contents are exact, one that is too large is empty, and a missing one is an error."""
    files: dict[str, str | bytes] = {
        "1": b"\0\xff\n\n",
        "2": b"x" * (BLOB_LIMIT + 1),
        "3": b"",
        "4": b"y" * BLOB_LIMIT,
    }
    commit = a_commit(repo, files)
    found = locate(repo)
    entries = found.entries(commit, *files)
    shas = [entries[name][1] for name in files]
    assert found.blobs(shas) == [b"\0\xff\n\n", b"", b"", b"y" * BLOB_LIMIT]
    assert found.blobs([]) == []
    with pytest.raises(WorkspaceError, match="is missing"):
        found.blobs([shas[0], "0" * 40])


def test_a_dirty_checkout_is_seen(repo: Path) -> None:
    """Changes to files that git knows count; other files do not."""
    found = locate(repo)
    write_files(repo, {"new.txt": "new"})
    assert not found.is_dirty()
    write_files(repo, {"a.txt": "changed"})
    assert found.is_dirty()


def test_borrowed_objects_are_known(repo: Path, tmp_path: Path) -> None:
    """A repository that borrows objects names the folders that it borrows from."""
    git(repo, "clone", "--quiet", "--shared", str(repo), str(tmp_path / "borrower"))
    folders = locate(tmp_path / "borrower").object_folders()
    assert folders == [tmp_path / "borrower/.git/objects", repo / ".git/objects"]


def test_a_partial_clone_is_refused_only_where_it_lacks_something(
    repo: Path, tmp_path: Path
) -> None:
    """Missing files of the base commit are found out before any work is paid for."""
    git(repo, "config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial"
    git(
        repo,
        "clone",
        "--quiet",
        "--no-checkout",
        "--filter=blob:none",
        f"file://{repo}",
        str(partial),
    )
    found = locate(partial)
    with pytest.raises(RepositoryRefused, match="partial clone"):
        found.require_complete(found.located.head)
    git(partial, "checkout", "--quiet", "main")
    found.require_complete(found.located.head)
    locate(repo).require_complete(git(repo, "rev-parse", "HEAD"))


def test_a_shallow_clone_says_so(repo: Path, tmp_path: Path) -> None:
    """A clone without its history is known to be one."""
    a_commit(repo, {"a.txt": "two\n"})
    git(repo, "clone", "--quiet", "--depth=1", f"file://{repo}", str(tmp_path / "shallow"))
    assert locate(tmp_path / "shallow").located.shallow


@pytest.fixture(params=["by the git that stays", "by one of its own"])
def compared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which git compares."""
    if request.param == "by one of its own":
        monkeypatch.setattr(Comparing, "between", lambda *_: None)


@pytest.mark.usefixtures("compared")
def test_a_change_is_counted(repo: Path) -> None:
    """Files and lines are counted, binary files without lines, whatever the names."""
    found = locate(repo)
    base = found.located.head
    commit = a_commit(repo, {"a.txt": "1\n2\n3\n", "bin": b"\0\1", "ü \n.txt": "x\n"})
    assert found.diff_stat(base, commit) == DiffStat(files=3, added=4, removed=1)
    assert found.diff_stat(base, base) == DiffStat()
    with pytest.raises(WorkspaceError, match="diff-tree failed"):
        found.diff_stat(base, "0" * 40)
    with_tab = a_commit(repo, {"a\tb": "x\n"})
    assert found.diff_stat(commit, with_tab) == DiffStat(files=1, added=1, removed=0)


# -- refs


def test_refs_are_compared_and_swapped(repo: Path) -> None:
    """A ref is set only while it is what was expected; an absent one reads as empty."""
    found = locate(repo)
    first, second = found.located.head, a_commit(repo, {"a.txt": "two\n"})
    name = "refs/orchestrate/7/head"
    assert found.ref(name) == ""
    found.set_ref(name, first, expected="")
    with pytest.raises(WorkspaceError):
        found.set_ref(name, second, expected="")
    with pytest.raises(WorkspaceError):
        found.set_ref(name, first, expected=second)
    found.set_ref(name, second, expected=first)
    assert found.ref(name) == second
    found.set_ref(name, first)
    assert found.ref(name) == first


@pytest.mark.parametrize("packed", [False, True])
def test_only_a_ref_of_just_that_name_is_one(repo: Path, packed: bool) -> None:
    """What else git would take a name for is no ref; a ref that is so named is one."""
    found = locate(repo)
    first, second = found.located.head, a_commit(repo, {"a.txt": "two\n"})
    described = f"refs/heads/feature/x-g{second[:7]}"
    git(repo, "branch", "refs/heads/only-below")
    git(repo, "update-ref", "refs/remotes/origin/main", first)
    git(repo, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    if packed:
        git(repo, "pack-refs", "--all")
    for name in (described, "refs/heads/only-below", "refs/heads/main~1", "x tree", second):
        assert found.ref(name) == ""
    assert found.ref("refs/remotes/origin/HEAD") == first
    assert found.ref("refs/heads/main") == second
    found.set_ref(described, first, expected="")
    if packed:
        git(repo, "pack-refs", "--all")
    assert found.ref(described) == first
    found.close()


def test_only_our_own_refs_can_be_deleted(repo: Path) -> None:
    """Deleting refs is bounded to one run's, and the user's cannot be reached."""
    found = locate(repo)
    for name in ("refs/orchestrate/7/a", "refs/orchestrate/7/b", "refs/orchestrate/77/a"):
        found.set_ref(name, found.located.head)
    found.delete_refs("refs/orchestrate/7/")
    found.delete_refs("refs/orchestrate/none/")
    refs = git(repo, "for-each-ref", "--format=%(refname)").splitlines()
    assert refs == ["refs/heads/main", "refs/orchestrate/77/a"]
    for prefix in ("refs/heads/", "refs/orchestrate", ""):
        with pytest.raises(WorkspaceError, match="not ours"):
            found.delete_refs(prefix)


def test_descent_is_told(repo: Path, tmp_path: Path) -> None:
    """An ancestor is told from a descendant, and from a commit that is not there."""
    found = locate(repo)
    first, second = found.located.head, a_commit(repo, {"a.txt": "two\n"})
    elsewhere = a_commit(a_clone(repo, tmp_path / "clone"), {"z": "z"})
    assert found.is_ancestor(first, second)
    assert found.is_ancestor(first, first)
    assert not found.is_ancestor(second, first)
    assert not found.is_ancestor(first, elsewhere)


# -- a repository whose own settings are hostile


FILTERED = """\
[filter "evil"]
\tclean = touch {marker}-clean; cat
\tsmudge = touch {marker}-smudge; cat
\trequired = true
[filter "evil.process"]
\tprocess = touch {marker}-process; false
\trequired = true
[core]
\tfsmonitor = touch {marker}-fsmonitor; false
\tsshCommand = touch {marker}-ssh; false
[gpg]
\tprogram = {marker}.sh
[log]
\tshowSignature = true
[diff "evil"]
\ttextconv = touch {marker}-textconv; cat
\tcommand = touch {marker}-diff; false
[protocol]
\tallow = always
[protocol "ssh"]
\tallow = always
"""
SIGNED = """\
tree {tree}
parent {parent}
author A <a@b.c> 1 +0000
committer A <a@b.c> 1 +0000
gpgsig -----BEGIN PGP SIGNATURE-----
{blank}
 aaaa
 -----END PGP SIGNATURE-----

Signed words
"""


@pytest.fixture
def hostile(repo: Path, tmp_path: Path) -> Path:
    """A repository whose settings name a program for whatever git may be asked to do."""
    marker = tmp_path / "ran"
    told = f"#!/bin/sh\ntouch {marker}-gpg\n"
    (tmp_path / "ran.sh").write_text(told, encoding="utf-8")
    (tmp_path / "ran.sh").chmod(0o755)
    rules = "a.txt filter=evil diff=evil\nb.txt filter=evil.process\n"
    a_commit(repo, {".gitattributes": rules, "b.txt": "two\n"})
    with (repo / ".git" / "config").open("a", encoding="utf-8") as config:
        config.write(FILTERED.format(marker=marker))
    # Another time and the same size: git has to compare contents.
    for name, content in {"a.txt": "ONE\n", "b.txt": "TWO\n"}.items():
        (repo / name).write_text(content, encoding="utf-8")
    return repo


def ran(folder: Path) -> set[str]:
    """Return which of the hostile programs were started."""
    return {one.name for one in folder.glob("ran-*")}


def test_the_attack_works_on_a_git_that_is_not_hardened(hostile: Path, tmp_path: Path) -> None:
    """What the next tests hold off is real: plain git runs these programs."""
    subprocess.run(["git", "status"], cwd=hostile, capture_output=True, check=False)
    assert {"ran-clean", "ran-fsmonitor"} <= ran(tmp_path)


def test_looking_for_changes_runs_no_program_of_the_repository(
    hostile: Path, tmp_path: Path
) -> None:
    """A dirty checkout is seen as dirty, and no filter takes part."""
    assert locate(hostile).is_dirty()
    assert ran(tmp_path) == set()


@pytest.mark.usefixtures("compared")
def test_comparing_runs_no_program_of_the_repository(hostile: Path, tmp_path: Path) -> None:
    """Neither an external diff nor a conversion takes part in a diff stat or a patch."""
    found = locate(hostile)
    base = git(hostile, "rev-parse", "HEAD~1")
    assert found.diff_stat(base, found.located.head).files == 2
    assert b"+two\n" in found.patch(base, found.located.head)
    assert ran(tmp_path) == set()


def test_a_signature_is_not_verified(hostile: Path, tmp_path: Path) -> None:
    """The words of a signed commit are read without starting what checks signatures."""
    found = locate(hostile)
    told = SIGNED.format(
        tree=found.tree("HEAD"), parent=git(hostile, "rev-parse", "HEAD"), blank=" "
    )
    made = git(hostile, "hash-object", "-t", "commit", "-w", "--stdin", stdin=told.encode())
    flat = found._flattened(made, git(hostile, "rev-parse", "HEAD~1"))
    assert git(hostile, "cat-file", "commit", flat).endswith("Signed words")
    assert ran(tmp_path) == set()


def test_nothing_is_fetched(hostile: Path, tmp_path: Path) -> None:
    """An object that is missing is an error, never a connection by a command of the repository."""
    blob = git(hostile, "rev-parse", "HEAD:src/b.py")
    (hostile / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    for name, value in {
        "extensions.partialClone": "origin",
        "core.repositoryFormatVersion": "1",
        "remote.origin.url": "ssh://nowhere.invalid/x",
        "remote.origin.promisor": "true",
    }.items():
        git(hostile, "config", name, value)
    found = locate(hostile)
    with pytest.raises(RepositoryRefused, match="partial clone"):
        found.require_complete(found.located.head)
    with pytest.raises(WorkspaceError):
        found.blobs([blob])
    assert ran(tmp_path) == set()
    subprocess.run(["git", "cat-file", "-p", blob], cwd=hostile, capture_output=True, check=False)
    assert "ran-ssh" in ran(tmp_path), "plain git was expected to try"
