"""What of a change is code of the project, what is tests, and what is neither."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from orchestrator.gates import pysource
from orchestrator.gates.aside import aside
from orchestrator.ports import Change
from orchestrator.records import FileChange
from orchestrator.values import frozen

CODE = {
    ".py",
    ".js .jsx .mjs .cjs .ts .tsx .mts .cts .vue .svelte",
    ".go",
    ".rs",
    ".c .h .cc .cpp .cxx .hh .hpp .m .mm",
    ".java .kt .kts .scala .groovy",
    ".cs .fs .vb",
    ".rb .php .pl .lua .ex .exs .erl .clj .hs .ml .swift .dart .jl .r",
    ".sh .bash",
    ".sql",
}
SUFFIXES = {suffix for row in CODE for suffix in row.split()}
TEST_FOLDERS = {"test", "tests", "__tests__", "spec", "specs", "e2e", "testing", "testdata"}
OTHER_FOLDERS = {
    "doc",
    "docs",
    "example",
    "examples",
    "bench",
    "benches",
    "benchmarks",
    "vendor",
    "third_party",
    "node_modules",
}
"""Folders whose files are shown or taken over, and not what the project runs."""
TEST_FILE = re.compile(
    r"test_[^/]*\.py|[^/]*_test\.(?:py|go|rb|exs|c|cc|cpp|dart)|[^/]*_spec\.rb"
    r"|[^/]*\.(?:test|spec)\.\w+|[^/]*Tests?\.(?:java|kt|scala|cs|swift|php)"
)
SET_UP = re.compile(
    r"setup\.py|conftest\.py|noxfile\.py|[^/]*\.config\.\w+|[^/]*\.d\.ts|gulpfile\.js|Gruntfile\.js"
)
COMMENT = re.compile(r"\s*(?:#|//|/\*|\*|--|<!--|$)")
IMPORT = re.compile(
    r"\s*(?:import|from|use|using|require|#include|package|mod|export \* from)\b(?!.*;\s*\S)"
)
PARSED = 512 * 1024
"""Bytes of a source file above which it is not parsed."""


def is_test(path: str) -> bool:
    """Tell whether a file holds tests that a runner finds."""
    name = PurePosixPath(path)
    if TEST_FILE.fullmatch(name.name):
        return True
    of_tests = bool(TEST_FOLDERS & set(name.parts[:-1]))
    return of_tests and name.suffix in {".rs", ".js", ".ts", ".jsx", ".tsx", ".mjs", ".cjs"}


def is_of_tests(path: str) -> bool:
    """Tell whether a file is a test, or belongs to tests: data, doubles, a ``conftest.py``."""
    name = PurePosixPath(path)
    own = is_test(path) or name.name == "conftest.py"
    return own or bool(TEST_FOLDERS & set(name.parts[:-1]))


def is_code(path: str) -> bool:
    """Tell whether a file is code that the project runs."""
    name = PurePosixPath(path)
    return (
        name.suffix in SUFFIXES
        and not is_of_tests(path)
        and not OTHER_FOLDERS & set(name.parts[:-1])
        and not SET_UP.fullmatch(name.name)
    )


@frozen
class Parts:
    """A change, taken apart.

    Attributes:
        code: files of code that do something else than before.
        moved: whether everything that is new in them stood elsewhere before.
        tests: test files that were added, or gained lines.
        of_tests: everything that belongs to tests.
    """

    code: tuple[str, ...]
    moved: bool
    tests: tuple[str, ...]
    of_tests: tuple[str, ...]


async def parts_of(change: Change) -> Parts:
    """Take a change apart."""
    changes = await change.changes()
    code = [one for one in changes if is_code(one.path) and not _is_link(one)]
    python = [one.path for one in code if one.path.endswith(".py")]
    before, after = await change.read_base(*python), await change.read(*python)
    code = await aside(lambda: _that_do_something_else(code, before, after), code, before, after)
    tests = [one for one in changes if is_test(one.path) and one.state != "removed"]
    return Parts(
        code=tuple(one.path for one in code),
        moved=_only_moved(code),
        tests=tuple(one.path for one in tests if one.added or one.cut),
        of_tests=tuple(one.path for one in changes if is_of_tests(one.path)),
    )


def _is_link(one: FileChange) -> bool:
    return "160000" in (one.mode, one.old_mode)


def _that_do_something_else(
    code: Sequence[FileChange], before: Mapping[str, bytes], after: Mapping[str, bytes]
) -> list[FileChange]:
    return [one for one in code if _does_something_else(one, before, after)]


def _does_something_else(
    one: FileChange, before: Mapping[str, bytes], after: Mapping[str, bytes]
) -> bool:
    if one.cut or one.binary:
        return True
    if one.path in before and one.path in after:
        old, new = meaning(before[one.path]), meaning(after[one.path])
        if old is not None and old == new:
            return False
    if one.path.endswith(".py") and one.path in after and meaning(after[one.path]) == "[]":
        # Only words: an empty module, or one that holds its docstring.
        return one.path in before and meaning(before[one.path]) != "[]"
    lines = [text for _, text in (*one.added, *one.removed)]
    return not all(COMMENT.match(text) for text in lines) or not lines


def meaning(source: bytes) -> str | None:
    """Return what Python reads in a source file, without comments and docstrings.

    Args:
        source: the file; it may be anything.

    Returns:
        The same text for the same code; None where it cannot be read.
    """
    tree = parsed(source)
    if tree is None:
        return None
    try:
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0] if node.body else None
                if first is not None and is_text(first):
                    del node.body[0]
        return str([ast.dump(one) for one in tree.body])
    except (RecursionError, MemoryError):
        return None


def parsed(source: bytes) -> ast.Module | None:
    """Parse a source file that may be hostile; None where that cannot be done."""
    return None if len(source) > PARSED else pysource.parsed(source)


def is_text(node: ast.stmt) -> bool:
    """Tell whether a statement is nothing but a text."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _only_moved(changes: Sequence[FileChange]) -> bool:
    """Tell whether every new line was taken away elsewhere, in the same depth; imports are free."""
    if any(one.cut or one.binary for one in changes):
        return False
    added, removed = Counter[str](), Counter[str]()
    for one in changes:
        added.update(text.rstrip() for _, text in one.added if not COMMENT.match(text))
        removed.update(text.rstrip() for _, text in one.removed)
    return all(IMPORT.match(text) for text in added - removed)
