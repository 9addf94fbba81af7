"""What differs between two trees, told by a git that stays.

``git diff-tree --stdin`` compares what it reads, and says a line that is no object's id again as
it is. Such a line of ours, which nobody can guess, tells where an answer ends.
Source: git-diff-tree(1); builtin/diff-tree.c.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from orchestrator.standing import NoAnswer, StandingGit

PATIENCE_S = 0.2
"""Time to wait for one's turn: a comparison may take long, and nobody should wait for another's."""
CHUNK = 256 * 1024
LARGE = 4 * 1024 * 1024
"""Bytes of an answer after which the process is ended: it may keep much memory."""

SAME_FOR_ALL = ("--no-renames", "--no-ext-diff", "--no-textconv", "--diff-algorithm=myers")
AS_IT_IS = (
    *SAME_FOR_ALL,
    "--no-color",
    # Neither attributes nor a byte in a file decide whether its lines are seen.
    "--text",
    "--full-index",
    "--ignore-submodules=none",
)
AS_PLAIN = {
    "diff.suppressBlankEmpty": "false",
    "diff.noprefix": "false",
    "diff.orderFile": "",
}
PATCHED = ("-r", *AS_IT_IS, "--raw", "-z", "-p", "-U0")
"""What is told of a change for gates: each file, then a patch."""
COUNTED = ("-r", *SAME_FOR_ALL, "--numstat", "-z")
"""What is told of a change for people: how many lines."""


class Comparing:
    """Compares trees, in one form; it may be used from several threads.

    Args:
        common: the repository's common git directory.
        arguments: options of ``git diff-tree`` that say what is told.
        settings: of git, for this.
    """

    def __init__(
        self, common: Path, *arguments: str, settings: Mapping[str, str] | None = None
    ) -> None:
        self._git = StandingGit(common, "diff-tree", "--stdin", *arguments, settings=settings)

    def between(self, one: str, other: str) -> bytes | None:
        """Return what differs between two trees, as git says it.

        Args:
            one: full id of the tree before.
            other: full id of the tree after.

        Returns:
            None where the git that stays does not tell: one of its own has to be asked.
        """
        if one == other:
            return b""
        head, end = f"{one} {other}\n".encode(), f"end-{secrets.token_hex(16)}\n".encode()
        try:
            told = self._git.ask(
                head + end, lambda output: _until(output, end), patience_s=PATIENCE_S
            )
        except NoAnswer:
            return None
        if len(told) > LARGE:
            self.close()
        return told.removeprefix(head) if told.startswith(head) else None

    def close(self) -> None:
        """End the process; the next question starts another."""
        self._git.close()


def _until(output: IO[bytes], end: bytes) -> bytes:
    """Read up to a line, and return what comes before it."""
    parts: list[bytes] = []
    last = b""
    while last != end:
        part = output.read1(CHUNK)  # type: ignore[attr-defined]  # a buffered reader
        if not part:
            raise EOFError
        parts.append(part)
        last = (last + part)[-len(end) :]
    return b"".join(parts).removesuffix(end)
