"""The header of a markdown file: read strictly, and every refusal says where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import DefinitionError
from orchestrator.header import DEPTH_LIMIT, SIZE_LIMIT, Header, parse


def read(text: str | bytes) -> Header:
    """Read a file that has a header."""
    header = parse(text.encode() if isinstance(text, str) else text, "a.md")
    assert header is not None
    return header


def refusal(text: str | bytes) -> tuple[int, int, str]:
    """Read a broken file and return line, column and text of the refusal."""
    with pytest.raises(DefinitionError) as caught:
        parse(text.encode() if isinstance(text, str) else text, "a.md")
    at = caught.value.at
    assert at is not None
    assert at.file == "a.md"
    assert str(caught.value).startswith("a.md")
    return at.line, at.column, str(caught.value)


def test_header_and_body_are_told_apart() -> None:
    """The values stand between two fences and the body, stripped, after them."""
    header = read("---\nname: a\n---\n\n# Body\n\n---\nmore\n\n")
    assert header.values["name"].text == "a"
    assert header.body == "# Body\n\n---\nmore"


@pytest.mark.parametrize(
    "text", ["", "# Title\n", "----\nname: a\n----\n", " ---\nname: a\n", "--- a"]
)
def test_a_file_without_a_fence_has_no_header(text: str) -> None:
    """Where the first line is not a fence there is no header."""
    assert parse(text.encode(), "a.md") is None


@pytest.mark.parametrize("front", ["\ufeff", "\n\n", "\r\n", "\ufeff\n"])
def test_mark_and_blank_lines_may_come_first(front: str) -> None:
    """A byte order mark and empty lines before the fence do no harm."""
    assert read(f"{front}---\nname: a\n---\nbody").values["name"].text == "a"


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_of_other_systems_become_newlines(end: str) -> None:
    """Files with CRLF or CR read as if they had newlines."""
    header = read(end.join(["---", "name: a", "---", "one", "two"]))
    assert header.values["name"].text == "a"
    assert header.body == "one\ntwo"


@pytest.mark.parametrize(
    "scalar", ["on", "no", "yes", "true", "2026-01-01", "1.10", "0x10", "1_000", "12:30", "=", "<<"]
)
def test_plain_scalars_stay_text(scalar: str) -> None:
    """Nothing is resolved behind the author's back: a scalar is the text that stands there."""
    assert read(f"---\nname: {scalar}\n{scalar}: 1\n---\n").values["name"].text == scalar


@pytest.mark.parametrize("scalar", ["", "~", "null", "Null", "NULL"])
def test_null_is_nothing_unless_quoted(scalar: str) -> None:
    """A plain null is no value; a quoted one is text."""
    header = read(f'---\nplain: {scalar}\nquoted: "{scalar}"\n---\n')
    assert header.values["plain"].content is None
    assert header.values["quoted"].text == scalar


def test_every_value_knows_its_place() -> None:
    """Lines count from the top of the file and columns from one."""
    header = read("\n---\nname: a\ntools:\n  - Read\n---\n")
    assert str(header.at("name")) == "a.md:3:7"
    assert header.keys == {"name": (3, 1), "tools": (4, 1)}
    assert [(one.text, one.line, one.column) for one in header.values["tools"].content] == [
        ("Read", 5, 5)
    ]


def test_mappings_nest() -> None:
    """A mapping inside the header keeps keys and values."""
    inner = read("---\na: {b: [c, {d: e}]}\n---\n").values["a"].content["b"].content
    assert inner[0].text == "c"
    assert inner[1].content["d"].text == "e"


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("---\nname: a\n", 1, 1, "never closed"),
        ("\n\n---\nname: a\n...\n", 3, 1, "never closed"),
        ("---\na: 1\nb: 2\na: 3\n---\n", 4, 1, "given twice"),
        ("---\na: {b: 1, b: 2}\n---\n", 2, 11, "given twice"),
        ("---\na: &x 1\n---\n", 2, 4, "anchors"),
        ("---\na: 1\nb: *a\n---\n", 3, 4, "anchors"),
        ("---\n&x a: 1\n---\n", 2, 1, "anchors"),
        ("---\na: !!python/name:os.system 1\n---\n", 2, 4, "tags"),
        ("---\na: !t [1]\n---\n", 2, 4, "tags"),
        ("---\n- a\n---\n", 2, 1, "not a mapping"),
        ("---\njust text\n---\n", 2, 1, "not a mapping"),
        ("---\n? [a]\n: 1\n---\n", 2, 3, "a key must be text"),
        ("---\na: b: c\n---\n", 2, 5, "not valid YAML"),
        ("---\na: 1\n\tb: 2\n---\n", 3, 1, "not valid YAML"),
        ("---\na: [\n---\n", 3, 1, "not valid YAML"),
        ("---\na: 1\nb: x\0y\n---\n", 3, 5, "NUL"),
        ("text\n\0", 2, 1, "NUL"),
        (b"---\nname: \xff\n---\n", 2, 7, "not UTF-8"),
        (b"\xc3", 1, 1, "not UTF-8"),
    ],
)
def test_what_is_broken_is_refused_at_its_place(
    text: str | bytes, line: int, column: int, said: str
) -> None:
    """A refusal names file, line and column of what is wrong."""
    assert refusal(text)[:2] == (line, column)
    assert said in refusal(text)[2]


