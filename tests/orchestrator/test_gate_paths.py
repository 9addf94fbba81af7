"""Patterns of paths: what fits them, one by one and many together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gates.paths import matches

PARTS = st.sampled_from(["*", "**", "**/", "/", "a", "B.py", ".", "?", "[a]", "(", "|", "\\", "\n"])
PATTERNS = st.lists(PARTS, max_size=5).map("".join)
PATHS = st.lists(st.sampled_from(["a", "b.py", "A", "/", ".", "[a]", "(", "|", "\n"]), max_size=6)


@pytest.mark.parametrize(
    ("path", "pattern", "fits"),
    [
        ("a/b/c.py", "*.py", True),
        ("a/b/c.py", "/*.py", False),
        ("c.py", "/*.py", True),
        ("a/b/c.py", "a/*.py", False),
        ("a/b/c.py", "a/**", True),
        ("a/b/c.py", "a/", True),
        ("a/b/c.py", "**/c.py", True),
        ("c.py", "**/c.py", True),
        ("a/B/C.PY", "a/b/c.py", True),
        ("a/b", "a?b", False),
        ("axb", "a?b", True),
        ("a|b", "a|b", True),
        ("a", "a|b", False),
        ("a\nb.py", "*.py", True),
        ("b/a", "./a", True),
        ("a", "./a", True),
    ],
)
def test_what_fits_a_pattern(path: str, pattern: str, fits: bool) -> None:
    """``*`` stays in a folder, ``**`` does not, and no sign of regular expressions means anything."""
    assert matches(path, [pattern]) is fits


@given(PATHS.map("".join), st.lists(PATTERNS, max_size=4))
def test_many_patterns_fit_what_one_of_them_fits(path: str, patterns: list[str]) -> None:
    """They are looked for together, which changes nothing; no pattern fits nothing."""
    assert matches(path, patterns) is any(matches(path, [one]) for one in patterns)
