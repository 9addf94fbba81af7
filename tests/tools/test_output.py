"""Limits, truncation and line numbers."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_tools.output import (
    LINE_LIMIT,
    READ_LIMIT,
    cut_line,
    fit_lines,
    head_and_tail,
    number_lines,
)

LENGTHS = st.lists(st.integers(0, 5000), min_size=1, max_size=60)


@settings(deadline=None, max_examples=100)
@given(line=st.text(max_size=60), limit=st.integers(0, 40))
def test_a_cut_line_keeps_its_head(line: str, limit: int) -> None:
    """A cut line is its own head of at most the limit, and a true count of the rest."""
    shown = cut_line(line, limit)
    if len(line) <= limit:
        assert shown == line
    else:
        assert shown == line[:limit] + f" [... {len(line) - limit} more characters]"


@settings(deadline=None, max_examples=100)
@given(text=st.text(max_size=120), limit=st.integers(1, 60))
def test_head_and_tail_keep_the_limit(text: str, limit: int) -> None:
    """Head and tail are the text's own, make up the limit, and the gap is counted."""
    shown, cut = head_and_tail(text, limit)
    assert cut == (len(text) > limit)
    if not cut:
        assert shown == text
        return
    note = f"\n[... {len(text) - limit} characters left out ...]\n"
    head, tail = limit // 2, limit - limit // 2
    assert shown == text[:head] + note + text[-tail:]


def test_the_empty_text_is_not_cut() -> None:
    """Nothing stays nothing."""
    assert head_and_tail("") == ("", False)
    assert fit_lines([], READ_LIMIT) == ([], False)
    assert number_lines([], 1) == ""


@settings(deadline=None, max_examples=100)
@given(lengths=LENGTHS, limit=st.integers(1, 20_000))
def test_fitting_lines_are_a_prefix(lengths: list[int], limit: int) -> None:
    """As many whole lines are kept as fit, at least one, and no more."""
    lines = ["x" * length for length in lengths]
    kept, cut = fit_lines(lines, limit)
    sizes = [min(length, LINE_LIMIT) + 8 for length in lengths]
    assert kept == lines[: len(kept)]
    assert cut == (len(kept) < len(lines))
    assert len(kept) == 1 or sum(sizes[: len(kept)]) <= limit
    assert not cut or sum(sizes[: len(kept) + 1]) > limit


@settings(deadline=None, max_examples=100)
@given(lengths=LENGTHS, first=st.integers(1, 99_000))
def test_a_numbered_page_keeps_the_read_limit(lengths: list[int], first: int) -> None:
    """A page's numbers and text keep to the limit; only the notes on cut lines come on top."""
    kept, _ = fit_lines(["x" * length for length in lengths], READ_LIMIT)
    page = re.sub(r" \[\.\.\. \d+ more characters\]", "", number_lines(kept, first))
    assert len(page) <= READ_LIMIT


@settings(deadline=None, max_examples=100)
@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\n")), max_size=20),
    first=st.integers(1, 10**7),
)
def test_numbers_count_up_from_the_first(lines: list[str], first: int) -> None:
    """Each line is its number, a tab and its text, so that the text can be had back."""
    shown = number_lines(lines, first)
    pairs = [line.split("\t", 1) for line in shown.split("\n")] if lines else []
    assert [int(number) for number, _ in pairs] == list(range(first, first + len(lines)))
    assert [text for _, text in pairs] == lines
