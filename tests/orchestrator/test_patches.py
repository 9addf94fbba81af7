"""What a commit changes, told by real git of real commits."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.ancestry import Ancestry
from orchestrator.comparing import Comparing
from orchestrator.patches import read_changes, read_history
from orchestrator.repository import Repository, locate
from tests.builders import IDENTITY


def git(folder: Path, *arguments: str, stdin: bytes | None = None) -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        check=True,
        env={**os.environ, **IDENTITY},
    )
    return done.stdout.decode().strip()


@pytest.fixture(scope="module", params=["by the git that stays", "by one of its own"])
def repository(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Repository]:
    folder = tmp_path_factory.mktemp("patches")
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    found = locate(folder)
    with pytest.MonkeyPatch.context() as patched:
        if request.param == "by one of its own":
            patched.setattr(Comparing, "between", lambda *_: None)
            patched.setattr(Ancestry, "line", lambda *_: None)
        yield found
    found.close()


def tree(repository: Repository, files: Mapping[str, bytes | tuple[str, bytes]]) -> str:
    """Make a tree of files; a tuple gives the mode too."""
    listed = []
    for name, content in files.items():
        mode, data = content if isinstance(content, tuple) else ("100644", content)
        sha = git(repository.common, "hash-object", "-w", "--stdin", stdin=data)
        listed.append(f"{mode} blob {sha}\t".encode() + os.fsencode(name))
    ends = b"".join(line + b"\0" for line in listed)
    return git(repository.common, "mktree", "-z", stdin=ends)


LINES = st.lists(
    st.sampled_from(
        [
            b"a",
            b"",
            b"diff --git a/x b/x",
            b"@@ -1 +1 @@",
            b"-- a/x",
            b"++ b/x",
            b"\\ No newline at end of file",
            b"\xff\0",
            b"+",
            b"\r",
        ]
    ),
    max_size=12,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(before=LINES, after=LINES, end=st.booleans())
def test_old_and_changes_make_new(
    repository: Repository, before: list[bytes], after: list[bytes], end: bool
) -> None:
    """Whatever the lines look like: the old file with its changes is the new one."""
    joined = b"\n".join(after) + (b"\n" if end else b"")
    old = tree(repository, {"x": b"".join(line + b"\n" for line in before), "y": b"same"})
    new = tree(repository, {"x": joined, "y": b"same"})
    changes = read_changes(repository, old, new)
    if old == new:
        assert changes == []
        return
    (change,) = changes
    assert (change.path, change.state) == ("x", "changed")
    lines = [line.removesuffix(b"\r").decode("utf-8", "replace") for line in before]
    for number, text in reversed(change.removed):
        assert lines.pop(number - 1) == text
    for number, text in change.added:
        lines.insert(number - 1, text)
    wanted = joined.split(b"\n")
    if not wanted[-1]:
        wanted.pop()
    assert lines == [line.removesuffix(b"\r").decode("utf-8", "replace") for line in wanted]


def test_names_that_lie(repository: Repository) -> None:
    """A name with a line end, quotes, or bytes that are no text is told as it is."""
    names = ["a\ndiff --git a b", '"q"', "\udcff", "b c -> d", "é"]
    new = tree(repository, dict.fromkeys(sorted(names, key=os.fsencode), b"1\n"))
    changes = read_changes(repository, tree(repository, {}), new)
    assert {one.path for one in changes} == set(names)
    assert all(one.state == "added" and one.added == ((1, "1"),) for one in changes)


def test_modes_and_kinds(repository: Repository) -> None:
    """Modes are told, and a file that becomes a link is one change with lines of both."""
    old = tree(repository, {"kind": b"text\n", "mode": b"same\n", "z": b"1\n"})
    new = tree(
        repository,
        {"kind": ("120000", b"target"), "mode": ("100755", b"same\n"), "z": b"2\n"},
    )
    kind, mode, last = read_changes(repository, old, new)
    assert (kind.old_mode, kind.mode) == ("100644", "120000")
    assert (kind.removed, kind.added) == (((1, "text"),), ((1, "target"),))
    assert (mode.old_mode, mode.mode, mode.added, mode.removed) == ("100644", "100755", (), ())
    assert (last.path, last.added, last.removed) == ("z", ((1, "2"),), ((1, "1"),))


def test_attributes_hide_nothing(repository: Repository) -> None:
    """Attributes that call a file binary do not hide its lines."""
    marks = b"*.py -diff binary\n"
    old = tree(repository, {".gitattributes": marks, "a.py": b"1\n"})
    new = tree(repository, {".gitattributes": marks, "a.py": b"2\n"})
    info = repository.common / "info"
    info.mkdir(exist_ok=True)
    (info / "attributes").write_bytes(marks)
    try:
        (change,) = read_changes(repository, old, new)
    finally:
        (info / "attributes").unlink()
    assert change.added == ((1, "2"),)
    assert not change.binary


def test_a_huge_file_is_cut(repository: Repository) -> None:
    """Lines that are too many are not told, and that they are not is."""
    new = tree(repository, {"big": b"x\n" * 5_000_000, "small": b"1\n"})
    big, small = read_changes(repository, tree(repository, {}), new)
    assert (big.cut, big.added) == (True, ())
    assert (small.cut, small.added) == (False, ((1, "1"),))


def commit(repository: Repository, made: str, *parents: str) -> str:
    """Commit a tree."""
    named = [word for one in parents for word in ("-p", one)]
    return git(repository.common, "commit-tree", made, *named, "-m", "one")


def test_a_history_tells_what_was_taken_away_again(repository: Repository) -> None:
    """What one commit brings and the next removes is told; what a merge takes over is not."""
    base = commit(repository, tree(repository, {"a": b"1\n"}))
    brought = commit(repository, tree(repository, {"a": b"1\n", "b": b"gone\n"}), base)
    removed = commit(repository, tree(repository, {"a": b"1\n"}), brought)
    theirs = commit(repository, tree(repository, {"a": b"1\n", "c": b"theirs\n"}), base)
    files = {"a": b"1\nown\n", "c": b"theirs\n"}
    merged = commit(repository, tree(repository, files), removed, theirs)
    assert read_changes(repository, base, removed) == []
    told = read_history(repository, base, removed)
    assert told is not None
    assert [(one.path, one.added) for one in told] == [("b", ()), ("b", ((1, "gone"),))]
    told = read_history(repository, theirs, merged)
    assert told is not None
    assert [(one.path, one.added) for one in told if one.added] == [
        ("a", ((2, "own"),)),
        ("b", ((1, "gone"),)),
    ]


def test_a_history_of_an_unrelated_commit(repository: Repository) -> None:
    """A commit without parents is told against nothing."""
    base = commit(repository, tree(repository, {"a": b"1\n"}))
    other = commit(repository, tree(repository, {"b": b"2\n"}))
    told = read_history(repository, base, other)
    assert told is not None
    assert [(one.path, one.added) for one in told] == [("b", ((1, "2"),))]


def test_a_history_too_long_to_be_read(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of too many commits nothing is told, not a part."""
    monkeypatch.setattr("orchestrator.patches.COMMITS_LIMIT", 2)
    made = tree(repository, {"a": b"1\n"})
    chain = [commit(repository, made)]
    for number in range(3):
        chain.append(commit(repository, tree(repository, {"a": b"%d\n" % number}), chain[-1]))
    assert read_history(repository, chain[0], chain[2]) is not None
    assert read_history(repository, chain[0], chain[3]) is None
