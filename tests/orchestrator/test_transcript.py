"""The messages of a session: append-only, encoded once, marks put beside them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.records import ModelRequest
from orchestrator.transcript import (
    CACHE_MARK,
    Transcript,
    count_blocks,
    encode_head,
    encode_message,
    mark,
    result_block,
    text_block,
)
from orchestrator_tools.contract import Block, ToolResult, ToolSpec, text_result

LOOKBACK = 20
"""Blocks that the service goes back from a mark to find what it has kept."""

TRICKY = 'say "hi",\\ "cache_control":{"type":"ephemeral"}}]}'


def a_transcript() -> Transcript:
    """Build an empty transcript."""
    tool = ToolSpec(
        name="Read", description="Reads", input_schema={"type": "object"}, effect="none"
    )
    return Transcript(encode_head("You build.", [tool]))


def calls(count: int) -> bytes:
    """Encode a reply of so many tool calls, whose arguments look like the end of a message."""
    blocks = [
        {"type": "tool_use", "id": f"t{n}", "name": "Read", "input": {"file_path": TRICKY}}
        for n in range(count)
    ]
    return encode_message("assistant", blocks)


def results(count: int) -> bytes:
    """Encode the results of so many calls."""
    return encode_message(
        "user", [result_block(f"t{n}", text_result(TRICKY)) for n in range(count)]
    )


def thought(count: int) -> bytes:
    """Encode a reply that ends in a thinking block."""
    thinking = {"type": "thinking", "thinking": "so", "signature": "c2ln"}
    return encode_message("assistant", [*[text_block("x")] * (count - 1), thinking])


def add(transcript: Transcript, message: bytes) -> bytes:
    """Append a message, counting its blocks."""
    transcript.append(message, blocks=count_blocks(message))
    return message


def asked(transcript: Transcript) -> ModelRequest:
    """Return the next request."""
    return transcript.request(model="claude-opus-5-5", max_tokens=100)


def marked(request: ModelRequest, stored: list[bytes]) -> list[int]:
    """Return which messages carry a mark, having checked that nothing else is different."""
    found = []
    for index, (sent, kept) in enumerate(zip(request.messages, stored, strict=True)):
        if sent != kept:
            assert sent == kept[:-3] + CACHE_MARK + kept[-3:]
            found.append(index)
    return found


def test_a_body_is_what_the_service_expects() -> None:
    """The body holds model, limit, system prompt, tools and messages, and asks for a stream."""
    transcript = a_transcript()
    add(transcript, encode_message("user", [text_block("hello")]))
    body = orjson.loads(asked(transcript).body())
    ephemeral = {"type": "ephemeral"}
    assert body == {
        "stream": True,
        "model": "claude-opus-5-5",
        "max_tokens": 100,
        "system": [{"type": "text", "text": "You build.", "cache_control": ephemeral}],
        "tools": [{"name": "Read", "description": "Reads", "input_schema": {"type": "object"}}],
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "hello", "cache_control": ephemeral}],
            }
        ],
    }


TURNS = st.lists(
    st.tuples(st.integers(1, 45), st.integers(1, 45), st.booleans()), min_size=1, max_size=12
)


@given(TURNS)
def test_requests_only_grow(turns: list[tuple[int, int, bool]]) -> None:
    """Every request's messages begin with the bytes of the one before it; marks are beside them."""
    transcript = a_transcript()
    stored = [add(transcript, encode_message("user", [text_block("go")]))]
    for made, returned, thinks in turns:
        stored.append(add(transcript, thought(made) if thinks else calls(made)))
        stored.append(add(transcript, results(returned)))
        request = asked(transcript)
        marked(request, stored)
        assert request.head == transcript.head
        assert asked(transcript) == request
        assert len(transcript) == len(stored)


