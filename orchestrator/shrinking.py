"""How a transcript is rewritten: results left out, or a summary in the place of older turns."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import orjson

from orchestrator.context import Decision
from orchestrator.transcript import REPLY, text_block
from orchestrator.weighing import CLEARED, History, Result, path_of
from orchestrator_tools.contract import Block

KEPT_WHOLE = "bytes kept whole in "
EDGE = 120
"""Characters of the beginning and the end that are kept of what a command printed."""

FAILURE_MOST = 2_000
"""Characters of the end of an open failure that are kept with a summary."""

WORDS_MOST = 1_500
FAILURES = 3
FILES = 60

SUMMARY = "<summary>"
"""How the block begins that stands for older turns; another summary takes its place."""

ASK = """\
The turns so far are about to be left out of this conversation, and what you write now stands in \
their place: without it you will not know what you did. Use no tool. Write, as briefly as is safe:
1. The plan: what is asked, what is done, what is left, in order.
2. What you found out that the work depends on: names, places (file:line), decisions and why.
3. The files that you changed, and what is still to be changed in each.
4. What fails right now: the command, and the lines of its output that matter, word for word.
5. The commands that work here, for building and testing.
6. The very next step."""

GO_ON = "Go on from here. Read again what you need; the files are as you left them."


def cleared(messages: Sequence[bytes], chosen: Sequence[Result]) -> tuple[tuple[int, bytes], ...]:
    """Return the messages that are other ones once some results are left out, with their index."""
    by_message: dict[int, list[Result]] = {}
    for one in chosen:
        by_message.setdefault(one.message, []).append(one)
    found = []
    for index in sorted(by_message):
        message = orjson.loads(messages[index])
        for one in by_message[index]:
            block = message["content"][one.block]
            block["content"] = reference(one, block.get("content"))
        found.append((index, orjson.dumps(message)))
    return tuple(found)


def reference(result: Result, content: object) -> str:
    """Return what stands where a result was: that it was there, and how to have it again."""
    text = _said(content)
    size = len(text.encode("utf-8", "replace"))
    tool = result.call.tool if result.call is not None else ""
    if KEPT_WHOLE in text:
        place = text.rsplit(KEPT_WHOLE, 1)[1].rstrip(")\n ")[:200]
        how = f"it is whole in {place}"
    elif tool == "Read":
        how = "read the file again if you need it"
    elif tool == "Bash":
        how = "run it again if you need it"
    else:
        how = "ask again if you need it"
    told = f"{CLEARED} to save room: {size} bytes; {how})"
    if tool != "Bash" or len(text) <= 2 * EDGE:
        return told
    return f"{told}\n{text[:EDGE].strip()}\n...\n{text[-EDGE:].strip()}"


def summarized(
    messages: Sequence[bytes], history: History, summary: str, *, kept: int, told: bytes = b""
) -> bytes:
    """Return the message that a transcript begins with once a summary stands for older turns.

    Args:
        messages: the transcript; what its first one asks for stays word for word.
        history: the same, weighed.
        summary: in the model's words; empty where it gave none.
        kept: how many of the latest messages stay.
        told: the message that sent the agent back to work last, as for findings of a review; it
            stays word for word too.
    """
    first: dict[str, Any] = orjson.loads(messages[0])
    blocks: list[Block] = [
        one for one in first["content"] if not str(one.get("text", "")).startswith(SUMMARY)
    ]
    parts = [SUMMARY, _own_words(summary) if summary else _known_words(messages)]
    if history.touched:
        named = _between("files", "\n".join(history.touched[-FILES:]))
        parts.append(f"Files that you wrote or edited, the latest last:\n{named}")
    failures = _failures(messages, history, before=len(messages) - kept)
    if failures:
        said = _between("output", "\n\n".join(failures))
        parts.append(f"What failed last, and has not come out well since:\n{said}")
    if told and told not in messages[len(messages) - kept :]:
        blocks_told = orjson.loads(told)["content"]
        if blocks_told[:1] != first["content"][:1]:
            parts += [
                "What you were sent back to work with:",
                *(one["text"] for one in blocks_told),
            ]
    parts += ["</summary>", GO_ON]
    return orjson.dumps({"role": "user", "content": [*blocks, text_block("\n\n".join(parts))]})


def _own_words(words: str) -> str:
    """Return a summary as it stands in a message of the user's: what it says is the model's."""
    return f"In your own words:\n{_between('words', words)}"


def _between(kind: str, text: str) -> str:
    """Put text between marks that it cannot hold itself: they are named by its own hash."""
    mark = f"{kind}-{sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]}"
    return f"<{mark}>\n{text}\n</{mark}>"


def _failures(messages: Sequence[bytes], history: History, *, before: int) -> list[str]:
    """Return what open failures said that does not stay by itself."""
    found = []
    for number in history.failures[-FAILURES:]:
        one = history.results[number]
        if one.message >= before:
            continue
        block = orjson.loads(messages[one.message])["content"][one.block]
        said = _said(block.get("content"))[-FAILURE_MOST:]
        call = one.call
        about = path_of(call) or str((call.arguments if call else {}).get("command") or "")
        found.append(f"{call.tool if call else 'call'} {about[:300]}\n{said}")
    return found


def _known_words(messages: Sequence[bytes]) -> str:
    """Return what the model said last, where it wrote no summary."""
    said = [
        str(block["text"]).strip()
        for message in messages
        if message.startswith(REPLY)
        for block in orjson.loads(message)["content"]
        if block.get("type") == "text"
    ]
    if not said:
        return "Older turns were left out for want of room."
    text = "\n".join(said[-5:])[-WORDS_MOST:]
    said_last = _between("words", text)
    return f"Older turns were left out for want of room. What you said last:\n{said_last}"


def _said(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(one.get("text")) for one in content if one.get("type") == "text")
    return ""


def why(decision: Decision) -> str:
    """Say for people why a transcript is made shorter."""
    if decision.forced:
        return "the model's window is nearly full"
    return f"expected to save ${decision.gain:.2f}"
