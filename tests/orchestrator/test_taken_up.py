"""What two parts agree on when work is taken up again: stuck, summaries, fallbacks, reservations."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from orchestrator.accounts import Account
from orchestrator.asking import Asking, Fallback, Patience
from orchestrator.cacheuse import CacheUse
from orchestrator.errors import JournalError, ModelOverloaded
from orchestrator.events import AUTHOR, Event, ModelReplied, ToolsReturned
from orchestrator.limits import Ledger
from orchestrator.modelevents import ModelSwitched
from orchestrator.prices import Model, with_cache_rates
from orchestrator.records import Limits, ModelReply, ModelRequest
from orchestrator.session import Session
from orchestrator.settings import ContextSettings
from orchestrator.shrinking import ASK
from orchestrator.testing import ScriptedModel, says
from orchestrator.transcript import Transcript, encode_head, encode_message, text_block
from orchestrator_tools.contract import ToolState
from tests.orchestrator.small_window import Reader, Work

pytestmark = pytest.mark.asyncio

BUSY = ModelOverloaded("the model's service answered 529: overloaded", retryable=True)


class Again(Reader):
    """A model that reads the same page for ever."""

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Read it once more."""
        self.asked.append((self.replies + 1, False, request))
        self.replies += 1
        return says("", ("Read", {"file_path": "/workspace/1.py"}))


class Cut(Reader):
    """A model whose replies are cut again and again."""

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Begin to say something."""
        self.asked.append((self.replies + 1, False, request))
        self.replies += 1
        return says("Well,", stop_reason="max_tokens")


@pytest.mark.parametrize("kind", [Again, Cut])
async def test_what_was_made_of_the_last_turn_holds_after_a_resume(kind: type[Reader]) -> None:
    """Wherever the journal ends: the same bytes, the same end, and no request more than without."""
    quiet = Work(kind(0, 10**9))
    ending = await quiet.run()
    assert ending.kind == "stuck"
    expected = {turn: request.body() for turn, _, request in quiet.reader.asked}
    events: list[Event] = []
    for batch in quiet.batches:
        events += batch
        given = sum(isinstance(one, ModelReplied) for one in events)
        resumed = Work(kind(0, 10**9, replies=given), events=list(events))
        again = await resumed.run()
        assert again == ending
        asked = {turn: request.body() for turn, _, request in resumed.reader.asked}
        assert asked == {turn: body for turn, body in expected.items() if turn > given}
    assert isinstance(events[-1], ToolsReturned | ModelReplied)


@dataclass
class Elsewhere(Work):
    """Work whose model does not answer where a summary is asked for; another one does."""

    other: Reader = field(default_factory=lambda: Reader(0, 10**9))
    busy: list[ModelRequest] = field(default_factory=list)

    def _asking(self, of: Session, account: Ledger, cache: Any, emit: Any) -> Asking:
        price = with_cache_rates(3, 15)
        work = self

        class First:
            """The first model."""

            async def reply(self, request: ModelRequest) -> ModelReply:
                """Answer all but what asks for a summary."""
                if ASK.encode()[:40] in request.messages[-1]:
                    work.busy.append(request)
                    raise BUSY
                return await work.reader.reply(request)

            async def aclose(self) -> None:
                """Nothing to close."""

        return Asking(
            session=of,
            model="small",
            client=First(),
            ledger=account,
            emit=emit,
            show=self.shown.append,
            cache=cache,
            patience=Patience(retries=0),
            dice=random.Random(1),
            fallback=Fallback(Model("other", price, max_output=1000), self.other),
        )


async def test_a_summary_that_another_model_writes_is_taken_up_again() -> None:
    """After a kill between the switch and the summary the first model is not asked once more."""
    settings = ContextSettings(clear=False)
    quiet = Elsewhere(Reader(40, 30_000), known_window=32_000, settings=settings)
    assert (await quiet.run()).kind == "finished"
    switched = quiet.all(ModelSwitched)
    assert switched and {one.session for one in switched} == {f"{AUTHOR}/summary"}
    events: list[Event] = []
    for batch in quiet.batches:
        events += batch
        if isinstance(batch[-1], ModelSwitched):
            break
    given = sum(isinstance(one, ModelReplied) for one in events)
    resumed = Elsewhere(
        Reader(40, 30_000, replies=given), known_window=32_000, settings=settings, events=events
    )
    assert (await resumed.run()).kind == "finished"
    assert len(resumed.busy) == len(quiet.busy) - 1
    assert resumed.other.asked[0][2].body() == quiet.other.asked[0][2].body()


async def test_nothing_stays_reserved_where_recording_fails() -> None:
    """A request that was never sent holds no money that others wait for."""
    together = Account(Limits(usd=10.0))
    run = Ledger(Limits(), with_cache_rates(4, 20), max_output=1000, above=together)
    head = encode_head("You read.", [])
    session = Session(AUTHOR, Transcript(head), ToolState(cwd="/workspace"))
    session.transcript.append(encode_message("user", [text_block("Read.")]), blocks=1)

    async def refused(*_: Event) -> None:
        raise JournalError("the disk is full")

    asking = Asking(
        session=session,
        model="small",
        client=ScriptedModel([]),
        ledger=run.within(f"{AUTHOR}/summary"),
        emit=refused,
        show=lambda _: None,
        cache=CacheUse(None, lambda: 0.0),
        patience=Patience(),
        dice=random.Random(1),
    )
    with pytest.raises(JournalError):
        await asking.ask(refused)
    assert (together.holds, together.held_usd, run.account.holds) == (0, 0.0, 0)
