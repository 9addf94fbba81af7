"""Where a session of turns stands, rebuilt from the journal's events after a stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from orchestrator.contextevents import Compacted, ResultsCleared
from orchestrator.events import (
    Event,
    ModelReplied,
    Prompted,
    RunResumed,
    RunStarted,
    ToolsReturned,
    TranscriptOpened,
)
from orchestrator.modelevents import ModelSwitched, RequestIntended
from orchestrator.transcript import Life, Transcript, count_blocks
from orchestrator_tools.contract import Block, StateChange, ToolCall, ToolState

FULL = "model_context_window_exceeded"
"""Why a reply stops that fills the model's window; what it says counts."""

Step = (
    Prompted
    | ModelReplied
    | ToolsReturned
    | RequestIntended
    | ResultsCleared
    | Compacted
    | ModelSwitched
)
"""Events that move a session on."""


@dataclass(slots=True)
class Session:
    """Where a session of turns stands; rebuilt from the journal's events after a stop.

    Attributes:
        turn: the number of the turn whose reply is awaited, or whose calls are to be run.
        reply: the reply whose tool calls are not answered yet.
        final: the last reply, if it ended the work.
        ran: the last turn that ran a call which cannot be repeated.
        attempts: attempts at the current turn's reply so far.
        cut: whether the last reply was cut and waits for a request to go on.
        full: whether it was cut because the model's window was full.
        asked: bytes of the last request that was answered.
        prompt_tokens: tokens that it took.
        message_id: how the service names the reply.
        life: how long the cache marks of the last request asked to be kept.
        shortened: bytes of the transcript when it was last made shorter.
        compacted: the turn in which a summary last took the place of older ones.
        model: the full id of the model that was switched to; empty where none was.
    """

    name: str
    transcript: Transcript
    tools: ToolState
    turn: int = 1
    reply: ModelReplied | None = None
    final: ModelReplied | None = None
    ran: int = 0
    attempts: int = 0
    cut: bool = False
    full: bool = False
    asked: int = 0
    prompt_tokens: int = 0
    message_id: str = ""
    life: Life = "5m"
    compacted: int = 0
    shortened: int = 0
    model: str = ""

    @classmethod
    def rebuilt(cls, name: str, events: Sequence[Event], cwd: str) -> Session | None:
        """Rebuild a session from a run's events; None if it was never opened."""
        head = next(
            (e.head for e in events if isinstance(e, TranscriptOpened) and e.session == name), None
        )
        if head is None:
            return None
        session = cls(name=name, transcript=Transcript(head), tools=ToolState(cwd=cwd))
        for event in events:
            if isinstance(event, Step) and event.session == name:
                session.apply(event)
        return session

    def apply(self, event: Step) -> None:
        """Move on by one event."""
        match event:
            case RequestIntended():
                self.attempts = event.attempt
                self.life = event.life
            case ResultsCleared():
                self.full = False
                for index, message in event.messages:
                    self.transcript.replace(index, message)
                self.shortened = self.transcript.size()
            case Compacted():
                self.full = False
                self.compacted = event.turn
                self.transcript.restart(event.message, kept=event.kept)
                self.shortened = self.transcript.size()
            case ModelSwitched():
                # Thoughts are signed for the model that had them.
                self.transcript.drop_thinking()
                self.model = event.model
            case Prompted():
                self.transcript.append(event.message, blocks=count_blocks(event.message))
                self.final = None
                self.cut = False
                self.turn, self.attempts = event.turn, 0
            case ModelReplied():
                self._apply_reply(event)
            case ToolsReturned():
                self.transcript.append(event.message, blocks=count_blocks(event.message))
                self.tools = self.tools.after(StateChange(cwd=event.cwd, seen=event.seen))
                self.reply = None
                self.turn, self.attempts = event.turn + 1, 0
                if event.ran:
                    self.ran = event.turn

    def _apply_reply(self, event: ModelReplied) -> None:
        blocks = count_blocks(event.message)
        self.asked = self.transcript.size()
        self.prompt_tokens = event.prompt_tokens or event.usage.prompt_tokens
        self.message_id = event.message_id
        self.full = event.stop_reason == FULL
        if blocks:
            self.transcript.append(event.message, blocks=blocks)
        if event.stop_reason in {"tool_use", "max_tokens", FULL} and calls_of(event):
            self.reply = event
            return
        self.cut = event.stop_reason in {"max_tokens", FULL}
        self.final = None if self.cut or event.stop_reason == "pause_turn" else event
        self.turn, self.attempts = event.turn + 1, 0


def calls_of(reply: ModelReplied) -> list[ToolCall]:
    """Return the tool calls of a reply."""
    return [
        ToolCall(call_id=str(one["id"]), tool=str(one["name"]), arguments=one.get("input") or {})
        for one in orjson.loads(reply.message)["content"]
        if one.get("type") == "tool_use"
    ]


def words_of(reply: ModelReplied) -> str:
    """Return the text of a reply."""
    blocks: list[Block] = orjson.loads(reply.message)["content"]
    return "\n".join(str(one["text"]) for one in blocks if one.get("type") == "text").strip()


def about_call(call: ToolCall) -> str:
    """Say in a few words what a call does."""
    for name in ("description", "command", "file_path", "pattern"):
        value = call.arguments.get(name)
        if isinstance(value, str) and value:
            return " ".join(value.split())[:120]
    return ""


def asked_models(name: str, events: Sequence[Event]) -> tuple[str, str]:
    """Return the model that a run's session talked to, and the one that it is to go on with.

    A model that was named when the run was taken up again wins over one that was switched to.
    """
    run = talked = wanted = ""
    for event in events:
        match event:
            case RunStarted():
                run = talked = wanted = event.run.model
            case RunResumed() if event.run.model != run:
                run = wanted = event.run.model
            case ModelSwitched() if event.session == name:
                talked = wanted = event.model
            case _:
                pass
    return talked, wanted
