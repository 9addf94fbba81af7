"""An agent at work with a model whose window is small and whose cache is counted, in memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from orchestrator.agent import Agent
from orchestrator.asking import Asking, Ending, Patience
from orchestrator.care import Care, CareMeans
from orchestrator.errors import TooLong
from orchestrator.events import AUTHOR, Event, ModelReplied, Signal, TranscriptOpened
from orchestrator.limits import Ledger
from orchestrator.prefixes import parts
from orchestrator.prices import Model, with_cache_rates
from orchestrator.records import Limits, ModelReply, ModelRequest, Usage
from orchestrator.session import Session
from orchestrator.settings import ContextSettings, StuckSettings
from orchestrator.shrinking import ASK
from orchestrator.testing import MemoryJournal, says
from orchestrator.transcript import count_blocks, encode_head
from orchestrator_tools.contract import (
    StateChange,
    ToolResult,
    ToolSpec,
    ToolState,
    text_result,
)

BYTES_A_TOKEN = 3
LOOKBACK = 20
"""Blocks that the service goes back from a mark to find what it has kept."""
SPEC = ToolSpec("Read", "Reads", {"type": "object"}, effect="none")


class Pages:
    """A tool that returns pages of so many bytes."""

    def __init__(self, size: int) -> None:
        self._size = size

    def specs(self) -> Sequence[ToolSpec]:
        """Return the one tool."""
        return [SPEC]

    async def call(
        self,
        tool: str,  # noqa: ARG002 - there is one
        arguments: Mapping[str, object],
        state: ToolState,  # noqa: ARG002 - it remembers nothing
        *,
        show: Callable[[str], None] | None = None,  # noqa: ARG002 - nothing takes time
    ) -> tuple[ToolResult, StateChange]:
        """Return a page."""
        name = str(arguments["file_path"])
        return text_result(f"{name} " * (self._size // (len(name) + 1))), StateChange()


@dataclass
class Reader:
    """A model that reads page after page, then says that it is done.

    Attributes:
        pages: how many it reads.
        window: the most tokens that it takes; more is refused.
        replies: how many it has given already.
        told: whether the refusal names the limit.
        full_at: turns whose reply is cut because the window is full.
        asked: every request, with the turn that it was for and whether it was for a summary.
        known: prefixes that its cache has.
    """

    pages: int
    window: int
    replies: int = 0
    told: bool = True
    full_at: Sequence[int] = ()
    asked: list[tuple[int, bool, ModelRequest]] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    refused: int = 0

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Return the next reply."""
        size = len(request.head) + sum(map(len, request.messages))
        tokens = size // BYTES_A_TOKEN
        if tokens > self.window:
            self.refused += 1
            said = f"{tokens} tokens > {self.window} maximum" if self.told else "sorry"
            raise TooLong(f"the model's service answered 400: prompt is too long: {said}")
        usage = self._usage(request, tokens)
        summary = ASK.encode()[:40] in request.messages[-1]
        turn = self.replies + 1
        self.asked.append((turn, summary, request))
        if summary:
            return says(f"The plan, after {self.replies} pages: read on.", usage=usage)
        self.replies += 1
        if turn > self.pages:
            return says("I have read it all.", usage=usage)
        call = ("Read", {"file_path": f"/workspace/{turn}.py"})
        reply = says(f"Page {turn}.", call, usage=usage)
        named = tuple({**one, "id": f"t{turn}"} if "id" in one else one for one in reply.blocks)
        if turn in self.full_at:
            reason = "model_context_window_exceeded"
            return replace(reply, blocks=named[:1], stop_reason=reason)
        return replace(reply, blocks=named)

    def _usage(self, request: ModelRequest, tokens: int) -> Usage:
        """Count what the cache gives, as the service does: it looks back a few blocks."""
        whole, upto = sha256(), 0
        places: list[tuple[str, int]] = []
        marks: list[int] = []
        for name, part, life in parts(request):
            whole.update(b"%d:" % len(part) + part)
            upto += len(part)
            blocks = count_blocks(part) if name.startswith("message ") else 1
            places += [(whole.copy().hexdigest(), upto // BYTES_A_TOKEN)] * blocks
            marks += [len(places)] if life else []
        read = 0
        for at in marks:
            for digest, size in places[max(at - LOOKBACK, 0) : at]:
                read = max(read, size if digest in self.known else 0)
        self.known |= {places[at - 1][0] for at in marks}
        read = min(read, tokens)
        return Usage(output_tokens=60, cache_read_tokens=read, cache_write_tokens=tokens - read)

    async def aclose(self) -> None:
        """Nothing to close."""


class NoState:
    """Snapshots of a workspace that is not there."""

    def begin(self, turn: int) -> None:
        """Do nothing."""

    async def settled(self) -> None:
        """Do nothing."""

    def state(self) -> tuple[int, str]:
        """Return nothing."""
        return 0, ""


@dataclass
class Work:
    """One agent's work, from wherever its events say it stands.

    Attributes:
        batches: the events as they were appended, together.
    """

    reader: Reader
    settings: ContextSettings = field(default_factory=ContextSettings)
    page: int = 3000
    known_window: int = 0
    events: list[Event] = field(default_factory=list)
    batches: list[list[Event]] = field(default_factory=list)
    shown: list[Signal] = field(default_factory=list)
    turns: int | None = 400
    session: Session | None = None
    patience: Patience = field(default_factory=lambda: Patience(retries=0))

    async def run(self) -> Ending:
        """Go on to the end."""
        journal = MemoryJournal(self.events)
        self.events = list(self.events)
        price = with_cache_rates(4, 20)
        model = Model("small", price, max_output=1000, context=self.known_window)
        ledger = Ledger(Limits(turns=self.turns, usd=100.0), price, max_output=1000)
        ledger.recount(self.events)

        async def emit(*events: Event) -> None:
            await journal.append(*events)
            self.events += events
            self.batches.append(list(events))

        session = Session.rebuilt(AUTHOR, self.events, "/workspace")
        if session is None:
            opened = TranscriptOpened(AUTHOR, encode_head("You read. " * 900, [SPEC]))
            await emit(opened)
            session = Session.rebuilt(AUTHOR, [opened], "/workspace")
        assert session is not None
        self.session = session
        means = CareMeans(StuckSettings(), self.settings)
        cache = means.cache(model, lambda: 0.0)

        def asking(of: Session, account: Ledger) -> Asking:
            return self._asking(of, account, cache, emit)

        agent = Agent(
            session=session,
            asking=asking(session, ledger),
            tools=Pages(self.page),
            ledger=ledger,
            snapshots=NoState(),
            notes=list,
            emit=emit,
            show=self.shown.append,
            clock=lambda: 0.0,
            care=Care(
                means,
                session=session,
                model=model,
                ledger=ledger,
                cache=cache,
                asking=asking,
                events=lambda: self.events,
                writes=False,
            ),
        )
        if len(session.transcript) == 0:
            agent.prompt("Read all pages. Begin with the first.", "issue")
        return await agent.run()

    def _asking(self, of: Session, account: Ledger, cache: Any, emit: Any) -> Asking:
        return Asking(
            session=of,
            model="small",
            client=self.reader,
            ledger=account,
            emit=emit,
            show=self.shown.append,
            cache=cache,
            patience=self.patience,
            dice=random.Random(1),
        )

    def all(self, kind: type[Any]) -> list[Any]:
        """Return the events of a kind."""
        return [one for one in self.events if isinstance(one, kind)]

    def usage(self) -> Usage:
        """Add up what all replies took."""
        return sum((one.usage for one in self.all(ModelReplied)), Usage())
