"""What kind of file a path names, told from the path alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

PROSE = frozenset({"md", "markdown", "rst", "txt", "adoc", "asciidoc", "org", "tex", "html", "htm"})
DOC_FOLDERS = ("docs/", "doc/", "documentation/")
DOC_FILES = ("readme", "changelog", "changes", "history", "news", "upgrading", "migrating")
TEST_FOLDERS = frozenset({"test", "tests", "testing", "__tests__", "spec", "specs", "testdata"})
TEST_NAME = re.compile(
    r"test_[^/]*\.py|[^/]*_tests?\.(?:py|go|rb|exs)|tests?\.(?:py|rs)|conftest\.py"
    r"|[^/]*\.(?:test|spec|cy)\.[cm]?[jt]sx?|[^/]*(?:Test|Tests|IT|Spec)\.(?:java|kt|scala|cs)"
    r"|[^/]*_spec\.rb"
)
VENDORED = ("vendor/", "node_modules/", "third_party/", "third-party/")
UNCOUNTED = (
    "*.lock",
    "*.lockb",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "go.sum",
    "*_pb2.py",
    "*_pb2.pyi",
    "*_pb2_grpc.py",
    "*.pb.go",
    "*.min.js",
    "*.min.css",
    "*.map",
    "*.snap",
    "vendor/**",
    "node_modules/**",
)
"""Lock files and generated ones."""
NOTHING = re.compile(r"(?!)")


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Tell whether a path fits one of some patterns, in upper or lower case.

    ``*`` stays within a folder, ``**`` does not; a pattern without a slash names a file in any
    folder, and one that begins with a slash names it from the top.
    """
    return _compiled(tuple(patterns)).fullmatch(path) is not None


@lru_cache(maxsize=256)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Return one expression for all patterns: gates ask for each of a change's files."""
    if not patterns:
        return NOTHING
    told = "|".join(f"(?:{_expression(pattern)})" for pattern in patterns)
    return re.compile(told, re.IGNORECASE | re.DOTALL)


def _expression(pattern: str) -> str:
    rest = pattern.removeprefix("./")
    anywhere = "/" not in rest
    rest = rest.removeprefix("/")
    if rest.endswith("/"):
        rest += "**"
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = [words.get(part) or re.escape(part) for part in re.split(r"(\*\*/|\*\*|\*|\?)", rest)]
    return ("(?:.*/)?" if anywhere else "") + "".join(parts)


def name_of(path: str) -> str:
    """Return a path's last part."""
    return path.rpartition("/")[2]


def ending(path: str) -> str:
    """Return what follows the last dot of a file's name, in lower case."""
    stem, dot, end = name_of(path).rpartition(".")
    return end.lower() if dot and stem else ""


def is_test(path: str) -> bool:
    """Tell whether a file belongs to the tests, as a test or beside them."""
    folders = path.split("/")[:-1]
    return any(one.lower() in TEST_FOLDERS for one in folders) or runs_as_test(path)


def runs_as_test(path: str) -> bool:
    """Tell whether a runner of tests looks for tests in a file of this name."""
    return TEST_NAME.fullmatch(name_of(path)) is not None


def is_doc(path: str) -> bool:
    """Tell whether a file is documentation."""
    low = path.lower()
    return low.startswith(DOC_FOLDERS) or name_of(low).startswith(DOC_FILES)


def is_prose(path: str) -> bool:
    """Tell whether a file is text for people."""
    return ending(path) in PROSE


def is_vendored(path: str) -> bool:
    """Tell whether a file is a copy of somebody else's code."""
    return any(f"/{folder}" in f"/{path}" for folder in VENDORED)
