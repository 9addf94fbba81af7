"""The contract of ModelClient: the same bytes give the same reply, whichever client reads them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from orchestrator.errors import ModelError
from orchestrator.records import ModelReply, Usage
from orchestrator.transcript import encode_head, encode_message
from orchestrator_tools.contract import Block, ToolSpec
from tests.builders import a_request, a_text
from tests.model_clients import CLIENTS, KEY, a_client, answered
from tests.sse_server import Play, block, event, serving, start, stop, text, tool_use

pytestmark = [pytest.mark.asyncio, pytest.mark.parametrize("kind", sorted(CLIENTS))]

PLAIN = start() + text(0, "hello") + stop()


async def replied(kind: str, stream: bytes, *, pieces: int = 0) -> ModelReply:
    """Return the reply that a stream gives, written whole or in pieces of so many bytes."""
    cut = [stream[at : at + pieces] for at in range(0, len(stream), pieces)] if pieces else [stream]
    reply = await answered(kind, Play(cut))
    assert isinstance(reply, ModelReply), reply
    return reply


def thinking(*pieces: str, signature: str | None = "c2ln") -> bytes:
    """Encode a thinking block."""
    deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
    if signature is not None:
        deltas.append({"type": "signature_delta", "signature": signature})
    return block(0, {"type": "thinking", "thinking": "", "signature": ""}, *deltas)


def call(index: int, name: str, **arguments: Any) -> Block:
    """Build the block of a tool call."""
    return {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": arguments}


CITATION = {
    "type": "char_location",
    "cited_text": "x",
    "document_index": 0,
    "document_title": None,
    "end_char_index": 2,
    "file_id": None,
    "start_char_index": 1,
}

REPLIES: dict[str, tuple[bytes, list[Block]]] = {
    "text": (start() + text(0, "hel", "lo") + stop(), [a_text("hello")]),
    "several texts": (start() + text(0, "a") + text(1, "b") + stop(), [a_text("a"), a_text("b")]),
    "any characters": (
        start() + text(0, "zä\u2028", '\n"\\', "🦊\x00") + stop(),
        [a_text('zä\u2028\n"\\🦊\x00')],
    ),
    "thinking": (
        start() + thinking("so ", "it is") + text(1, "x") + stop(),
        [{"type": "thinking", "thinking": "so it is", "signature": "c2ln"}, a_text("x")],
    ),
    "thinking that is left out": (
        start() + thinking() + text(1, "x") + stop(),
        [{"type": "thinking", "thinking": "", "signature": "c2ln"}, a_text("x")],
    ),
    "thinking that was cut": (
        start() + thinking("so", signature=None) + text(1, "x") + stop("max_tokens"),
        [a_text("x")],
    ),
    "redacted thinking": (
        start() + block(0, {"type": "redacted_thinking", "data": "b64"}) + text(1, "x") + stop(),
        [{"type": "redacted_thinking", "data": "b64"}, a_text("x")],
    ),
    "a call in pieces": (
        start() + tool_use(0, "Read", "", '{"file_', 'path": "ä', '.py"}') + stop("tool_use"),
        [call(0, "Read", file_path="ä.py")],
    ),
    "a call without arguments": (
        start() + tool_use(0, "List") + tool_use(1, "List", "{}") + stop("tool_use"),
        [call(0, "List"), call(1, "List")],
    ),
    "several calls": (
        start()
        + text(0, "both")
        + tool_use(1, "Read", '{"b": 1, "a": [2.5, null, true]}')
        + tool_use(2, "Bash", '{"command": "ls"}')
        + stop("tool_use"),
        [a_text("both"), call(1, "Read", b=1, a=[2.5, None, True]), call(2, "Bash", command="ls")],
    ),
    "a call that names its caller": (
        start()
        + block(
            0,
            {
                "type": "tool_use",
                "id": "toolu_0",
                "name": "List",
                "input": {},
                "caller": {"type": "direct"},
            },
        )
        + stop("tool_use"),
        [{**call(0, "List"), "caller": {"type": "direct"}}],
    ),
    "an empty text": (start() + text(0) + text(1, "x") + stop(), [a_text("x")]),
    "no content": (start() + stop(), []),
    "pings": (
        start() + event("ping") + text(0, "a") + event("ping") + stop() + event("ping"),
        [a_text("a")],
    ),
    "comments": (b": hi\n\n" + start() + b":\n\n" + text(0, "a") + stop(), [a_text("a")]),
    "an unknown event": (
        start() + event("novel_event", index=0) + text(0, "a") + stop(),
        [a_text("a")],
    ),
    "an unknown delta": (
        start()
        + block(
            0,
            {"type": "text", "text": ""},
            {"type": "novel_delta", "novel": [1]},
            {"type": "text_delta", "text": "a"},
        )
        + stop(),
        [a_text("a")],
    ),
    "an unknown block": (
        start()
        + block(0, {"type": "novel_block", "novel": {"b": 1, "a": 2}})
        + text(1, "a")
        + stop(),
        [{"type": "novel_block", "novel": {"a": 2, "b": 1}}, a_text("a")],
    ),
    "citations": (
        start()
        + block(
            0,
            {"type": "text", "text": "", "citations": []},
            {"type": "citations_delta", "citation": CITATION},
            {"type": "text_delta", "text": "a"},
        )
        + stop(),
        [{"type": "text", "text": "a", "citations": [dict(sorted(CITATION.items()))]}],
    ),
    "no citations": (
        start()
        + block(
            0, {"type": "text", "text": "", "citations": None}, {"type": "text_delta", "text": "a"}
        )
        + stop(),
        [a_text("a")],
    ),
    "line ends of another system": (PLAIN.replace(b"\n", b"\r\n"), [a_text("hello")]),
}


@pytest.mark.parametrize("pieces", [0, 1, 7])
@pytest.mark.parametrize("name", list(REPLIES))
async def test_a_stream_becomes_its_blocks(kind: str, name: str, pieces: int) -> None:
    """The blocks are those of the stream, keys in one order, however it is cut into pieces."""
    stream, blocks = REPLIES[name]
    reply = await replied(kind, stream, pieces=pieces)
    assert reply.blocks == tuple(blocks)
    assert encode_message("assistant", reply.blocks) == encode_message("assistant", blocks)
    assert reply.broken_calls == ()


@pytest.mark.parametrize(
    "reason",
    [
        "end_turn",
        "tool_use",
        "max_tokens",
        "stop_sequence",
        "pause_turn",
        "refusal",
        "model_context_window_exceeded",
        "novel_reason",
    ],
)
async def test_the_stop_reason_is_passed_on(kind: str, reason: str) -> None:
    """Why the model stopped is told as the service said it, also if the reason is new."""
    reply = await replied(kind, start() + text(0, "a") + stop(reason))
    assert reply.stop_reason == reason


async def test_a_refusal_keeps_what_was_said(kind: str) -> None:
    """A refusal with details and without content is a reply."""
    delta = {
        "stop_reason": "refusal",
        "stop_sequence": None,
        "stop_details": {"type": "refusal", "category": "cyber", "explanation": None},
    }
    stream = start() + event("message_delta", delta=delta, usage={"output_tokens": 1})
    reply = await replied(kind, stream + event("message_stop"))
    assert (reply.stop_reason, reply.blocks) == ("refusal", ())


@pytest.mark.parametrize(
    "last",
    [
        tool_use(1, "Bash", '{"command": "rm -r', closed=False),
        tool_use(1, "Bash", '{"command": "rm -r"}', closed=False),
        tool_use(1, "Bash", closed=False),
        tool_use(1, "Bash", '{"command": "rm -r'),
        tool_use(1, "Bash", '{"command": }'),
        tool_use(1, "Bash", '["rm"]'),
        tool_use(1, "Bash", "null"),
        tool_use(1, "Bash", '"rm"'),
        tool_use(1, "Bash", '{"command": "\\ud800"}'),
    ],
)
async def test_a_call_that_is_not_whole_is_never_run(kind: str, last: bytes) -> None:
    """A call that was cut, or is not a JSON object, is named as broken and holds no arguments."""
    stream = start() + tool_use(0, "Read", '{"file_path": "a"}') + last + stop("max_tokens")
    reply = await replied(kind, stream)
    assert reply.blocks == (call(0, "Read", file_path="a"), call(1, "Bash"))
    assert reply.broken_calls == ("toolu_1",)
    assert reply.stop_reason == "max_tokens"


@pytest.mark.parametrize(
    ("first", "last", "usage"),
    [
        ({}, {}, Usage(12, 34)),
        (
            {"cache_read_input_tokens": 500, "cache_creation_input_tokens": 70},
            {},
            Usage(12, 34, 500, 70),
        ),
        (
            {
                "cache_read_input_tokens": 500,
                "cache_creation_input_tokens": 70,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 60,
                    "ephemeral_1h_input_tokens": 10,
                },
            },
            {},
            Usage(12, 34, 500, 60, 10),
        ),
        (
            {},
            {"input_tokens": 15, "cache_read_input_tokens": 3, "cache_creation_input_tokens": None},
            Usage(15, 34, 3),
        ),
        ({"cache_read_input_tokens": None, "cache_creation": None}, {}, Usage(12, 34)),
        ({"service_tier": "standard", "novel": {"a": 1}}, {"novel": 2}, Usage(12, 34)),
    ],
)
async def test_tokens_are_counted_by_kind(
    kind: str, first: dict[str, Any], last: dict[str, Any], usage: Usage
) -> None:
    """Input, output, and what was read from and written to the cache; the last word counts."""
    reply = await replied(kind, start(**first) + text(0, "a") + stop(**last))
    assert reply.usage == usage


async def test_the_request_is_sent_as_it_was_built(kind: str) -> None:
    """Model, limit, system, tools and messages arrive as they are, with key and version."""
    tool = ToolSpec("Read", "Reads", {"type": "object", "properties": {}}, "none")
    request = a_request(
        encode_message("user", [a_text("ü")]),
        encode_message("assistant", [call(0, "Read", b=1, a=None)]),
        head=encode_head("You build.", [tool]),
        max_tokens=777,
    )
    async with serving([Play([PLAIN])]) as service, a_client(kind, service.url) as client:
        reply = await client.reply(request)
        (headers,), (body,) = service.headers, service.bodies
    assert reply.request_id == "req_1"
    assert service.paths == ["/v1/messages"]
    assert orjson.loads(body) == orjson.loads(request.body())
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["anthropic-version"] == "2026-10-21"
    assert headers["content-type"] == "application/json"
    assert "x-api-key" not in headers


async def test_a_base_address_may_have_a_path(kind: str) -> None:
    """A gateway's path stands before the service's own, whether it ends in a slash or not."""
    async with serving([Play([PLAIN])] * 2) as service:
        for url in (f"{service.url}/anthropic", f"{service.url}/anthropic/"):
            async with a_client(kind, url) as client:
                await client.reply(a_request())
    assert service.paths == ["/anthropic/v1/messages"] * 2


async def test_one_connection_serves_many_replies(kind: str) -> None:
    """After a reply, and after an error, the same client gives the next reply."""
    plays = [Play([PLAIN]), Play([b"{}"], status=500), Play([PLAIN])]
    async with serving(plays) as service, a_client(kind, service.url) as client:
        first = await client.reply(a_request())
        with pytest.raises(ModelError):
            await client.reply(a_request())
        assert await client.reply(a_request()) == first


async def test_the_service_is_asked_why_its_cache_missed(kind: str) -> None:
    """What went before is named where that is wanted; the reason comes back in its own word."""
    missed = {"cache_miss_reason": {"type": "tools_changed", "cache_missed_input_tokens": 9}}
    stream = start() + text(0, "hello") + stop()
    stream = stream.replace(b'"stop_reason": null', b'"diagnostics": %b, "stop_reason": null') % (
        orjson.dumps(missed)
    )
    for previous, sent in (("", None), ("msg_0", "msg_0")):
        async with (
            serving([Play([stream])]) as service,
            a_client(kind, service.url) as client,
        ):
            reply = await client.reply(a_request(previous=previous))
            body = orjson.loads(service.bodies[0])
        assert body["diagnostics"] == {"previous_message_id": sent}
        assert (reply.message_id, reply.cache_miss) == ("msg_1", "tools_changed")


async def test_nothing_is_asked_of_the_cache_unless_wanted(kind: str) -> None:
    """A request does not hold what another service might not know."""
    async with serving([Play([PLAIN])]) as service, a_client(kind, service.url) as client:
        reply = await client.reply(a_request())
        assert "diagnostics" not in orjson.loads(service.bodies[0])
    assert (reply.message_id, reply.cache_miss) == ("msg_1", "")


@pytest.mark.parametrize(
    "said",
    [None, "x", [], {"cache_miss_reason": None}, {"cache_miss_reason": {"type": 'a"b'}}],
    ids=str,
)
async def test_what_is_no_reason_is_passed_over(kind: str, said: object) -> None:
    """Diagnostics that are pending, or of another form, say nothing, and break nothing."""
    stream = PLAIN.replace(b'"stop_reason": null', b'"diagnostics": %b, "stop_reason": null')
    reply = await replied(kind, stream % orjson.dumps(said))
    assert reply.cache_miss == ""
