"""A transcript, weighed: what each message and result takes in tokens, and what has to stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from orchestrator.session import about_call
from orchestrator.transcript import REPLY
from orchestrator.values import frozen
from orchestrator_tools.contract import ToolCall

RECENT = 3
"""Messages with results that are never touched: the model is at work on them."""

REFERENCE = 240
"""Bytes that stand where a result is left out, about."""

WORTH_BYTES = 1_000
"""A result shorter than this is left where it is."""

PICTURE_TOKENS = 1_500

USUAL_BYTES = 3.0
"""Bytes of a token where no reply has shown it yet."""

CLEARED = "(left out"
"""How a result that was left out begins."""

WRITERS = frozenset({"Write", "Edit"})


@frozen
class Result:
    """One tool result in a transcript.

    Attributes:
        message: index of its message.
        block: index in that message.
        call: what was called; None where the call is gone.
        tokens: what it takes, near enough.
        saved: tokens that leaving it out would save; 0 where it is not worth it.
        failed: whether it reports an error.
        needed: why it has to stay; empty where it need not.
    """

    message: int
    block: int
    call: ToolCall | None
    tokens: float
    saved: float
    failed: bool
    needed: str = ""


@frozen
class History:
    """A transcript, weighed.

    Attributes:
        head: tokens of system prompt and tools.
        messages: tokens of each message.
        replies: of each message whether it is a reply.
        results: all tool results, the oldest first.
        new: messages at the end that no request has carried yet.
        touched: files that were written or edited, the latest last.
        failures: index in ``results`` of failures that nothing has mended yet.
    """

    head: float
    messages: Sequence[float]
    replies: Sequence[bool]
    results: Sequence[Result]
    new: int = 2
    touched: Sequence[str] = ()
    failures: Sequence[int] = ()

    @property
    def tokens(self) -> float:
        """Return the tokens of the next request."""
        return self.head + sum(self.messages)


def weighed(head: bytes, messages: Sequence[bytes], *, asked: int, tokens: int) -> History:
    """Weigh a transcript.

    Args:
        head: system prompt and tools.
        messages: as they are sent, without marks.
        asked: bytes of the last request that was answered.
        tokens: what that took, as the service counted.
    """
    contents = [orjson.loads(message)["content"] for message in messages]
    pictures = [[_pictures(block) for block in content] for content in contents]
    sizes = [len(message) + 1 for message in messages]
    known, most = 0, len(head) + 1
    while known < len(sizes) and most + sizes[known] <= asked + 1:
        most += sizes[known]
        known += 1
    per_token = _per_token(asked, tokens, [one for each in pictures[:known] for one in each])
    results = _results(contents, per_token)
    touched, failures = _touched(results), _failures(results)
    needed = _needed(results, touched, failures)
    return History(
        head=len(head) / per_token,
        messages=[
            (size - sum(shown)) / per_token + PICTURE_TOKENS * sum(map(bool, shown))
            for size, shown in zip(sizes, pictures, strict=True)
        ],
        replies=[message.startswith(REPLY) for message in messages],
        results=[replace(one, needed=needed.get(n, "")) for n, one in enumerate(results)],
        new=len(messages) - known,
        touched=touched,
        failures=failures,
    )


def _per_token(asked: int, tokens: int, pictures: Sequence[int]) -> float:
    """Return the bytes of a token of text: pictures are not counted by their size."""
    text = asked - sum(pictures)
    counted = tokens - PICTURE_TOKENS * sum(map(bool, pictures))
    return max(text / counted, 1.0) if text > 0 and counted > 0 else USUAL_BYTES


def _results(contents: Sequence[Sequence[Mapping[str, Any]]], per_token: float) -> list[Result]:
    calls: dict[str, ToolCall] = {}
    found = []
    for index, content in enumerate(contents):
        for at, block in enumerate(content):
            if block.get("type") == "tool_use":
                made, ident = block.get("input"), str(block.get("id"))
                given = made if isinstance(made, dict) else {}
                calls[ident] = ToolCall(ident, str(block.get("name")), given)
            elif block.get("type") == "tool_result":
                call = calls.get(str(block.get("tool_use_id")))
                tokens = _result_tokens(block, per_token)
                saved = _saved(tokens, per_token)
                found.append(Result(index, at, call, tokens, saved, bool(block.get("is_error"))))
    return found


def _pictures(block: Mapping[str, Any]) -> int:
    """Return the bytes of a block's pictures: the service does not count them by size."""
    content = block.get("content")
    parts = content if isinstance(content, list) else [block]
    return sum(
        len(str((part.get("source") or {}).get("data") or ""))
        for part in parts
        if isinstance(part, dict) and part.get("type") in {"image", "document"}
    )


def _result_tokens(block: Mapping[str, Any], per_token: float) -> float:
    content = block.get("content")
    size = len(content.encode("utf-8", "replace")) if isinstance(content, str) else 0
    if isinstance(content, list):
        size = len(orjson.dumps(content))
    if isinstance(content, str) and content.startswith(CLEARED):
        return 0.0
    pictures = _pictures(block)
    return (size - pictures) / per_token + (PICTURE_TOKENS if pictures else 0)


def _saved(tokens: float, per_token: float) -> float:
    return tokens - REFERENCE / per_token if tokens * per_token >= WORTH_BYTES else 0.0


def path_of(call: ToolCall | None) -> str:
    """Return the file that a call is about; empty where it is about none."""
    return str(call.arguments.get("file_path") or "") if call is not None else ""


def _touched(results: Sequence[Result]) -> list[str]:
    found: dict[str, None] = {}
    for one in results:
        if one.call is not None and one.call.tool in WRITERS and not one.failed:
            found.pop(path_of(one.call), None)
            found[path_of(one.call)] = None
    return list(found)


def _same_call(call: ToolCall) -> tuple[str, str]:
    return call.tool, str(call.arguments.get("command") or about_call(call))


def _failures(results: Sequence[Result]) -> list[int]:
    """Return the failures that the same call has not come out of since: the latest of each."""
    still: dict[tuple[str, str], int] = {}
    for number, one in enumerate(results):
        if one.call is None:
            continue
        key = _same_call(one.call)
        still.pop(key, None)
        if one.failed:
            still[key] = number
    return sorted(still.values())


def recent(results: Sequence[Result]) -> int:
    """Return the message from which on results are not touched."""
    messages = sorted({one.message for one in results})
    return messages[-RECENT] if len(messages) >= RECENT else -1


def _needed(
    results: Sequence[Result], touched: Sequence[str], failures: Sequence[int]
) -> dict[int, str]:
    """Return which results have to stay, and why."""
    needed: dict[int, str] = dict.fromkeys(failures[-3:], "an open failure")
    reads: dict[str, int] = {}
    for number, one in enumerate(results):
        if one.call is not None and one.call.tool == "Read" and not one.failed:
            reads[path_of(one.call)] = number
    for path in touched:
        if path in reads:
            needed[reads[path]] = "a file that is being changed"
    last = recent(results)
    for number, one in enumerate(results):
        if one.message >= last:
            needed[number] = "recent"
    return needed
