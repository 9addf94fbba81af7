"""What a commit changes against another, file by file and line by line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from orchestrator.comparing import AS_IT_IS, AS_PLAIN
from orchestrator.hostgit import environment, run_git
from orchestrator.records import FileChange
from orchestrator.repository import Repository

LINES_LIMIT = 8 * 1024 * 1024
"""Bytes of one file's patch above which its lines are not told."""
COMMITS_LIMIT = 300
"""Commits above which a history is not read."""

HUNK = re.compile(rb"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@")
STATES: dict[bytes, Literal["added", "changed", "removed"]] = {b"A": "added", b"D": "removed"}


def read_changes(repository: Repository, base: str, commit: str) -> list[FileChange]:
    """Read what a commit changes against another; only git's objects are looked at.

    Args:
        repository: holds both.
        base: the commit or tree before.
        commit: the commit or tree after.

    Raises:
        WorkspaceError: git cannot tell.
    """
    entries, patch = _told(repository.patch(base, commit))
    parts = _parts(patch)
    # A file whose kind changes has two parts, removed and added, for its one entry.
    found = []
    for old_mode, mode, state, path in entries:
        wanted = 2 if _kind(old_mode) != _kind(mode) and STATES.get(state) is None else 1
        told = [next(parts, b"") for _ in range(wanted)]
        found.append(_change(old_mode, mode, state, path, told))
    if next(parts, None) is not None:
        raise AssertionError("git told of more files than it listed")
    return found


def read_history(
    repository: Repository, base: str, commit: str, whole: Sequence[FileChange] | None = None
) -> Sequence[FileChange] | None:
    """Read what each commit between two brings, whatever later ones took away again.

    Args:
        repository: holds both.
        base: the commit before.
        commit: the commit after.
        whole: what ``read_changes`` told of the two, if that is known already.

    Returns:
        The changes of all those commits, or None where there are too many of them.

    Raises:
        WorkspaceError: git cannot tell.
    """
    rows = _commits(repository, base, commit)
    if len(rows) > COMMITS_LIMIT:
        return None
    if [row[1:] for row in rows] == [[base]]:
        return whole if whole is not None else read_changes(repository, base, commit)
    found: list[FileChange] = []
    for sha, *parents in rows:
        # What a merge brings from either side is not its own: only what differs from both is.
        others = parents or [_nothing(repository)]
        sides = [read_changes(repository, other, sha) for other in others]
        found += _in_all(sides)
    return found


def _commits(repository: Repository, base: str, commit: str) -> list[list[str]]:
    """Return commits that are not the base's, newest first, each with its parents after it."""
    line = repository.line(commit, base)
    if line is not None:
        return [[one, older] for one, older in zip(line, [*line[1:], base], strict=True)]
    env = environment(GIT_DIR=str(repository.common))
    asked = ["rev-list", "--parents", f"--max-count={COMMITS_LIMIT + 1}", commit, f"^{base}", "--"]
    told = run_git(asked, cwd=repository.common, env=env).stdout.decode()
    return [line.split() for line in told.splitlines()]


def _nothing(repository: Repository) -> str:
    """Return the empty tree, which a first commit is compared with."""
    env = environment(GIT_DIR=str(repository.common))
    asked = ["hash-object", "-t", "tree", "-w", "--stdin"]
    made = run_git(asked, cwd=repository.common, env=env, stdin=b"")
    return made.stdout.decode().strip()


def _in_all(sides: list[list[FileChange]]) -> Iterator[FileChange]:
    others = [{one.path: one for one in side} for side in sides[1:]]
    for change in sides[0]:
        same = [side.get(change.path) for side in others]
        if None in same:
            continue
        kept = set(change.added).intersection(*(one.added for one in same if one is not None))
        yield replace(
            change,
            added=tuple(line for line in change.added if line in kept),
            cut=change.cut or any(one.cut for one in same if one is not None),
        )


def _kind(mode: str) -> str:
    return mode[:2]


def _told(told: bytes) -> tuple[list[tuple[str, str, bytes, str]], bytes]:
    """Return modes, state and path of each file, and the patch after them."""
    found = []
    at = 0
    while told.startswith(b":", at):
        middle = told.index(b"\0", at)
        end = told.index(b"\0", middle + 1)
        old_mode, mode, _, _, state = told[at + 1 : middle].split(b" ")
        path = os.fsdecode(told[middle + 1 : end])
        found.append((old_mode.decode(), mode.decode(), state[:1], path))
        at = end + 1
    return found, told[at:].removeprefix(b"\0")


def _parts(patch: bytes) -> Iterator[bytes]:
    """Cut a patch at its files; a line of a file never begins like the head of one."""
    yield from re.split(rb"^diff --git ", patch, flags=re.MULTILINE)[1:]


def _change(old_mode: str, mode: str, state: bytes, path: str, parts: list[bytes]) -> FileChange:
    cut = any(len(part) > LINES_LIMIT for part in parts)
    added: list[tuple[int, str]] = []
    removed: list[tuple[int, str]] = []
    for part in () if cut else parts:
        head, _, _ = part.partition(b"\n@@ ")
        _lines(part[len(head) + 1 :], added, removed)
    return FileChange(
        path=path,
        state=STATES.get(state, "changed"),
        old_mode=old_mode,
        mode=mode,
        added=tuple(added),
        removed=tuple(removed),
        binary=any("\0" in line for _, line in (*added, *removed)),
        cut=cut,
    )


def _lines(hunks: bytes, added: list[tuple[int, str]], removed: list[tuple[int, str]]) -> None:
    before = after = 0
    for line in hunks.split(b"\n"):
        hunk = HUNK.match(line)
        if hunk:
            before, after = int(hunk[1]), int(hunk[2])
        elif line.startswith(b"+"):
            added.append((after, _text(line)))
            after += 1
        elif line.startswith(b"-"):
            removed.append((before, _text(line)))
            before += 1


def _text(line: bytes) -> str:
    return line[1:].removesuffix(b"\r").decode("utf-8", "replace")


def read_patch(repository: Repository, base: str, commit: str) -> list[tuple[str, str]]:
    """Return what a commit changes against another as text for a reader, a part a file.

    Args:
        repository: holds both.
        base: the commit before.
        commit: the commit after.

    Raises:
        WorkspaceError: git cannot tell.
    """
    env = environment(AS_PLAIN, GIT_DIR=str(repository.common))
    asked = ["diff-tree", "-r", "-p", "-U8", *AS_IT_IS, base, commit, "--"]
    patch = run_git(asked, cwd=repository.common, env=env).stdout
    found = []
    for part in re.split(rb"(?m)^(?=diff --git )", patch):
        if not part:
            continue
        first, _, rest = part.partition(b"\n")
        named = first.removeprefix(b"diff --git ").decode("utf-8", "replace")
        text = "(binary)" if b"\0" in part else rest.decode("utf-8", "replace")
        found.append((named, text))
    return found
