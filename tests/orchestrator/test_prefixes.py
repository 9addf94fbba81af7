"""The bytes before each mark never change, whatever marks there are and wherever one looks."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.prefixes import difference, prefixes, unmarked
from orchestrator.records import ModelRequest
from orchestrator.transcript import (
    Life,
    Transcript,
    count_blocks,
    encode_head,
    encode_message,
    mark,
    text_block,
)
from orchestrator_tools.contract import ToolSpec

TRICKY = 'a ","cache_control":{"type":"ephemeral"}}]} b'
TOOL = ToolSpec("Read", TRICKY, {"type": "object"}, effect="none")


def a_transcript(system: str = f"You build. {TRICKY}") -> Transcript:
    """Build a transcript whose texts look like marks."""
    return Transcript(encode_head(system, [TOOL], "high"))


def add(transcript: Transcript, role: str, *texts: str) -> None:
    """Add a message."""
    message = encode_message(role, [text_block(text) for text in texts])
    transcript.append(message, blocks=count_blocks(message))


def asked(transcript: Transcript, life: Life = "5m") -> ModelRequest:
    """Return the next request."""
    return transcript.request(model="claude-opus-5-5", max_tokens=10, life=life)


def grown(turns: int, transcript: Transcript | None = None) -> list[ModelRequest]:
    """Return the requests of so many turns."""
    transcript = a_transcript() if transcript is None else transcript
    found = []
    for turn in range(turns):
        add(transcript, "user", f"{turn} {TRICKY}", *["more"] * (turn % 19))
        found.append(asked(transcript))
        add(transcript, "assistant", f"reply {turn} {TRICKY}")
    return found


def test_what_was_marked_once_is_a_prefix_for_ever() -> None:
    """Every prefix that a request has kept is one of those that all later requests begin with."""
    requests = grown(40)
    for n, request in enumerate(requests):
        longest = prefixes(request)[-1]
        later = requests[n + 1] if n + 1 < len(requests) else request
        again = replace(later, messages=later.messages[: len(request.messages)])
        bare = tuple(unmarked(one)[0] for one in again.messages[:-1])
        marked = (*bare, mark(unmarked(again.messages[-1])[0]))
        assert prefixes(replace(again, messages=marked))[-1].digest == longest.digest
        assert difference(request, later) == ""


@given(st.integers(1, 25), st.integers(0, 24))
def test_marks_say_nothing_of_what_they_mark(turns: int, at: int) -> None:
    """How long marks last changes no prefix; an hour's marks come before all others."""
    transcript = a_transcript()
    requests = grown(turns, transcript)
    short = requests[min(at, turns - 1)]
    add(transcript, "user", "the last")
    long = asked(transcript, "1h")
    assert difference(short, long) == ""
    lives = [one.life for one in prefixes(long)]
    assert set(lives) == {"1h"}
    plain = asked(transcript)
    assert [p.digest for p in prefixes(long)] == [p.digest for p in prefixes(plain)]
    body = orjson.loads(long.body())
    assert body["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert TRICKY in body["system"][0]["text"] and body["tools"][0]["description"] == TRICKY


def test_the_part_that_differs_is_named() -> None:
    """A changed model, tool, system prompt, setting or message is named for what it is."""
    (first, second) = grown(2)
    assert difference(first, replace(second, model="claude-haiku-5-5")) == "model"
    other = replace(second, head=a_transcript("You test.").head)
    assert difference(first, other) == "system"
    tools = encode_head(f"You build. {TRICKY}", [], "high")
    assert difference(first, replace(second, head=tools)) == "tools"
    effort = encode_head(f"You build. {TRICKY}", [TOOL], "low")
    assert difference(first, replace(second, head=effort)) == "settings"
    changed = (encode_message("user", [text_block("else")]), *second.messages[1:])
    assert difference(first, replace(second, messages=changed)) == "message 1"
    assert difference(second, first) == "message 2"


@pytest.mark.parametrize("life", ["5m", "1h"])
def test_a_mark_is_taken_off_again(life: Life) -> None:
    """What carries a mark is what it was without it; what looks like a mark stays."""
    message = encode_message("user", [text_block(TRICKY), text_block(TRICKY)])
    assert unmarked(mark(message, life)) == (message, life)
    assert unmarked(message) == (message, "")
