"""What host and server say to each other, and how little of it is taken for granted."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_tools.contract import (
    IMAGE_LIMIT,
    IMAGES_LIMIT,
    LINE_LIMIT,
    RESULT_LIMIT,
    SEEN_LIMIT,
    StateChange,
    ToolResult,
    ToolState,
    decode_line,
    encode_line,
    result_from_wire,
    result_to_wire,
    text_result,
)

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=10,
)


def without_surrogates(value: Any) -> Any:
    """Put a question mark for every lone surrogate in a value."""
    if isinstance(value, str):
        return re.sub("[\ud800-\udfff]", "?", value)
    if isinstance(value, list):
        return [without_surrogates(one) for one in value]
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(one) for key, one in value.items()}
    return value


@settings(deadline=None, max_examples=100)
@given(message=st.dictionaries(ANY_TEXT, VALUES, max_size=5))
def test_a_message_survives_the_wire(message: dict[str, Any]) -> None:
    """A message is one line of UTF-8 and comes back the same, lone surrogates aside."""
    line = encode_line(message)
    assert line.index(b"\n") == len(line) - 1
    line.decode("utf-8")
    assert decode_line(line) == without_surrogates(message)


@settings(deadline=None, max_examples=100)
@given(line=st.binary(max_size=40))
def test_any_line_is_an_object_or_refused(line: bytes) -> None:
    """Bytes from nowhere give an object or a ValueError, nothing else."""
    try:
        assert isinstance(decode_line(line), dict)
    except ValueError:
        assert line != b"{}"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"null\n",
        b"[1]\n",
        b'"text"\n',
        b"12\n",
        b"{'a': 1}\n",
        b'{"a": 1} {"b": 2}\n',
        b'{"a": "\xff"}\n',
        b'{"a": ' + b"9" * 5000 + b"}\n",
        b'{"a": "' + b"x" * LINE_LIMIT + b'"}\n',
        b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}\n",
    ],
    ids=lambda line: ascii(line[:12]),
)
def test_refuses_a_bad_line(line: bytes) -> None:
    """A line that is too long, no JSON, too deep or no object is a ValueError."""
    with pytest.raises(ValueError):  # noqa: PT011 - json's own words differ by version
        decode_line(line)


def test_takes_the_longest_line() -> None:
    """A line of exactly the limit is still read."""
    line = b'{"a":"' + b"x" * (LINE_LIMIT - 9) + b'"}\n'
    assert len(line) == LINE_LIMIT
    assert len(decode_line(line)["a"]) == LINE_LIMIT - 9


IMAGE: dict[str, Any] = {
    "type": "image",
    "source": {
        "type": "base64",
        "media_type": "image/png",
        "data": (
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/q842iQAAAABJRU5E"
            "rkJggg=="
        ),
    },
}


def with_source(**change: Any) -> dict[str, Any]:
    """Return a result with an image that has something wrong about it."""
    source = {**IMAGE["source"], **change}
    return {**GOOD, "content": [{"type": "image", "source": source}]}


def claiming(width: int) -> str:
    """Return an image that says it is so many pixels wide."""
    data = bytearray(base64.b64decode(IMAGE["source"]["data"]))
    data[16:20] = width.to_bytes(4, "big")
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "change",
    [
        {"media_type": None},
        {"media_type": "image/svg+xml"},
        {"media_type": "text/html"},
        {"media_type": "image/jpeg"},
        {"media_type": ["image/png"]},
        {"data": None},
        {"data": ""},
        {"data": "AA=="},
        {"data": "not base64"},
        {"data": IMAGE["source"]["data"] + "\n"},
        {"data": IMAGE["source"]["data"][:-1]},
        {"data": " " + IMAGE["source"]["data"]},
        {"data": "\N{LATIN SMALL LETTER E WITH ACUTE}" * 4},
        {"data": claiming(8001)},
        {"data": claiming(0)},
        {"data": IMAGE["source"]["data"] + "A" * IMAGE_LIMIT},
        {"data": base64.b64encode(b"<html>" * 20).decode()},
    ],
    ids=lambda change: str(change)[:60],
)
def test_refuses_an_image_that_the_service_would_refuse(change: dict[str, Any]) -> None:
    """An image of another kind, size or coding than it says would end every later request."""
    assert result_from_wire(with_source())[0].content == (IMAGE,)
    with pytest.raises(ValueError, match="a block"):
        result_from_wire(with_source(**change))


def test_takes_nothing_of_an_image_but_itself() -> None:
    """What else stands in an image's block is dropped: an address is never followed."""
    wire = with_source(type="url", url="http://127.0.0.1/", cache_control={})
    assert result_from_wire(wire)[0].content == (IMAGE,)


