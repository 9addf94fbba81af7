"""Files that an issue names, and rules for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.routing.paths import fits, named_files, path_hint
from tests.builders import an_issue


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("See `src/app/main.py:12` and ./web/index.html.", ["src/app/main.py", "web/index.html"]),
        ('File "/workspace/src/a.py", line 3', ["src/a.py"]),
        ("src/a.py#L10-L20 fails", ["src/a.py"]),
        ("https://github.com/o/r/blob/main/docs/a.md#L3", ["docs/a.md"]),
        ("https://gitlab.com/o/r/-/blob/main/docs/a.md", ["docs/a.md"]),
        ("https://example.org/docs/a.html", []),
        ("a\\b\\c.cs", ["a/b/c.cs"]),
        ("(setup.cfg), [x.toml]; 'y.yml'", ["setup.cfg", "x.toml", "y.yml"]),
        ("Dockerfile and build/Makefile", ["Dockerfile", "build/Makefile"]),
        ("../../etc/passwd.txt", []),
        ("version 1.2.3, e.g. this. and/or that", []),
        ("a.py a.py", ["a.py"]),
    ],
)
def test_paths_are_found_in_prose(text: str, files: list[str]) -> None:
    """Paths are told from words, versions and addresses, without the place that follows them."""
    assert named_files(text) == files


@pytest.mark.parametrize(
    ("file", "pattern", "expected"),
    [
        ("web/a/b.ts", "web/", True),
        ("web/a/b.ts", "web/**", True),
        ("web/a/b.ts", "web/*", False),
        ("web/b.ts", "web/*", True),
        ("web/a/b.ts", "web/**/*.ts", True),
        ("web/b.ts", "web/**/*.ts", True),
        ("a/web/b.ts", "web/**", False),
        ("a/web/b.ts", "**/web/**", True),
        ("a/b/c.sql", "*.sql", True),
        ("c.sql", "/c.sql", True),
        ("c.SQL", "*.sql", False),
        ("website/x", "web/**", False),
    ],
)
def test_patterns(file: str, pattern: str, expected: bool) -> None:
    """A star stays within a folder, two span folders, and a name alone fits in any folder."""
    assert fits(file, pattern) is expected


def test_most_files_decide_and_then_the_order_of_the_rules() -> None:
    """The agent whose rules fit most of the files wins; of equals the rule written first."""
    rules = {"db/": "database", "web/": "frontend"}
    most = path_hint(an_issue(title="", body="web/a.ts web/b.ts db/c.sql"), rules)
    assert most is not None and (most.agent, most.file, most.share) == (
        "frontend",
        "web/a.ts",
        2 / 3,
    )
    equal = path_hint(an_issue(title="", body="web/a.ts db/c.sql"), rules)
    assert equal is not None and equal.agent == "database"
    assert path_hint(an_issue(title="", body="lib/x.py"), rules) is None


@given(st.text(alphabet="a/*.?[]\\ :#", max_size=200), st.text(alphabet="a/*.?[]", max_size=60))
def test_any_text_and_any_pattern(text: str, pattern: str) -> None:
    """Whatever text and pattern are, files are found and compared without an error."""
    for file in named_files(text):
        assert not file.startswith("/")
        fits(file, pattern)


def test_many_stars_are_no_burden() -> None:
    """A pattern of many double stars is compared in time that grows with its length alone."""
    assert not fits("a/" * 500 + "b", "**/a/" * 200 + "c")
