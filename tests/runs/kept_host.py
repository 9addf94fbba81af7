"""A program that works on issue 1, with a code host whose state outlives it; it may kill itself.

Arguments: repository, state directory, settings file, the host's file, script, and where to die:
``METHOD:before`` or ``METHOD:after``, with ``*2`` the second time; ``-`` for nowhere.
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
from orchestrator.records import Issue, Outcome
from orchestrator.testing import MemoryHost, ScriptedModel, says
from tests.runs.stage import MEND, NOTE

SCRIPTS = {
    "mend": [says("I mend it.", MEND), says("Mended.")],
    "note": [says("I write.", NOTE), says("Noted.")],
    "ask": [says("I have a question."), says("It is the same one.")],
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
        self._die, _, times = die.partition("*")
        self._left = int(times or 1)

    def _at(self, where: str) -> None:
        self._left -= where == self._die
        if where == self._die and not self._left:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(self, name: str) -> MemoryHost:
        """Return the host before something is done there."""
        self._at(f"{name}:before")
        return load(self._file)

    def after(self, name: str, host: MemoryHost) -> None:
        """Keep the host after something was done there."""
        keep(self._file, host)
        self._at(f"{name}:after")

    async def find(self, branch: str) -> PullRequest | None:
        """Return the pull request of a branch."""
        host = self.before("find")
        found = await host.find(branch)
        self.after("find", host)
        return found

    async def open(self, wish: PullRequestWish) -> PullRequest:
        """Open a pull request."""
        host = self.before("open")
        found = await host.open(wish)
        self.after("open", host)
        return found

    async def amend(self, found: PullRequest, wish: PullRequestWish) -> PullRequest:
        """Amend a pull request."""
        host = self.before("amend")
        changed = await host.amend(found, wish)
        self.after("amend", host)
        return changed

    async def comment(
        self, number: str, marker: str, body: str, *, on: Literal["issue", "pull request"]
    ) -> str:
        """Write a comment."""
        host = self.before("comment")
        address = await host.comment(number, marker, body, on=on)
        self.after("comment", host)
        return address

    async def feedback(self, found: PullRequest) -> Feedback:
        """Return what waits for an answer."""
        return await self.before("feedback").feedback(found)

    async def answer(self, thread: str, marker: str, body: str) -> None:
        """Answer a thread."""
        host = self.before("answer")
        await host.answer(thread, marker, body)
        self.after("answer", host)

    async def push_url(self) -> tuple[str, Mapping[str, str]]:
        """Return where branches are pushed to."""
        return await load(self._file).push_url()


class KeptTracker:
    """The issue on a host that has issues; what it is shown as is kept among the host's acts."""

    def __init__(self, file: Path, host: KeptHost) -> None:
        self._file = file
        self._host = host

    async def fetch(self, key: str) -> Issue:
        """Return the issue."""
        return Issue(key, "A cart of exactly 100 gets no discount", "Mend it.")

    async def report(self, issue: Issue, outcome: Outcome) -> None:
        """Keep nothing."""

    async def move(self, issue: Issue, to: str) -> None:
        """Show how far work is; where it shows that already, nothing is sent."""
        del issue
        host = self._host.before(f"move-{to}")
        shown = [about for name, about in host.acts if name == "move"]
        if shown[-1:] != [to]:
            host.acts.append(("move", to))
        self._host.after(f"move-{to}", host)


async def main(*arguments: str) -> int:
    """Work on the issue; the exit status tells whether it is done."""
    repo, state, config, file, script, die = arguments
    host = KeptHost(Path(file), die)
    own = "kind: github" in Path(config).read_text(encoding="utf-8")
    made = Orchestrator.from_config(
        config,
        repo=repo,
        state=state,
        client=ScriptedModel(SCRIPTS[script]),
        host=host,
        tracker=KeptTracker(Path(file), host) if own else None,
    )
    async with made as orchestrator:
        outcome = await orchestrator.run_issue("1")
    sys.stdout.write(f"{outcome.status} {outcome.error} {outcome.commit}\n")
    return 0 if outcome.status == "done" else 1


if __name__ == "__main__":
    sys.exit(anyio.run(main, *sys.argv[1:]))
