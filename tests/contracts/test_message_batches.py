"""Message Batches against services that others wrote, and against the vendor's own types."""

from __future__ import annotations

import time
from collections.abc import Iterator

import anyio
import pytest
from anthropic.types.messages import MessageBatchIndividualResponse

from orchestrator.batches.lane import Lane
from orchestrator.batches.nights import Night, NightEvent, Wanted
from orchestrator.batches.posting import LanePace
from orchestrator.batches.views import NightView
from orchestrator.errors import MalformedReply, ModelError, ModelRefused
from orchestrator.messagebatches import BatchItem, BatchStanding
from orchestrator.models.anthropic_batches import AnthropicBatches
from orchestrator.records import ModelReply
from orchestrator.testing import ScriptedModel
from orchestrator.transcript import encode_message
from tests.batch_server import BatchServer, Refusal, serve_batches
from tests.builders import a_request, a_text
from tests.contracts.test_model_client_llmock import llmock
from tests.model_clients import KEY

pytestmark = pytest.mark.asyncio


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """A service with batches that nobody here wrote."""
    with llmock("--response-style", "echo") as url:
        yield url


@pytest.fixture
def own() -> Iterator[BatchServer]:
    """The project's own service."""
    with serve_batches() as running:
        yield running


def an_item(custom_id: str, text: str) -> BatchItem:
    """Build an item that asks something."""
    request = a_request(encode_message("user", [a_text(text)]))
    return BatchItem(custom_id, request.whole_body())


async def ended(batches: AnthropicBatches, batch: str) -> BatchStanding:
    """Wait until a batch has ended."""
    with anyio.fail_after(60):
        while not (standing := await batches.standing(batch)).ended:  # noqa: ASYNC110 - it calls nobody
            await anyio.sleep(0.1)
    return standing


async def test_a_strangers_service_answers_each_request(service: str) -> None:
    """What was asked comes back by its id, at half the price."""
    batches = AnthropicBatches(key=KEY, base_url=service)
    before = time.time() - 5
    try:
        sent = await batches.send([an_item("one-1", "Grüße, 🦊"), an_item("two-1", "second")])
        assert (sent.total, sent.ended) == (2, False)
        assert sent.created > before
        assert sent.batch in {one.batch for one in await batches.recent(before)}
        await ended(batches, sent.batch)
        answers = {one.custom_id: one for one in await batches.answers(sent.batch)}
    finally:
        await batches.aclose()
    assert set(answers) == {"one-1", "two-1"}
    reply = answers["one-1"].reply
    assert isinstance(reply, ModelReply)
    assert "Grüße, 🦊" in str(reply.blocks[0]["text"])
    assert (reply.stop_reason, reply.price_share) == ("end_turn", 0.5)
    assert reply.usage.input_tokens > 0


async def test_a_lane_over_a_strangers_service(service: str) -> None:
    """Turns of several runs go as one batch, and each run gets its own answer."""
    view = NightView(Night("n", (), Wanted(), ()))

    async def emit(event: NightEvent) -> None:
        view.apply(event)

    batches = AnthropicBatches(key=KEY, base_url=service)
    pace = LanePace(poll_s=0.2)
    lane = Lane(
        batches,
        emit=emit,
        sent=view.turns,
        live=lambda: 3,
        pace=pace,
        clock=time.monotonic,
        wall=time.time,
    )
    found: dict[str, str] = {}

    async def one(run: str) -> None:
        request = a_request(encode_message("user", [a_text(f"turn of {run}")]))
        reply = await lane.of_run(run, ScriptedModel([])).reply(request)
        found[run] = str(reply.blocks[0]["text"])

    try:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as serving:
                serving.start_soon(lane.serve)
                async with anyio.create_task_group() as runs:
                    for run in "abc":
                        runs.start_soon(one, run)
                serving.cancel_scope.cancel()
    finally:
        await batches.aclose()
    assert all(f"turn of {run}" in found[run] for run in "abc")
    assert [len(one.items) for one in view.turns.values()] == [3]


