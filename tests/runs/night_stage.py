"""A repository with many issues, a service that knows what becomes of each, and a night over them."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.assembly.nights import Nights
from orchestrator.batches.nights import Expected, Night, Planned, Site, Wanted
from orchestrator.batches.posting import LanePace
from orchestrator.batches.shift import Shift, ShiftPace
from orchestrator.batches.views import NightView
from orchestrator.records import Limits
from orchestrator.repository import locate
from tests.batch_server import Answer, BatchServer, Refusal
from tests.runs.conftest import git

QUICK = LanePace(age_s=0.5, poll_s=0.02, longest_poll_s=0.2)
SETTINGS = """\
model:
  default: opus
  retries: 2
  backoff_s: 0.01
limits: {usd: 5, turns: 12}
gates: {rounds: 1}
"""
KEY = re.compile(r"wish number (\d+)")
SECRET = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"


def call(number: int, tool: str, **arguments: Any) -> dict[str, Any]:
    """Build a tool call."""
    return {"type": "tool_use", "id": f"toolu_{number}", "name": tool, "input": arguments}


def words(text: str) -> dict[str, Any]:
    """Build a text."""
    return {"type": "text", "text": text}


@dataclass
class Script:
    """What the service answers: told from the issue and the turn alone, so that it never forgets.

    Attributes:
        fates: what becomes of each issue, by its key; the others are done.
        turns: how many turns with a call an issue takes that is done.
        storms: how often an issue in a storm is still to be refused.
        counted: how often each turn of each issue was asked for.
    """

    fates: dict[str, str] = field(default_factory=dict)
    turns: int = 1
    storms: dict[str, int] = field(default_factory=dict)
    counted: dict[tuple[str, int], int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    on_answer: Callable[[str, int], None] = lambda _, __: None

    def __call__(self, body: dict[str, Any]) -> Answer | Refusal:
        """Answer a request."""
        found = KEY.search(json.dumps(body["messages"][0]))
        key = found[1] if found else ""
        turn = sum(one["role"] == "assistant" for one in body["messages"]) + 1
        fate = self.fates.get(key, "done")
        self.on_answer(key, turn)
        with self.lock:
            if fate == "storm" and self.storms.get(key, 0) > 0:
                self.storms[key] -= 1
                return Refusal(529, "overloaded_error")
            self.counted[key, turn] = self.counted.get((key, turn), 0) + 1
        if fate == "refusal":
            return {"content": [words("No.")], "stop_reason": "refusal"}
        if fate == "stuck":
            return {"content": [call(turn, "Grep", pattern="never", path=".")]}
        if turn <= self.turns:
            text = SECRET if fate == "gate_failed" else f"line {turn} of {key}"
            name = f"work/{key}-{turn}.txt"
            return {"content": [call(turn, "Write", file_path=name, content=f"{text}\n")]}
        return {"content": [words("Done.")]}


@dataclass
class NightStage:
    """A repository, a state directory, a service, and nights over them."""

    repo: Path
    state: Path
    service: BatchServer
    script: Script
    config: Path
    keys: list[str] = field(default_factory=list)

    def issues(self, count: int) -> None:
        """Write issues into the checkout, and have them all planned."""
        folder = self.repo / "issues"
        folder.mkdir(exist_ok=True)
        for number in range(1, count + 1):
            text = f"---\ntitle: Wish {number}\n---\nPlease fulfil wish number {number}.\n"
            (folder / f"{number}-wish.md").write_text(text, encoding="utf-8")
            self.keys.append(str(number))

    def forget(self, key: str) -> None:
        """Have an issue vanish."""
        (self.repo / "issues" / f"{key}-wish.md").unlink()

    def night(self, **changes: Any) -> Night:
        """Build a night over all issues."""
        repo = locate(self.repo).id
        expected = changes.pop("expected", Expected())
        plan = tuple(Planned(repo, key, f"Wish {key}", expected=expected) for key in self.keys)
        night = Night(
            night="",
            sites=(Site(repo, str(self.repo), str(self.config)),),
            wanted=Wanted(agent="backend-engineer"),
            plan=plan,
            per_issue=Limits(usd=1.0),
            parallel=4,
        )
        return replace(night, **changes)

    def nights(self, **options: Any) -> Nights:
        """Open the nights of the state directory."""
        usual: dict[str, Any] = {"lane_pace": QUICK, "pace": ShiftPace(backoff_s=0.05)}
        return Nights(state=self.state, **(usual | options))

    async def work(
        self, night: Night, meanwhile: Callable[[Shift], None] | None = None, **options: Any
    ) -> NightView:
        """Work through a night."""
        async with self.nights(**options) as nights:
            async with nights.begun(night) as shift:
                if meanwhile is not None:
                    meanwhile(shift)
                await shift.work()
            return await nights.view()

    async def resume(self, **changes: Any) -> NightView:
        """Go on with a night."""
        async with self.nights() as nights:
            async with nights.resumed(**changes) as shift:
                await shift.work()
            return await nights.view()

    def branches(self) -> list[str]:
        """Return the branches that were delivered."""
        return git(
            self.repo, "for-each-ref", "--format=%(refname:short)", "refs/heads/feature"
        ).split()


def fates(view: NightView) -> dict[str, str]:
    """Return kind and reason of each issue's fate."""
    found = {}
    for (_, key), one in view.issues.items():
        fate = one.fate
        found[key] = " ".join(filter(None, (fate.kind, fate.why))) if fate else one.standing
    return found
