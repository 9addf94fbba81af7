"""A program that works on issue 1, with a code host whose state outlives it; it may kill itself.

Arguments: repository, state directory, settings file, the host's file, script, and where to die:
``METHOD:before`` or ``METHOD:after``, once; ``-`` for nowhere.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import anyio

from orchestrator import Orchestrator
from orchestrator.pullrequests import Feedback, PullRequest, PullRequestWish
from orchestrator.testing import MemoryHost, ScriptedModel, says
from tests.runs.stage import MEND, NOTE

SCRIPTS = {
    "mend": [says("I mend it.", MEND), says("Mended.")],
    "note": [says("I write.", NOTE), says("Noted.")],
    "none": [],
}


def load(file: Path) -> MemoryHost:
    """Return a host as it was kept."""
    host: MemoryHost = pickle.loads(file.read_bytes())
    return host


def keep(file: Path, host: MemoryHost) -> None:
    """Keep a host."""
    fresh = file.with_suffix(".new")
    fresh.write_bytes(pickle.dumps(host))
    fresh.replace(file)


class KeptHost:
    """The double, loaded before each call and kept after it."""

    def __init__(self, file: Path, die: str) -> None:
        self._file = file
        self._die = die

    def _at(self, where: str) -> None:
        if where == self._die:
            os.kill(os.getpid(), signal.SIGKILL)

    def _before(self, name: str) -> MemoryHost:
        self._at(f"{name}:before")
        return load(self._file)

    def _after(self, name: str, host: MemoryHost) -> None:
        keep(self._file, host)
        self._at(f"{name}:after")

    async def find(self, branch: str) -> PullRequest | None:
        """Return the pull request of a branch."""
        host = self._before("find")
        found = await host.find(branch)
        self._after("find", host)
        return found

    async def open(self, wish: PullRequestWish) -> PullRequest:
        """Open a pull request."""
        host = self._before("open")
        found = await host.open(wish)
        self._after("open", host)
        return found

    async def amend(self, found: PullRequest, wish: PullRequestWish) -> PullRequest:
        """Amend a pull request."""
        host = self._before("amend")
        changed = await host.amend(found, wish)
        self._after("amend", host)
        return changed

    async def comment(
        self, number: str, marker: str, body: str, *, on: Literal["issue", "pull request"]
    ) -> str:
        """Write a comment."""
        host = self._before("comment")
        address = await host.comment(number, marker, body, on=on)
        self._after("comment", host)
        return address

    async def feedback(self, found: PullRequest) -> Feedback:
        """Return what waits for an answer."""
        return await self._before("feedback").feedback(found)

    async def answer(self, thread: str, marker: str, body: str) -> None:
        """Answer a thread."""
        host = self._before("answer")
        await host.answer(thread, marker, body)
        self._after("answer", host)

    async def push_url(self) -> tuple[str, Mapping[str, str]]:
        """Return where branches are pushed to."""
        return await load(self._file).push_url()


async def main(*arguments: str) -> int:
    """Work on the issue; the exit status tells whether it is done."""
    repo, state, config, file, script, die = arguments
    made = Orchestrator.from_config(
        config,
        repo=repo,
        state=state,
        client=ScriptedModel(SCRIPTS[script]),
        host=KeptHost(Path(file), die),
    )
    async with made as orchestrator:
        outcome = await orchestrator.run_issue("1")
    sys.stdout.write(f"{outcome.status} {outcome.error} {outcome.commit}\n")
    return 0 if outcome.status == "done" else 1


if __name__ == "__main__":
    sys.exit(anyio.run(main, *sys.argv[1:]))