async def test_a_strangers_service_refuses_an_empty_batch(service: str) -> None:
    """What the service does not take is an error that is not tried again."""
    batches = AnthropicBatches(key=KEY, base_url=service)
    try:
        with pytest.raises(ModelRefused, match="400"):
            await batches.send([])
        with pytest.raises(ModelRefused, match="404"):
            await batches.standing("msgbatch_nobody")
    finally:
        await batches.aclose()


async def test_results_are_told_apart_by_kind(own: BatchServer) -> None:
    """Errored, expired and cancelled items say so, and what may be tried again."""
    own.fates = {"b": "overloaded", "c": "expired", "d": "canceled", "e": "invalid", "f": "torn"}
    batches = AnthropicBatches(key=KEY, base_url=own.url)
    try:
        sent = await batches.send([an_item(name, name) for name in "abcdef"])
        own.end(sent.batch)
        assert (await batches.standing(sent.batch)).ended
        found = {one.custom_id: one for one in await batches.answers(sent.batch)}
    finally:
        await batches.aclose()
    assert {name: one.kind for name, one in found.items()} == {
        "a": "succeeded",
        "b": "errored",
        "c": "expired",
        "d": "canceled",
        "e": "errored",
    }
    assert [found[name].retryable for name in "bcde"] == [True, True, True, False]


async def test_the_lines_of_our_own_service_fit_the_vendors_types(own: BatchServer) -> None:
    """The double that other tests lean on speaks as the vendor's types say."""
    own.fates = {"b": "overloaded", "c": "expired", "d": "canceled"}
    batches = AnthropicBatches(key=KEY, base_url=own.url)
    try:
        sent = await batches.send([an_item(name, name) for name in "abcd"])
        own.end(sent.batch)
        await batches.standing(sent.batch)
    finally:
        await batches.aclose()
    for line in own.lines(sent.batch):
        MessageBatchIndividualResponse.model_validate_json(line, strict=False)


async def test_the_bytes_of_a_request_are_those_of_its_run(own: BatchServer) -> None:
    """A batch holds each request byte for byte, only not streamed."""
    request = a_request(encode_message("user", [a_text("the same bytes")]))
    batches = AnthropicBatches(key=KEY, base_url=own.url)
    try:
        await batches.send([BatchItem("x", request.whole_body())])
    finally:
        await batches.aclose()
    assert request.body() == b'{"stream":true,' + request.whole_body()[1:]
    assert request.whole_body() in own.bodies[-1]
    assert b"stream" not in own.bodies[-1]


async def test_a_service_that_is_down_may_be_asked_again() -> None:
    """No connection is an error that says so, with no credential in it."""
    batches = AnthropicBatches(key=KEY, base_url="http://127.0.0.1:9")
    try:
        with pytest.raises(ModelError) as caught:
            await batches.standing("msgbatch_1")
    finally:
        await batches.aclose()
    assert caught.value.retryable
    assert KEY not in str(caught.value)


async def test_no_answer_of_a_batch_holds_the_key(own: BatchServer) -> None:
    """What a service repeats of what it was sent is in no error."""
    own.fates = {"a": f"no such key: {KEY}"}
    own.refuses = [Refusal(401, f"bad key {KEY}")]
    batches = AnthropicBatches(key=KEY, base_url=own.url)
    try:
        with pytest.raises(ModelError) as caught:
            await batches.send([an_item("a", "a")])
        sent = await batches.send([an_item("a", "a")])
        own.end(sent.batch)
        (answer,) = await batches.answers(sent.batch)
    finally:
        await batches.aclose()
    assert "bad key (the key)" in str(caught.value)
    assert answer.error == "invalid_request_error: no such key: (the key)"


async def test_an_id_that_would_lead_elsewhere_is_refused(own: BatchServer) -> None:
    """Whatever a service calls a batch, no other address is asked for its results."""
    batches = AnthropicBatches(key=KEY, base_url=own.url)
    try:
        with pytest.raises(MalformedReply):
            await batches.answers("../../../v1/files?x=")
    finally:
        await batches.aclose()