def test_a_bad_byte_after_a_mark_is_named_where_it_is() -> None:
    """A byte order mark does not shift the place of a byte that is not UTF-8."""
    assert refusal(b"\xef\xbb\xbfab\n\n\xff")[:2] == (3, 1)


def test_a_second_document_in_the_header_is_refused() -> None:
    """Keys after a YAML document marker are not lost unseen: that could widen an agent's tools."""
    line, _, _ = refusal("---\nname: a\ndescription: b\n--- # more\ntools: Read\n---\n")
    assert line in {4, 5}


def test_deep_nesting_is_refused() -> None:
    """A header nested beyond the limit is refused however deep it is; at the limit it is read."""
    deepest = DEPTH_LIMIT - 2
    read(f"---\na: {'[' * deepest}x{']' * deepest}\n---\n")
    for depth in (DEPTH_LIMIT, 1000):
        assert "nested deeper" in refusal(f"---\na: {'[' * depth}{']' * depth}\n---\n")[2]


def test_deep_nesting_is_refused_before_all_of_it_is_parsed() -> None:
    """Reading stops where the limit is passed: the parser's time grows as the square of the depth.

    A header of 200 000 brackets takes minutes to parse; what comes after the limit must not count.
    """
    line, column, said = refusal(f"---\na: {'[' * (DEPTH_LIMIT + 8)}\n---\n")
    assert "nested deeper" in said
    assert (line, column) == (2, 3 + DEPTH_LIMIT)


def test_a_file_that_is_too_large_is_refused() -> None:
    """More than a mebibyte is no agent file and no issue."""
    assert read(b"---\na: 1\n---\n".ljust(SIZE_LIMIT, b"x")).values["a"].text == "1"
    assert refusal(b"x" * (SIZE_LIMIT + 1))[:2] == (0, 0)


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)


def yaml_quoted(text: str) -> str:
    """Write text as a double quoted scalar, with an escape for all that is not plain ASCII."""
    escape = "\\U{:08x}"
    return (
        '"'
        + "".join(c if c.isascii() and c.isalnum() else escape.format(ord(c)) for c in text)
        + '"'
    )


@given(st.dictionaries(TEXTS, TEXTS, min_size=1, max_size=5))
def test_quoted_text_comes_back_as_it_was(values: dict[str, str]) -> None:
    """Every key and value that is written as a quoted scalar is read back unchanged."""
    lines = [f"{yaml_quoted(key)}: {yaml_quoted(value)}" for key, value in values.items()]
    header = read("\n".join(["---", *lines, "---", ""]))
    assert {key: one.text for key, one in header.values.items()} == values


def parsed_or_refused(data: bytes) -> Header | DefinitionError:
    """Read a file that begins with a fence, or return why it is refused."""
    try:
        return read(data)
    except DefinitionError as error:
        return error


@given(st.one_of(st.binary(), st.text().map(str.encode)), st.booleans())
def test_bytes_from_anywhere_are_read_or_refused(data: bytes, closed: bool) -> None:
    """Whatever the bytes are, they give a header, nothing, or a refusal with a place."""
    whole = b"---\n" + data + (b"\n---\n" if closed else b"")
    found = parsed_or_refused(whole)
    if isinstance(found, Header):
        assert set(found.keys) == set(found.values)
    else:
        assert found.at is not None
        assert found.at.line >= 1
