"""A streamed reply, put together: the same blocks whichever client the events came through."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import orjson

from orchestrator.amounts import RateNews
from orchestrator.errors import MalformedReply, ModelError, ModelOverloaded
from orchestrator.models.refusals import without
from orchestrator.records import ModelReply, Usage
from orchestrator_tools.contract import Block

EVENT_LIMIT = 32 * 1024 * 1024
"""Bytes of one event; what is larger is no reply of this service."""

KEY_ORDER = ("type", "id", "name", "input", "thinking", "signature", "text", "citations", "data")
MESSAGE_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
OVERLOADED = {"overloaded_error", "rate_limit_error"}
PASSING = OVERLOADED | {"api_error", "timeout_error", "internal_server_error"}


class EventReader:
    """Splits a stream of bytes into the events' data."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """Yield the events that are complete with this chunk.

        Raises:
            MalformedReply: an event is not JSON, or too large.
        """
        self._buffer += chunk
        if len(self._buffer) > EVENT_LIMIT:
            raise MalformedReply(
                "an event of the stream is too large", retryable=True, started=True
            )
        if b"\n" not in chunk:
            return
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        for line in lines:
            if line.startswith(b"data:"):
                yield _event(line[5:])


def _event(data: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise MalformedReply("the stream holds broken JSON", retryable=True) from None
    if not isinstance(event, dict):
        raise MalformedReply("the stream holds no events", retryable=True)
    return event


class Accumulator:
    """Puts a reply together from its events; kinds that it does not know are passed over.

    Args:
        key: the credential that was sent, which is in no error.
    """

    def __init__(self, key: str = "") -> None:
        self._key = key
        self._blocks: dict[int, Block] = {}
        self._pieces: dict[int, list[str]] = {}
        self._closed: set[int] = set()
        self._usage: dict[str, Any] = {}
        self._stop_reason: str | None = None
        self._message_id = ""
        self._cache_miss = ""
        self.started = False
        self.finished = False

    def take(self, event: Mapping[str, Any]) -> None:
        """Take in one event.

        Raises:
            ModelError: the service reports an error, or the event does not fit.
        """
        kind = event.get("type")
        try:
            if kind == "content_block_delta":
                self._delta(int(event["index"]), event["delta"])
            elif kind == "content_block_start":
                self._blocks[int(event["index"])] = dict(event["content_block"])
                self._pieces[int(event["index"])] = []
            elif kind == "content_block_stop":
                self._closed.add(int(event["index"]))
            elif kind == "message_start":
                self.started = True
                self._usage |= event["message"].get("usage") or {}
                self._about(event["message"])
            elif kind == "message_delta":
                self._stop_reason = event["delta"].get("stop_reason") or self._stop_reason
                self._about(event["delta"])
                self._usage |= {
                    k: v for k, v in (event.get("usage") or {}).items() if v is not None
                }
            elif kind == "message_stop":
                self.finished = True
        except (KeyError, TypeError, ValueError, AttributeError):
            raise MalformedReply(
                f"a broken {kind} event", retryable=True, started=self.started
            ) from None
        if kind == "error":
            raise _reported(event.get("error"), self._key, started=self.started)

    def _about(self, said: Mapping[str, Any]) -> None:
        """Note a message's name, and what the service says of its cache."""
        name = said.get("id")
        if isinstance(name, str) and MESSAGE_ID.fullmatch(name):
            self._message_id = name
        found = said.get("diagnostics")
        reason = found.get("cache_miss_reason") if isinstance(found, dict) else None
        if isinstance(reason, dict) and MESSAGE_ID.fullmatch(str(reason.get("type"))):
            self._cache_miss = str(reason["type"])

    def _delta(self, index: int, delta: Mapping[str, Any]) -> None:
        block = self._blocks[index]
        match delta.get("type"):
            case "text_delta" | "thinking_delta" | "input_json_delta" as kind:
                self._pieces[index].append(str(delta[PIECES[kind]]))
            case "signature_delta":
                block["signature"] = delta["signature"]
            case "citations_delta":
                block["citations"] = [*(block.get("citations") or []), delta["citation"]]
            case _:
                pass  # newer than this reader: nothing that it would send back

    def reply(self, request_id: str = "", rates: tuple[RateNews, ...] = ()) -> ModelReply:
        """Return the whole reply.

        Raises:
            MalformedReply: the stream ended before its end.
        """
        if not self.finished or self._stop_reason is None:
            raise MalformedReply("the reply broke off", retryable=True, started=self.started)
        broken: list[str] = []
        blocks = [self._block(index, broken) for index in sorted(self._blocks)]
        return ModelReply(
            blocks=tuple(block for block in blocks if block is not None),
            stop_reason=self._stop_reason,
            usage=usage_of(self._usage),
            request_id=request_id,
            broken_calls=tuple(broken),
            message_id=self._message_id,
            cache_miss=self._cache_miss,
            rates=rates,
        )

    def _block(self, index: int, broken: list[str]) -> Block | None:
        """Finish one block; an empty text and a thinking block that was cut cannot be sent back."""
        block = self._blocks[index]
        text = "".join(self._pieces[index])
        match block.get("type"):
            case "text":
                block["text"] = str(block.get("text") or "") + text
                if not block["text"]:
                    return None
                if block.get("citations") is None:
                    block.pop("citations", None)
            case "thinking":
                block["thinking"] = str(block.get("thinking") or "") + text
                if not block.get("signature"):
                    return None
            case "tool_use" | "server_tool_use":
                parsed = self._input(index, block, text)
                if parsed is None:
                    broken.append(str(block.get("id")))
                block["input"] = parsed or {}
            case _:
                pass  # kept as it came
        return _ordered(block)

    def _input(self, index: int, block: Block, text: str) -> dict[str, Any] | None:
        if index not in self._closed:
            return None
        if not text:
            return block.get("input") if isinstance(block.get("input"), dict) else None
        try:
            parsed = orjson.loads(text)
        except orjson.JSONDecodeError:
            return None
        return parsed if isinstance(parsed, dict) else None


