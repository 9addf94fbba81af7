"""One whole run in process: a script is played, and everything that can be seen of it is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from orchestrator import Event, Orchestrator, Outcome, Signal
from orchestrator.errors import ModelError
from orchestrator.events import EVENTS, ModelReplied, Prompted, SnapshotTaken, ToolsReturned
from orchestrator.ports import Claims, CodeHost, EventSink, Gate, IssueTracker, ModelClient
from orchestrator.records import ModelReply, Usage
from orchestrator.testing import ScriptedModel, says

T = TypeVar("T")

MEND = ("Bash", {"command": "sed -i 's/amount > /amount >= /' shop/pricing.py"})
"""The call that makes the sample project's tests pass."""

NOTE = ("Write", {"file_path": "NOTES.md", "content": "a note\n"})
"""A call that changes something and mends nothing."""


@dataclass
class Stage:
    """A repository, a state directory, and all that was seen of the runs played there.

    Attributes:
        heard: every event and signal, of all runs.
        model: the client of the last run.
    """

    repo: Path
    state: Path
    config: Path | None = None
    agents: Path | None = None
    host: CodeHost | None = None
    claims: Claims | None = None
    tracker: IssueTracker | None = None
    heard: list[Event | Signal] = field(default_factory=list)
    model: ScriptedModel = field(default_factory=lambda: ScriptedModel([]))

    async def hear(self, event: Event | Signal) -> None:
        """Keep what a sink is told."""
        self.heard.append(event)

    async def play(
        self,
        *script: ModelReply | ModelError,
        key: str = "1",
        client: ModelClient | None = None,
        sinks: Sequence[EventSink] = (),
        gates: Sequence[Gate] = (),
        **wish: Any,
    ) -> Outcome:
        """Run an issue with these replies."""
        self.model = ScriptedModel(script)
        made = Orchestrator.from_config(
            self.config,
            repo=self.repo,
            state=self.state,
            client=client or self.model,
            sinks=[self.hear, *sinks],
            agents=self.agents,
            gates=gates,
            host=self.host,
            claims=self.claims,
            tracker=self.tracker,
        )
        async with made as orchestrator:
            return await orchestrator.run_issue(key, **wish)

    def settings(self, text: str) -> None:
        """Have the user's own settings say this."""
        self.config = self.state.parent / "user-config.yaml"
        self.config.write_text(text, encoding="utf-8")

    def issue(self, key: str, body: str = "Do it.", **header: str) -> None:
        """Write an issue into the checkout; it need not be committed."""
        lines = [f"{name}: {value}" for name, value in ({"title": "A wish"} | header).items()]
        text = "\n".join(["---", *lines, "---", body, ""])
        (self.repo / "issues" / f"{key}-a-wish.md").write_text(text, encoding="utf-8")

    # -- what was seen ---------------------------------------------------------------------

    def kinds(self) -> list[str]:
        """Return the kinds of the durable events, in order; snapshots come when they come."""
        names = [type(one).__name__ for one in self.heard if not isinstance(one, SnapshotTaken)]
        return [name for name in names if name in EVENTS]

    def only(self, kind: type[T]) -> T:
        """Return the one event of a kind."""
        (found,) = self.all(kind)
        return found

    def all(self, kind: type[T]) -> list[T]:
        """Return the events of a kind, in order."""
        return [one for one in self.heard if isinstance(one, kind)]

    def prompts(self, cause: str) -> list[str]:
        """Return the texts of the messages that were added for a cause."""
        return [texts(one.message)[0] for one in self.all(Prompted) if one.cause == cause]

    def results(self, turn: int) -> list[tuple[str, bool]]:
        """Return text and failure of every tool result of a turn."""
        (event,) = [one for one in self.all(ToolsReturned) if one.turn == turn]
        blocks = json.loads(event.message)["content"]
        return [
            (said(block["content"]), bool(block.get("is_error")))
            for block in blocks
            if block["type"] == "tool_result"
        ]

    def notices(self) -> list[str]:
        """Return what the model was told beside tool results."""
        return [text for one in self.all(ToolsReturned) for text in texts(one.message)]

    def used(self) -> Usage:
        """Add up the usage of all replies."""
        return sum((one.usage for one in self.all(ModelReplied)), Usage())


def said(content: str | list[dict[str, Any]]) -> str:
    """Return the text of a tool result."""
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content if block["type"] == "text")


def texts(message: bytes) -> list[str]:
    """Return the text blocks of a message."""
    blocks = json.loads(message)["content"]
    return [block["text"] for block in blocks if block["type"] == "text"]


def mended(*more: tuple[str, Mapping[str, object]]) -> tuple[ModelReply, ModelReply]:
    """Return the shortest script that ends well."""
    return says("I mend it.", MEND, *more), says("Mended.")
