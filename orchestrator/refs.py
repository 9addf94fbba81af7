"""Refs: moved by one git that stays, and looked up in the files that git keeps them in.

Where a repository keeps its refs in another way, or a file is not as expected, git is asked.
Source: gitrepository-layout(5), git-pack-refs(1), git-update-ref(1).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import IO

from orchestrator.hostgit import environment, run_git
from orchestrator.standing import NoAnswer, StandingGit

PATIENCE_S = 0.5
"""Time to wait for one's turn before a process of one's own is started."""
PACKED_MOST = 1024 * 1024
"""Bytes of packed refs above which git is asked, which searches them."""
ELSEWHERE = b"refs/heads/.invalid"
"""What HEAD holds where refs are not kept in files."""
DONE = (b"start: ok\n", b"commit: ok\n")
QUESTION_MOST = 32 * 1024


class _Unknown(Exception):
    """Files do not tell: git has to be asked."""


class Refs:
    """The refs of a repository; they may be asked for and moved from several threads.

    Args:
        common: the repository's common git directory.
    """

    def __init__(self, common: Path) -> None:
        self._common = common
        self._git = StandingGit(
            common, "update-ref", "--no-deref", "--create-reflog", "--stdin", "-z"
        )

    def close(self) -> None:
        """End the process; the next question starts another."""
        self._git.close()

    # -- moving ----------------------------------------------------------------------------

    def set(self, name: str, commit: str, *, expected: str | None = None) -> None:
        """Set a ref; with ``expected`` only if it still is that (empty: if it does not exist).

        Raises:
            WorkspaceError: it is something else by now, or cannot be written.
        """
        old = None if expected is None else expected or "0" * len(commit)
        if self._done(f"update {name}", commit, old or ""):
            return
        # Asked alone, git says what is wrong.
        asked = ["update-ref", "--no-deref", "--create-reflog", name, commit]
        run_git([*asked, *([] if old is None else [old])], cwd=self._common, env=self._env())

    def delete(self, prefix: str) -> None:
        """Delete a ref, or all refs below a prefix, in one step.

        Raises:
            WorkspaceError: one of them cannot be deleted.
        """
        names = self.below(prefix)
        if not names or self._done(*(word for one in names for word in (f"delete {one}", ""))):
            return
        lines = "".join(f"delete {one}\n" for one in self._told(prefix))
        if lines:
            asked = ["update-ref", "--no-deref", "--stdin"]
            run_git(asked, cwd=self._common, env=self._env(), stdin=os.fsencode(lines))

    def _done(self, *words: str) -> bool:
        """Do something in one step by the git that stays; tell whether it says that it is done."""
        question = b"\0".join((b"start", *map(os.fsencode, words), b"commit", b""))
        if any("\0" in word for word in words) or len(question) > QUESTION_MOST:
            return False
        try:
            return self._git.ask(question, _is_done, patience_s=PATIENCE_S)
        except NoAnswer:
            return False

    # -- looking up ------------------------------------------------------------------------

    def below(self, prefix: str) -> list[str]:
        """Return the full names of the ref that is named so, and of all refs below it."""
        return self._names(prefix, deep=True)

    def has(self, name: str) -> bool:
        """Tell whether there is a ref of just this full name."""
        return name in self._names(name, deep=False)

    def _names(self, prefix: str, *, deep: bool) -> list[str]:
        try:
            # Packed refs are read last, since refs move into them.
            found = {*self._loose(prefix, deep=deep), *self._packed(prefix, deep=deep)}
        except (OSError, _Unknown):
            return self._told(prefix)
        return sorted(found)

    def _told(self, prefix: str) -> list[str]:
        asked = ["for-each-ref", "--format=%(refname)", prefix]
        listed = run_git(asked, cwd=self._common, env=self._env()).stdout
        return os.fsdecode(listed).splitlines()

    def _loose(self, prefix: str, *, deep: bool) -> list[str]:
        if not (self._common / "refs" / "heads").is_dir() or "//" in prefix or ".." in prefix:
            raise _Unknown
        place = self._common / prefix
        if place.is_file():
            return [] if prefix.endswith("/") else [prefix]
        found: list[str] = []
        if deep and place.is_dir():
            for folder, _, files in os.walk(place, onerror=_raise):
                inside = Path(folder).relative_to(self._common)
                found += [f"{inside}/{name}" for name in files if not name.endswith(".lock")]
        return found

    def _packed(self, prefix: str, *, deep: bool) -> list[str]:
        try:
            with (self._common / "packed-refs").open("rb") as file:
                data = file.read(PACKED_MOST + 1)
        except FileNotFoundError:
            return []
        if len(data) > PACKED_MOST:
            raise _Unknown
        if b" " + os.fsencode(prefix) not in data:
            return []
        rest = b"" if not deep else b"[^\n]+" if prefix.endswith("/") else b"(?:/[^\n]+)?"
        pattern = b"(?m)^[0-9a-f]{40,64} (" + re.escape(os.fsencode(prefix)) + rest + b")$"
        return [os.fsdecode(one) for one in re.findall(pattern, data)]

    def may_be_out(self, branch: str) -> bool:
        """Tell whether some work tree may have a branch out; if so, git knows whether it has.

        A work tree's HEAD names its branch. Where it is no plain file that does, or the branch
        that it names stands for another, nothing is told from it.
        """
        try:
            heads = [self._common / "HEAD", *self._common.glob("worktrees/*/HEAD")]
            return any(self._may_be(head, branch) for head in heads)
        except OSError:
            return True

    def _may_be(self, head: Path, branch: str) -> bool:
        if head.is_symlink():
            return True
        said = head.read_bytes()
        if not said.startswith(b"ref:"):
            return False
        name = said.removeprefix(b"ref:").strip()
        if name in {ELSEWHERE, os.fsencode(f"refs/heads/{branch}")}:
            return True
        target = self._common / os.fsdecode(name)
        return target.is_symlink() or (target.is_file() and target.read_bytes().startswith(b"ref:"))

    def _env(self) -> dict[str, str]:
        return environment(GIT_DIR=str(self._common))


def _is_done(output: IO[bytes]) -> bool:
    for wanted in DONE:
        if output.readline() != wanted:
            raise EOFError
    return True


def _raise(error: OSError) -> None:
    raise error
