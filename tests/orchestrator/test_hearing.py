"""A reviewer's verdict: only a whole and valid one counts, whatever a model sends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.events import ModelReplied
from orchestrator.hearing import NAME, SPEC, Hearing, Judgement, broken_in, judgement_in, parse
from orchestrator.records import SEVERITIES
from orchestrator.transcript import encode_message
from tests.builders import a_reply_event, a_text

FINDING_KEYS = ("severity", "file", "line", "problem", "advice")
FINDING = st.fixed_dictionaries(
    {
        "severity": st.sampled_from(SEVERITIES),
        "file": st.text(st.characters(exclude_characters="\n", codec="utf-8"), max_size=20),
        "line": st.integers(0, 9_999_999),
        "problem": st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(str.strip),
        "advice": st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(str.strip),
    }
)
VALID = st.fixed_dictionaries(
    {
        "summary": st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(str.strip),
        "findings": st.lists(FINDING, max_size=4),
    }
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*FINDING_KEYS, "summary", "findings", "x"]), inner, max_size=6
        )
    ),
    max_leaves=12,
)


def called(*arguments: Any, broken: bool = False, text: str = "") -> ModelReplied:
    """Build a reply that calls the tool with some arguments."""
    blocks: list[dict[str, Any]] = [a_text(text)] if text else []
    ids = [f"toolu_{number}" for number in range(len(arguments))]
    for call_id, given_ in zip(ids, arguments, strict=True):
        blocks.append({"type": "tool_use", "id": call_id, "name": NAME, "input": given_})
    return a_reply_event(
        session="review/1",
        message=encode_message("assistant", blocks),
        stop_reason="tool_use",
        broken_calls=tuple(ids) if broken else (),
    )


@given(VALID)
def test_a_valid_verdict_is_taken_as_it_is(arguments: dict[str, Any]) -> None:
    """Summary and findings come through unchanged, in order."""
    found = judgement_in(called(arguments))
    assert found is not None
    assert found.summary == arguments["summary"]
    told = [(one.severity, one.path, one.line, one.problem, one.advice) for one in found.findings]
    assert told == [tuple(one[key] for key in FINDING_KEYS) for one in arguments["findings"]]
    assert broken_in(called(arguments)) == ""


@given(JSON)
def test_anything_else_is_told_what_is_wrong(arguments: Any) -> None:
    """Whatever a model sends is either a verdict or a reason; it never raises."""
    parsed = parse(arguments)
    if isinstance(parsed, str):
        assert parsed
        return
    assert isinstance(parsed, Judgement)
    assert set(arguments) == {"summary", "findings"}
    assert all(set(one) == set(FINDING_KEYS) for one in arguments["findings"])
    assert {one.severity for one in parsed.findings} <= set(SEVERITIES)


@given(VALID, st.sampled_from(["summary", "findings"]))
def test_nothing_may_be_left_out(arguments: dict[str, Any], name: str) -> None:
    """A verdict without one of its parts is none."""
    del arguments[name]
    assert judgement_in(called(arguments)) is None
    assert name in broken_in(called(arguments))


@given(VALID)
def test_a_cut_or_doubled_verdict_is_none(arguments: dict[str, Any]) -> None:
    """A call that was cut, or stands beside another, does not count, though it is valid."""
    assert judgement_in(called(arguments, broken=True)) is None
    assert broken_in(called(arguments, broken=True)) == "it was cut off"
    assert judgement_in(called(arguments, arguments)) is None
    assert broken_in(called(arguments, arguments)) == "there is more than one"


def test_words_are_no_verdict() -> None:
    """Text that looks like a verdict is text."""
    reply = a_reply_event('{"summary": "Fine.", "findings": []}', session="review/1")
    assert judgement_in(reply) is None and broken_in(reply) == ""


def test_only_its_own_session_is_heard() -> None:
    """What the author, or another reviewer, sends is not this reviewer's verdict."""
    right = called({"summary": "Fine.", "findings": []})
    others = [replace(right, session="author"), replace(right, session="review/10")]
    assert Hearing("review/1", lambda: others, most=3).judgement() is None
    assert Hearing("review/1", lambda: [*others, right], most=3).judgement() is not None


def test_when_a_hearing_is_over() -> None:
    """It is over with a verdict, or with one broken one too many; nothing else ends it."""
    broken, right = called({"summary": ""}), called({"summary": "Fine.", "findings": []})
    heard = [broken, broken]
    hearing = Hearing("review/1", lambda: heard, most=3)
    assert not hearing.is_over(broken)
    assert hearing.is_over(right)
    heard.append(broken)
    assert hearing.is_over(broken)
    assert not hearing.is_over(a_reply_event("Hm.", session="review/1"))
    assert len(hearing.broken()) == 3


def test_the_schema_asks_for_what_is_checked() -> None:
    """What the model is told and what is accepted are the same parts and severities."""
    item = SPEC.input_schema["properties"]["findings"]["items"]
    assert tuple(item["properties"]) == FINDING_KEYS == tuple(item["required"])
    assert tuple(item["properties"]["severity"]["enum"]) == SEVERITIES
    assert SPEC.input_schema["required"] == ["summary", "findings"]
