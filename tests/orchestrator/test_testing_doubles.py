"""The public doubles: a scripted model, a tracker, a journal, a recording."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from orchestrator.errors import ConfigError, IssueNotFound, ModelError, ModelRefused
from orchestrator.events import Event, RunStarted, encode
from orchestrator.records import Usage
from orchestrator.testing import MemoryTracker, ReplayClient, ScriptedModel, load_replies, says
from orchestrator.transcript import encode_message
from tests.builders import (
    a_definition,
    a_reply_event,
    a_request,
    a_run,
    a_text,
    an_issue,
    an_outcome,
)


def test_says_builds_a_reply() -> None:
    """Text and calls become blocks, and the stop reason follows from them."""
    assert says("hi").stop_reason == "end_turn"
    reply = says("hi", ("Read", {"file_path": "a"}), ("Bash", {"command": "ls"}))
    assert reply.stop_reason == "tool_use"
    assert [block["type"] for block in reply.blocks] == ["text", "tool_use", "tool_use"]
    assert reply.blocks[1]["input"] == {"file_path": "a"}
    assert says().blocks == ()
    assert says("x", stop_reason="max_tokens", usage=Usage(1, 2)).usage == Usage(1, 2)


@pytest.mark.asyncio
async def test_a_scripted_model_plays_its_script() -> None:
    """Replies come in order, errors are raised, requests are kept, and after the end it refuses."""
    error = ModelError("overloaded", retryable=True)
    model = ScriptedModel([says("one"), error, says("two")])
    assert (await model.reply(a_request())).blocks[0]["text"] == "one"
    with pytest.raises(ModelError) as caught:
        await model.reply(a_request())
    assert caught.value is error
    assert (await model.reply(a_request())).blocks[0]["text"] == "two"
    with pytest.raises(ModelRefused, match="script has ended"):
        await model.reply(a_request(max_tokens=5))
    assert len(model.requests) == 4
    assert model.requests[-1].max_tokens == 5
    await model.aclose()


@pytest.mark.asyncio
async def test_no_two_calls_of_a_script_have_one_id() -> None:
    """The same reply played twice has other call ids, as a service would give them."""
    step = says("", ("Read", {"file_path": "a"}), ("Read", {"file_path": "a"}))
    model = ScriptedModel([step, step])
    ids = [block["id"] for _ in range(2) for block in (await model.reply(a_request())).blocks]
    assert len(set(ids)) == 4


@pytest.mark.asyncio
async def test_a_tracker_in_memory() -> None:
    """Issues are fetched by key, unknown ones refused, and reports kept in order."""
    issue = an_issue()
    tracker = MemoryTracker([issue])
    assert await tracker.fetch("7") is issue
    with pytest.raises(IssueNotFound):
        await tracker.fetch("8")
    outcomes = [an_outcome(status="failed"), an_outcome()]
    for outcome in outcomes:
        await tracker.report(issue, outcome)
    assert tracker.reports == {"7": outcomes}


def asking(turn: int) -> tuple[bytes, ...]:
    """Build the messages that ask for a turn's reply."""
    messages = [encode_message("user", [a_text("go")])]
    for number in range(1, turn):
        messages.append(encode_message("assistant", [a_text(f"reply {number}")]))
        messages.append(encode_message("user", [a_text("on")]))
    return tuple(messages)


@pytest.mark.asyncio
async def test_a_recording_is_played_by_turn() -> None:
    """The turn is told from the request, so a resumed run gets the reply that is next for it."""
    events = [
        a_reply_event(f"reply {turn}", turn=turn, request_id=f"r{turn}") for turn in (1, 2, 3)
    ]
    client = ReplayClient(events)
    for turn in (3, 1, 2, 2):
        reply = await client.reply(a_request(*asking(turn)))
        assert reply.blocks == (a_text(f"reply {turn}"),)
        assert (reply.request_id, reply.usage) == (f"r{turn}", events[0].usage)
    with pytest.raises(ModelRefused, match="ends after 3 replies"):
        await client.reply(a_request(*asking(4)))


@pytest.mark.asyncio
async def test_a_replayed_reply_has_the_bytes_it_was_kept_with() -> None:
    """What was kept, encoded again after replay, is the same to the byte."""
    block = {"type": "tool_use", "id": "t", "name": "Bash", "input": {"b": 1, "a": "ü\u2028"}}
    event = a_reply_event(message=encode_message("assistant", [a_text("x"), block]))
    reply = await ReplayClient([event]).reply(a_request())
    assert encode_message("assistant", reply.blocks) == event.message


def recorded(path: Path, *events: Event) -> Path:
    """Write a recording."""
    lines = [
        orjson.dumps({"kind": type(one).__name__, "data": orjson.loads(encode(one))})
        for one in events
    ]
    path.write_bytes(b"\n\n".join(lines) + b"\n")
    return path


def test_a_recording_is_read_from_a_file(tmp_path: Path) -> None:
    """Replies of the wanted session come back by turn; all else in the file is passed over."""
    second, first = a_reply_event("b", turn=2), a_reply_event("a", turn=1)
    review = a_reply_event("r", session="review/1")
    path = recorded(
        tmp_path / "r.jsonl", RunStarted(a_run(), a_definition()), second, review, first
    )
    assert load_replies(path) == [first, second]
    assert load_replies(path, "review/1") == [review]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no replies"),
        ('{"kind": "BranchSet", "data": {"branch": "b", "commit": "c"}}', "holds no replies"),
        ("\n{\n", r"r\.jsonl:2: not an event"),
        ('{"kind": "Novel", "data": {}}', r"r\.jsonl:1: not an event"),
        ('{"data": {}}', r"r\.jsonl:1: not an event"),
        ("[]", r"r\.jsonl:1: not an event"),
        ("7", r"r\.jsonl:1: not an event"),
        ('{"kind": [], "data": {}}', r"r\.jsonl:1: not an event"),
    ],
)
def test_a_broken_recording_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """A file that is no recording is refused with the line that is wrong."""
    path = tmp_path / "r.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_replies(path)


def test_a_missing_recording_is_refused(tmp_path: Path) -> None:
    """A recording that cannot be read is a wrong setting."""
    for path in (tmp_path / "absent.jsonl", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            load_replies(path)