@given(TURNS)
def test_no_request_has_more_marks_than_the_service_allows(
    turns: list[tuple[int, int, bool]],
) -> None:
    """At most four marks, the head's among them, however long the history is."""
    transcript = a_transcript()
    for made, returned, thinks in turns:
        add(transcript, thought(made) if thinks else calls(made))
        add(transcript, results(returned))
        body = orjson.loads(asked(transcript).body())
        blocks = [
            *body["system"],
            *(one for message in body["messages"] for one in message["content"]),
        ]
        count = sum("cache_control" in block for block in blocks)
        assert 2 <= count <= 4


@given(st.lists(st.tuples(st.integers(1, 45), st.integers(1, 45)), min_size=1, max_size=12))
def test_every_request_finds_what_the_last_one_left(turns: list[tuple[int, int]]) -> None:
    """From one of its marks a request reaches the last one's mark within the service's look-back.

    So a turn of many blocks gets a mark in between.
    """
    transcript = a_transcript()
    stored = [add(transcript, encode_message("user", [text_block("go")]))]
    for made, returned in turns:
        before = len(stored) - 1
        stored.append(add(transcript, calls(made)))
        stored.append(add(transcript, results(returned)))
        distances = [
            sum(count_blocks(one) for one in stored[before + 1 : at + 1])
            for at in marked(asked(transcript), stored)
            if at >= before
        ]
        assert min(distances) < LOOKBACK


@pytest.mark.parametrize("kind", ["thinking", "redacted_thinking"])
def test_a_thinking_block_carries_no_mark(kind: str) -> None:
    """A message that ends in thinking goes out as it is: the service refuses a mark there."""
    message = encode_message("assistant", [text_block("x"), {"type": kind, "data": "x"}])
    assert mark(message) == message


def test_a_mark_stands_on_the_last_block_only() -> None:
    """A mark goes into the last block, whatever the text before looks like."""
    for message in (calls(2), results(2), encode_message("user", [text_block(TRICKY)])):
        plain, blocks = orjson.loads(message)["content"], orjson.loads(mark(message))["content"]
        assert blocks[-1].pop("cache_control") == {"type": "ephemeral"}
        assert blocks == plain


def test_an_empty_message_carries_no_mark() -> None:
    """A message without blocks has nothing to put a mark on."""
    message = encode_message("assistant", [])
    assert mark(message) == message


@given(st.text(st.characters()))
def test_any_text_can_be_sent(text: str) -> None:
    """Text that is not valid Unicode is mended; all other text is kept as it is."""
    sent = orjson.loads(encode_message("user", [text_block(text)]))["content"][0]["text"]
    assert sent == text.encode("utf-8", "replace").decode()


IMAGE: Block = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": "eA=="},
}


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (text_result("out"), {"content": "out"}),
        (text_result(""), {"content": "(nothing)"}),
        (text_result("no such file", is_error=True), {"is_error": True, "content": "no such file"}),
        (text_result("a\ud800"), {"content": "a?"}),
        (ToolResult(content=(IMAGE,)), {"content": [IMAGE]}),
        (
            ToolResult(content=(text_block("a"), IMAGE)),
            {"content": [{"type": "text", "text": "a"}, IMAGE]},
        ),
        (
            ToolResult(content=(text_block(""), IMAGE)),
            {"content": [{"type": "text", "text": "(nothing)"}, IMAGE]},
        ),
    ],
)
def test_a_result_becomes_a_block(result: ToolResult, expected: dict[str, Any]) -> None:
    """A tool's result carries its call's id; one text is sent as text, never empty."""
    assert result_block("t1", result) == {"type": "tool_result", "tool_use_id": "t1", **expected}


def test_size_is_the_bytes_that_are_kept() -> None:
    """The size tells how large the next request will be, near enough."""
    transcript = a_transcript()
    message = add(transcript, calls(3))
    assert transcript.size() == len(transcript.head) + len(message) + 1
    assert abs(len(asked(transcript).body()) - transcript.size()) < 300
