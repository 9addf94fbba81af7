"""Another model goes on where a run's own is not to be had."""

from __future__ import annotations

import pytest

from orchestrator.asking import Asking
from orchestrator.errors import ConfigError, ModelError, ModelOverloaded
from orchestrator.events import ModelReplied, Prompted, RunStarted, TranscriptOpened
from orchestrator.modelevents import ModelSwitched
from orchestrator.prices import table
from orchestrator.records import ModelReply, Usage
from orchestrator.testing import says
from orchestrator.transcript import encode_message, without_thinking
from tests.runs.stage import MEND, NOTE, Stage, mended

pytestmark = pytest.mark.asyncio

OPUS, SONNET = "claude-opus-5-5", "claude-sonnet-5-5"
BUSY = ModelOverloaded("the model's service answered 529: overloaded", retryable=True)
THOUGHT = {"type": "thinking", "thinking": "I think of it.", "signature": "c2lnbmVk"}
USED = Usage(input_tokens=1000, output_tokens=100)


def thinks(reply: ModelReply) -> ModelReply:
    """Put a thought before a reply."""
    return ModelReply((THOUGHT, *reply.blocks), reply.stop_reason, reply.usage)


def on(stage: Stage, more: str = "") -> None:
    """Configure a fallback and little patience."""
    stage.settings(f"model: {{retries: 0, fallback: sonnet}}\n{more}")


async def test_the_other_model_goes_on(stage: Stage) -> None:
    """It has the transcript without the first one's thoughts, its own price, and the outcome tells."""
    on(stage)
    script: list[ModelReply | ModelError] = [
        thinks(says("", MEND, usage=USED)),
        BUSY,
        thinks(says("", NOTE, usage=USED)),
        says("Mended.", usage=USED),
    ]
    outcome = await stage.play(*script)
    assert outcome.status == "done"
    first, busy, other, last = stage.model.requests
    assert [one.model for one in (first, busy, other, last)] == [OPUS, OPUS, SONNET, SONNET]
    assert b"I think of it" in b"".join(busy.messages)
    assert b"I think of it" not in b"".join(other.messages)
    assert b"".join(last.messages).count(b"I think of it") == 1
    replied = stage.all(ModelReplied)
    prices = [table()[name].price for name in (OPUS, SONNET, SONNET)]
    assert [one.cost_usd for one in replied] == [price.cost(USED) for price in prices if price]
    (note,) = [one for one in outcome.notes if "goes on for" in one]
    assert SONNET in note and "529" in note
    assert stage.only(ModelSwitched).turn == 2


async def test_it_is_kept_when_the_run_is_taken_up_again(stage: Stage) -> None:
    """After a resume the same model goes on in the same bytes, and the first is not asked again."""
    on(stage)
    script: list[ModelReply | ModelError] = [
        thinks(says("", MEND, usage=USED)),
        BUSY,
        says("", NOTE, usage=USED),
    ]
    parked = await stage.play(*script, limit_turns=2)
    assert parked.status == "limit_reached"
    before = stage.model.requests[-1].messages
    again = await stage.play(says("Mended.", usage=USED), limit_turns=20)
    assert (again.status, again.run) == ("done", parked.run)
    (asked,) = stage.model.requests
    assert asked.model == SONNET
    assert asked.messages[0] == before[0]
    assert len(asked.messages) == len(before) + 2
    assert b"I think of it" not in b"".join(asked.messages)
    assert len(stage.all(ModelSwitched)) == 1
    assert any("goes on for" in one for one in again.notes)


async def test_a_switch_before_the_first_request(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the first model's lane is closed at once the switch is kept with all that opened the run."""
    on(stage)

    async def closed(*_: object) -> None:
        raise BUSY

    with monkeypatch.context() as busy:
        busy.setattr(Asking, "_entered", closed)
        parked = await stage.play()
    assert parked.status == "unavailable"
    opening = (RunStarted, TranscriptOpened, Prompted, ModelSwitched)
    assert [type(one) for one in stage.heard if isinstance(one, opening)] == list(opening)
    again = await stage.play(says("", MEND), says("Mended."))
    assert (again.status, again.run) == ("done", parked.run)
    assert {one.model for one in stage.model.requests} == {SONNET}
    assert len(stage.all(ModelSwitched)) == 1


async def test_a_model_that_is_named_at_a_resume_wins(stage: Stage) -> None:
    """Whoever names another model gets it; thoughts of the one before do not go to it."""
    script = [thinks(says("", MEND, usage=USED)), says("", NOTE, usage=USED)]
    parked = await stage.play(*script, limit_turns=2)
    again = await stage.play(says("Mended."), model="haiku", limit_turns=20)
    assert (again.status, again.run) == ("done", parked.run)
    (asked,) = stage.model.requests
    assert asked.model == table()["haiku"].id
    assert b"I think of it" not in b"".join(asked.messages)
    switched = stage.only(ModelSwitched)
    assert (switched.before, switched.model) == (OPUS, asked.model)


async def test_both_are_busy(stage: Stage) -> None:
    """Where the other model is not to be had either the run parks, and goes on later."""
    on(stage)
    parked = await stage.play(BUSY, BUSY)
    assert parked.status == "unavailable"
    assert [one.model for one in stage.model.requests] == [OPUS, SONNET]
    assert (await stage.play(*mended())).status == "done"


async def test_a_fallback_without_a_price_is_refused(stage: Stage) -> None:
    """While dollars are limited, a fallback whose price nobody knows is told before a run begins."""
    stage.settings("model: {fallback: claude-new-9}\n")
    with pytest.raises(ConfigError, match="claude-new-9 has no known price"):
        await stage.play(says("never"))
    assert not stage.model.requests


async def test_messages_without_thoughts() -> None:
    """Thoughts go, everything else keeps its bytes, and a message of thoughts alone is left out."""
    words = {"type": "text", "text": "words about thinking"}
    kept = encode_message("assistant", [words])
    assert without_thinking(encode_message("assistant", [THOUGHT, words])) == kept
    assert without_thinking(kept) == kept
    redacted = {"type": "redacted_thinking", "data": "x"}
    assert without_thinking(encode_message("assistant", [THOUGHT, redacted])) == b""
    asked = encode_message("user", [{"type": "text", "text": "thinking"}])
    assert without_thinking(asked) == asked