def whole_reply(message: Mapping[str, Any], price_share: float = 1.0) -> ModelReply:
    """Read a reply that came in one piece, into the same blocks as if it had been streamed.

    Raises:
        MalformedReply: it is no whole message.
    """
    accumulator = Accumulator()
    content, reason = message.get("content"), message.get("stop_reason")
    if not isinstance(content, list) or not isinstance(reason, str):
        raise MalformedReply("the reply is no whole message", retryable=True, started=True)
    accumulator.take({"type": "message_start", "message": message})
    for index, block in enumerate(content):
        accumulator.take({"type": "content_block_start", "index": index, "content_block": block})
        cut = reason == "max_tokens" and index == len(content) - 1
        if not cut:  # a call that was cut is never run, whatever its arguments look like
            accumulator.take({"type": "content_block_stop", "index": index})
    accumulator.take({"type": "message_delta", "delta": {"stop_reason": reason}})
    accumulator.take({"type": "message_stop"})
    return replace(accumulator.reply(str(message.get("id") or "")), price_share=price_share)


PIECES = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


def _ordered(block: Block) -> Block:
    """Give the keys one order, so that every client stores the same bytes."""
    known = {key: block[key] for key in KEY_ORDER if key in block}
    rest = {key: block[key] for key in sorted(block) if key not in known}
    return {k: v if k == "input" else _sorted(v) for k, v in (known | rest).items()}


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Read the service's token counts."""

    def count(value: object) -> int:
        return value if isinstance(value, int) and value >= 0 else 0

    by_life = usage.get("cache_creation")
    long = count(by_life.get("ephemeral_1h_input_tokens")) if isinstance(by_life, dict) else 0
    written = count(usage.get("cache_creation_input_tokens"))
    return Usage(
        input_tokens=count(usage.get("input_tokens")),
        output_tokens=count(usage.get("output_tokens")),
        cache_read_tokens=count(usage.get("cache_read_input_tokens")),
        cache_write_tokens=max(written - long, 0),
        cache_write_1h_tokens=long,
    )


def _reported(error: object, key: str, *, started: bool) -> ModelError:
    kind = str(error.get("type")) if isinstance(error, dict) else "unknown error"
    message = str(error.get("message")) if isinstance(error, dict) else ""
    cls = ModelOverloaded if kind in OVERLOADED else ModelError
    said = without(key, f"{kind}: {message}")[:500]
    return cls(said, retryable=kind in PASSING, started=started)