def test_refuses_too_many_images() -> None:
    """A result has a bounded number of images, and an error none: the service takes no such."""
    assert len(result_from_wire({**GOOD, "content": [IMAGE] * IMAGES_LIMIT})[0].content) == 20
    for change in ({"content": [IMAGE] * 21}, {"content": [IMAGE], "is_error": True}):
        with pytest.raises(ValueError, match="too many images"):
            result_from_wire({**GOOD, **change})


def test_a_result_survives_the_wire() -> None:
    """A result and its state change come back as they were sent."""
    result = ToolResult(({"type": "text", "text": "a"}, IMAGE), {"n": 1}, False, True)
    change = StateChange(cwd="/work", seen={"/work/f": "ff"})
    assert result_from_wire(result_to_wire(result, change)) == (result, change)


GOOD: dict[str, Any] = result_to_wire(text_result("a"), StateChange())


@pytest.mark.parametrize(
    "change",
    [
        {"content": None},
        {"content": []},
        {"content": "text"},
        {"content": ["text"]},
        {"content": [{}]},
        {"content": [{"type": "text"}]},
        {"content": [{"type": "text", "text": 1}]},
        {"content": [{"type": ["text"], "text": "a"}]},
        {"content": [{"type": "image", "source": "a"}]},
        {"content": [{"type": "tool_use", "source": {}}]},
        {"content": [{"type": "text", "text": "a"}, None]},
        {"content": [{"type": "image", "source": {"data": [[]]}}]},
        {"content": [{"type": "image", "source": {"data": "\ud800"}}]},
        {"content": [{"type": "image", "source": dict.fromkeys("abcde", "a")}]},
        {"seen": {"/f": 5}},
        {"details": None},
        {"details": [1]},
        {"cwd": 1},
        {"cwd": ["/"]},
        {"seen": None},
        {"seen": [["f", "ff"]]},
    ],
    ids=str,
)
def test_refuses_a_broken_result(change: dict[str, Any]) -> None:
    """A result with a part missing or of the wrong type is a ValueError."""
    assert result_from_wire(GOOD)[0].text == "a"
    with pytest.raises(ValueError, match=r"a result with|a block that"):
        result_from_wire({**GOOD, **change})


def test_refuses_more_text_than_a_result_can_hold() -> None:
    """A result's text is bounded as a whole: a model would have to pay for it."""
    half = {"type": "text", "text": "a" * (RESULT_LIMIT // 2)}
    assert len(result_from_wire({**GOOD, "content": [half, half]})[0].text) == RESULT_LIMIT + 1
    with pytest.raises(ValueError, match="a result of more than"):
        result_from_wire({**GOOD, "content": [half, half, {"type": "text", "text": "a"}]})


def test_takes_only_what_it_knows() -> None:
    """Unknown keys of a block are dropped, flags must be true, and names are bounded."""
    block = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
    wire = {
        **GOOD,
        "content": [block],
        "is_error": "yes",
        "truncated": 1,
        "cwd": "/" + "d" * 9000,
        "seen": {"f" * 9000: "e" * 900},
    }
    result, change = result_from_wire(wire)
    assert result == ToolResult(({"type": "text", "text": "a"},))
    assert len(change.cwd or "") == 4096
    assert change.seen == {"f" * 4096: "e" * 80}


def test_text_is_the_text_blocks() -> None:
    """The text of a result leaves images out."""
    blocks = ({"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"})
    assert ToolResult(blocks).text == "a\nb"


def test_a_text_result_takes_its_details() -> None:
    """Named values become details; the flags have places of their own."""
    result = text_result("a", is_error=True, truncated=True, lines=3)
    assert result == ToolResult(({"type": "text", "text": "a"},), {"lines": 3}, True, True)


def test_state_follows_the_changes() -> None:
    """A change moves the cwd where it names one and adds what was seen; the old state stays."""
    before = ToolState(cwd="/a", seen={"f": "1", "g": "2"})
    after = before.after(StateChange(seen={"f": "3"}))
    assert after == ToolState(cwd="/a", seen={"f": "3", "g": "2"})
    assert list(after.seen) == ["g", "f"]
    assert after.after(StateChange(cwd="/b")) == ToolState(cwd="/b", seen=after.seen)
    assert before == ToolState(cwd="/a", seen={"f": "1", "g": "2"})


def test_state_forgets_the_oldest() -> None:
    """At most so many files are remembered; those seen longest ago are forgotten."""
    state = ToolState("/", {str(number): "1" for number in range(SEEN_LIMIT)})
    state = state.after(StateChange(seen={"0": "2", "new": "1"}))
    assert len(state.seen) == SEEN_LIMIT
    assert "1" not in state.seen
    assert (state.seen["0"], state.seen["new"]) == ("2", "1")
