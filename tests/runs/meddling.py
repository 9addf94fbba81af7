"""A scripted model during whose replies something happens to the user's repository."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from orchestrator.errors import ModelError
from orchestrator.records import ModelReply, ModelRequest
from orchestrator.testing import ScriptedModel
from tests.runs.conftest import git


class Meddling(ScriptedModel):
    """Gives scripted replies; before the n-th one, counted from 1, something is done.

    Args:
        script: the replies.
        before: what is done, by the number of the reply.
    """

    def __init__(
        self,
        script: Sequence[ModelReply | ModelError],
        before: Mapping[int, Callable[[], object]],
    ) -> None:
        super().__init__(script)
        self._before = dict(before)

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Do what is to be done, once, and reply."""
        act = self._before.pop(len(self.requests) + 1, None)
        if act is not None:
            act()
        return await super().reply(request)


def commits(repo: Path, name: str, content: str, message: str = "meanwhile") -> Callable[[], str]:
    """Return what commits a file on the branch that is checked out, and gives the commit."""

    def commit() -> str:
        (repo / name).write_text(content, encoding="utf-8")
        git(repo, "add", "--all")
        git(repo, "commit", "--quiet", "--message", message)
        return git(repo, "rev-parse", "HEAD")

    return commit
