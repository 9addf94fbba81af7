"""Durable events: what is encoded comes back, and what is broken is refused."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.events import EVENTS, Event, GateJudged, Prompted, ToolsReturned, decode, encode
from orchestrator.transcript import encode_message
from orchestrator_tools.contract import decode_line, result_from_wire
from tests.builders import a_reply_event, a_run, a_text, a_verdict

TEXT = st.text(max_size=20)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    bytes: TEXT.map(lambda text: encode_message("user", [a_text(text)])),
    bool: st.booleans(),
    int: st.integers(0, 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
}


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for all values of a field's type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in PLAIN:
        return PLAIN[kind]
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(typing.cast("type", kind))
        fields = {name: values_of(hint) for name, hint in hints.items()}
        return st.builds(typing.cast("type", kind), **fields)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in {types.UnionType, typing.Union}:
        return st.one_of(*(st.none() if one is type(None) else values_of(one) for one in arguments))
    if origin is dict:
        return st.dictionaries(values_of(arguments[0]), values_of(arguments[1]), max_size=3)
    assert origin is tuple, kind
    parts = [values_of(one) for one in arguments if one is not ...]
    return st.lists(parts[0], max_size=3).map(tuple) if ... in arguments else st.tuples(*parts)


ANY_EVENT = st.sampled_from(sorted(EVENTS)).flatmap(lambda name: values_of(EVENTS[name]))


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_every_kind_comes_back_as_it_was(name: str) -> None:
    """Whatever an event holds, decoding gives an equal event, which encodes to the same bytes."""

    @given(values_of(EVENTS[name]))
    def comes_back(event: Event) -> None:
        data = encode(event)
        again = decode(name, data)
        assert again == event
        assert encode(again) == data
        assert again.key == event.key

    comes_back()


@given(st.text(max_size=200))
def test_message_bytes_survive_exactly(text: str) -> None:
    """The bytes that were sent to a model come back byte for byte."""
    message = encode_message("user", [a_text(text)])
    event = Prompted(session="author", turn=1, message=message, cause="issue")
    again = decode("Prompted", encode(event))
    assert isinstance(again, Prompted)
    assert again.message == message


def test_keys_are_logical_names() -> None:
    """The same thing happening again has the same key; another turn or session has another."""
    one = a_reply_event("a")
    assert one.key == a_reply_event("b").key == "author/turn/1/reply"
    other = dataclasses.replace(one, session="review/1", turn=3)
    assert other.key == "review/1/turn/3/reply"


@given(ANY_EVENT)
def test_no_key_is_empty(event: Event) -> None:
    """Every event has a key to be recorded under."""
    assert event.key


@pytest.mark.parametrize("kind", ["", "Nothing", "Event", "runstarted", "Notice"])
def test_an_unknown_kind_is_refused(kind: str) -> None:
    """A kind of event that this version does not know is refused, and so are signals."""
    with pytest.raises(ValueError, match="unknown kind of event"):
        decode(kind, b"{}")


@pytest.mark.parametrize("name", sorted(EVENTS))
@pytest.mark.parametrize(
    "data", [b"", b"{", b"null", b"[]", b'"x"', b"7", b"{}", b"\xff", b'{"run":', b'{"unknown": 1}']
)
def test_broken_data_is_refused(name: str, data: bytes) -> None:
    """Data that is not the kind's own is a ValueError, whatever is wrong with it."""
    with pytest.raises(ValueError, match=r"."):
        decode(name, data)


@pytest.mark.parametrize(
    ("name", "field", "wrong"),
    [
        ("ModelReplied", "message", 7),
        ("ModelReplied", "message", None),
        ("ModelReplied", "usage", []),
        ("ModelReplied", "usage", None),
        ("ModelReplied", "cost_usd", "much"),
        ("ModelReplied", "cost_usd", None),
        ("ModelReplied", "broken_calls", 7),
        ("ModelReplied", "broken_calls", "toolu_1"),
        ("ModelReplied", "turn", "one"),
        ("ModelReplied", "turn", None),
        ("ModelReplied", "stop_reason", 5),
        ("ModelReplied", "session", {}),
    ],
)
def test_a_field_of_the_wrong_type_is_refused(name: str, field: str, wrong: object) -> None:
    """A field whose value is of another type does not fit the event."""
    data = orjson.loads(encode(a_reply_event()))
    assert decode(name, orjson.dumps(data)) == a_reply_event()
    with pytest.raises(ValueError, match=r"."):
        decode(name, orjson.dumps({**data, field: wrong}))


@pytest.mark.parametrize(
    "field", ["session", "turn", "message", "stop_reason", "usage", "cost_usd"]
)
def test_a_missing_field_is_refused(field: str) -> None:
    """A field without a default must be there."""
    data = orjson.loads(encode(a_reply_event()))
    del data[field]
    with pytest.raises(ValueError, match="broken data of a ModelReplied"):
        decode("ModelReplied", orjson.dumps(data))


def test_fields_of_a_later_version_are_passed_over() -> None:
    """What this version does not know of an event it knows is left out, and defaults fill gaps."""
    data = orjson.loads(encode(a_reply_event()))
    data |= {"novel": 1}
    del data["broken_calls"]
    assert decode("ModelReplied", orjson.dumps(data)) == a_reply_event()


def test_a_run_comes_back_whole() -> None:
    """A nested record keeps its types: tuples, numbers and absent limits."""
    run = a_run(issue=dataclasses.replace(a_run().issue, labels=("bug", "ui")))
    event = EVENTS["RunResumed"](epoch=2, run=run)  # type: ignore[call-arg]
    assert decode("RunResumed", encode(event)) == event


def test_what_a_hostile_server_reports_can_always_be_kept() -> None:
    """Paths that are not valid Unicode, as a hostile tool server may send them, do not stop a run."""
    line = rb'{"content":[{"type":"text","text":"x"}],"details":{},"cwd":"/\ud800","seen":{"\udcff":"1"}}'
    _, change = result_from_wire(decode_line(line))
    event = ToolsReturned(
        session="author", turn=1, message=b"{}", calls=(), cwd=change.cwd, seen=dict(change.seen)
    )
    again = decode("ToolsReturned", encode(event))
    assert isinstance(again, ToolsReturned)
    assert len(again.seen) == 1


def test_a_verdict_of_an_older_journal_is_read() -> None:
    """A verdict that was written before it said whose turn it is, is the agent's."""
    event = GateJudged(1, a_verdict(person=True))
    told = orjson.loads(encode(event))
    assert decode("GateJudged", orjson.dumps(told)) == event
    del told["verdict"]["person"]
    assert decode("GateJudged", orjson.dumps(told)) == GateJudged(1, a_verdict(person=False))
