"""The messages of a session: append-only, encoded once, with the cache marks put beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import orjson

from orchestrator.records import ModelRequest
from orchestrator_tools.contract import Block, ToolResult, ToolSpec

CACHE_MARK = b',"cache_control":{"type":"ephemeral"}'
LONG_MARK = b',"cache_control":{"type":"ephemeral","ttl":"1h"}'
"""Keeps what stands before it for an hour; the service wants such marks before shorter ones."""

REPLY = b'{"role":"assistant"'
"""How the encoded message of a reply begins."""

Life = Literal["5m", "1h"]
MARK_EVERY = 15
"""Blocks between two marks: the service looks back 20 for an earlier one.

Source: prompt caching, Messages API documentation.
"""
MARKS = 3
"""Marks on messages; the fourth that the service allows stands on the system prompt."""


class Transcript:
    """The messages of one session, and the request that they make.

    Args:
        head: what ``encode_head`` gave; fixed for the session.
    """

    def __init__(self, head: bytes) -> None:
        self.head = head
        self._messages: list[bytes] = []
        self._blocks: list[int] = []
        self._size = len(head)

    @property
    def messages(self) -> Sequence[bytes]:
        """Return the messages as they are kept, without marks."""
        return self._messages

    def __len__(self) -> int:
        """Return the number of messages."""
        return len(self._messages)

    def append(self, message: bytes, *, blocks: int) -> None:
        """Add an encoded message of so many blocks."""
        self._messages.append(message)
        self._blocks.append(blocks)
        self._size += len(message) + 1

    def replace(self, index: int, message: bytes) -> None:
        """Put another message of as many blocks in a message's place."""
        self._size += len(message) - len(self._messages[index])
        self._messages[index] = message

    def restart(self, message: bytes, *, kept: int) -> None:
        """Begin with another message, and go on with so many of the latest."""
        tail = len(self._messages) - kept
        self._messages = [message, *self._messages[tail:]]
        self._blocks = [count_blocks(message), *self._blocks[tail:]]
        self._size = len(self.head) + sum(len(one) + 1 for one in self._messages)

    def copy(self) -> Transcript:
        """Return a transcript that goes on from here by itself."""
        other = Transcript(self.head)
        other._messages, other._blocks = list(self._messages), list(self._blocks)
        other._size = self._size
        return other

    def drop_thinking(self) -> None:
        """Take every thought out of the messages so far: another model does not take them."""
        messages = [without_thinking(message) for message in self._messages]
        self._messages = [message for message in messages if message]
        self._blocks = [count_blocks(message) for message in self._messages]
        self._size = len(self.head) + sum(len(one) + 1 for one in self._messages)

    def size(self) -> int:
        """Return the bytes of the next request, near enough; counted as it grows."""
        return self._size

    def request(
        self, *, model: str, max_tokens: int, life: Life = "5m", previous: str | None = None
    ) -> ModelRequest:
        """Build the next request; earlier messages keep their bytes.

        Args:
            model: the full id.
            max_tokens: the most that the reply may hold.
            life: how long the service is asked to keep what it is sent.
            previous: what ``ModelRequest.previous`` says.
        """
        messages = list(self._messages)
        for index in self._marked():
            messages[index] = mark(messages[index], life)
        head = self.head if life == "5m" else self.head.replace(CACHE_MARK, LONG_MARK, 1)
        return ModelRequest(
            model=model,
            max_tokens=max_tokens,
            head=head,
            messages=tuple(messages),
            length=self._size,
            life=life,
            previous=previous,
        )

    def _marked(self) -> list[int]:
        """Choose the messages that carry a cache mark: the last, and others so far back."""
        found: list[int] = []
        since = MARK_EVERY
        for index in range(len(self._messages) - 1, -1, -1):
            if since >= MARK_EVERY:
                found.append(index)
                since = 0
            if len(found) == MARKS:
                break
            since += self._blocks[index]
        return found


def mark(message: bytes, life: Life = "5m") -> bytes:
    """Put a cache mark on the last block of an encoded message, if that block may carry one."""
    if not message.endswith(b"}]}") or _ends_in_thinking(message):
        return message
    return message[:-3] + (CACHE_MARK if life == "5m" else LONG_MARK) + message[-3:]


def _ends_in_thinking(message: bytes) -> bool:
    """Tell whether the last block is a thinking block, which cannot carry a mark."""
    if not message.startswith(REPLY):
        return False
    last = orjson.loads(message)["content"][-1]
    return last.get("type") in {"thinking", "redacted_thinking"}


def without_thinking(message: bytes) -> bytes:
    """Return a message without its thinking blocks; empty where nothing else was in it."""
    if not message.startswith(b'{"role":"assistant"') or b"thinking" not in message:
        return message
    blocks = orjson.loads(message)["content"]
    kept = [one for one in blocks if one.get("type") not in {"thinking", "redacted_thinking"}]
    if len(kept) == len(blocks):
        return message
    return encode_message("assistant", kept) if kept else b""


def encode_head(system: str, tools: Sequence[ToolSpec], effort: str = "") -> bytes:
    """Encode system prompt and tools as members of a request body, with their cache mark.

    Args:
        system: the system prompt.
        tools: what the model is told of them.
        effort: how hard the model is asked to think; empty leaves it to the service.
    """
    system_block = {"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}
    listed = [
        {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}
        for tool in tools
    ]
    head = b'"system":%b,"tools":%b' % (orjson.dumps([system_block]), orjson.dumps(listed))
    return head + b',"output_config":%b' % orjson.dumps({"effort": effort}) if effort else head


def encode_message(role: str, blocks: Sequence[Mapping[str, Any]]) -> bytes:
    """Encode a message; its content is always a list, and always its last member."""
    return orjson.dumps({"role": role, "content": [dict(block) for block in blocks]})


def text_block(text: str) -> Block:
    """Build a text block; what is not valid Unicode is replaced."""
    return {"type": "text", "text": text.encode("utf-8", "replace").decode("utf-8")}


def result_block(call_id: str, result: ToolResult) -> Block:
    """Build the block that carries a tool's result."""
    block: Block = {"type": "tool_result", "tool_use_id": call_id}
    content = result.content
    if result.is_error:
        block["is_error"] = True
    if len(content) == 1 and content[0]["type"] == "text":
        block["content"] = text_block(content[0]["text"] or "(nothing)")["text"]
    else:
        block["content"] = [
            text_block(part["text"] or "(nothing)") if part["type"] == "text" else dict(part)
            for part in content
        ]
    return block


def count_blocks(message: bytes) -> int:
    """Count the blocks of an encoded message."""
    return len(orjson.loads(message)["content"])
