"""Text from anywhere, made safe for a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sinks.plain import line, safe

ANY_TEXT = st.text(st.characters())
ACTING = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}


def acting(text: str, keep: str = "") -> list[str]:
    """Return the characters that a terminal would act on."""
    return [c for c in text if c not in keep and unicodedata.category(c) in ACTING]


@given(ANY_TEXT)
def test_no_control_sequence_survives(text: str) -> None:
    """Whatever the text, nothing is left in it that a terminal acts on but newline and tab."""
    assert acting(safe(text), keep="\n\t") == []
    assert acting(safe(text, keep="")) == []


@given(ANY_TEXT)
def test_nothing_else_is_touched(text: str) -> None:
    """Every other character stays where it was."""
    shown = safe(text)
    assert len(shown) == len(text)
    assert all(one in {other, "\ufffd"} for one, other in zip(shown, text, strict=True))
    assert safe(shown) == shown


@pytest.mark.parametrize(
    "text",
    ["\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\rover", "a\x08b", "\u202eabc", "\u2028", "\x00"],
)
def test_known_tricks_are_replaced(text: str) -> None:
    """Escapes, carriage returns, backspaces and directions are replaced, not only dropped."""
    assert "\ufffd" in safe(text)


@given(ANY_TEXT, st.integers(1, 200))
def test_a_line_is_one_safe_line_of_its_width(text: str, width: int) -> None:
    """A line holds no line end and nothing to act on, and is never wider than asked."""
    shown = line(text, width)
    assert len(shown) <= width
    assert len(shown.splitlines()) <= 1
    assert acting(shown) == []


def test_a_line_that_is_cut_says_so() -> None:
    """Blanks are joined, and what does not fit is cut with an ellipsis."""
    assert line("  a\n\tb\x1b[0m  c ", 20) == "a b [0m c"
    assert line("abcdef", 6) == "abcdef"
    assert line("abcdefg", 6) == "abcde\N{HORIZONTAL ELLIPSIS}"
