"""How much tests assert: counted in Python's syntax, and by plain reading elsewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping

from orchestrator.gates.comments import syntax_of, without_comments
from orchestrator.gates.paths import ending, runs_as_test
from orchestrator.gates.pysource import Defined, Function, definitions, last_word, written
from orchestrator.values import frozen

ASSERTING = re.compile(
    r"(?:_*assert|fail$|raises$|warns$|expect|verify|should|check)", re.IGNORECASE
)
ENDS = (ast.Return, ast.Raise, ast.Continue, ast.Break)
SKIPPING = {"skip", "skipTest", "xfail", "exit", "_exit"}


@frozen
class Tested:
    """A test function.

    Attributes:
        name: with its classes.
        asserts: how many its run can come to; one that is always true does not count.
        words: every name in it.
        lines: where it stands.
    """

    name: str
    asserts: int
    words: frozenset[str]
    lines: range


def python_tests(tree: ast.Module) -> dict[str, Tested]:
    """Return the test functions of a file that a runner would collect; the last of a name wins."""
    found = list(definitions(tree))
    helping = {
        one.node.name: max(_count(one.node.body, {}), 1)
        for one in found
        if isinstance(one.node, Function)
        and not one.node.name.startswith("test")
        and _count(one.node.body, {})
    }
    tests = [one for one in found if _is_collected(one)]
    tests.sort(key=lambda one: one.node.lineno)
    return {one.name: _tested(one, helping) for one in tests}


def _is_collected(one: Defined) -> bool:
    return (
        isinstance(one.node, Function)
        and one.node.name.startswith("test")
        and all(
            isinstance(above, ast.ClassDef) and (above.name.startswith("Test") or above.bases)
            for above in one.around
        )
    )


def _tested(one: Defined, helping: Mapping[str, int]) -> Tested:
    names = {node.id for node in ast.walk(one.node) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(one.node) if isinstance(node, ast.Attribute)}
    first = min([one.node.lineno, *(each.lineno for each in one.node.decorator_list)])
    lines = range(first, (one.node.end_lineno or first) + 1)
    return Tested(one.name, _count(one.node.body, helping), frozenset(names), lines)


def _count(body: Iterable[ast.stmt], helping: Mapping[str, int]) -> int:
    """Count the asserts that a body can come to."""
    total = 0
    for node in _reached(list(body)):
        if isinstance(node, ast.Assert):
            total += not is_trivial(node)
        elif isinstance(node, ast.Call) and not is_trivial(node):
            word = last_word(node.func)
            total += helping.get(word, 1 if ASSERTING.match(word) else 0)
    return total


def _reached(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Yield what of a body can be come to: nothing after a return, nothing under ``if False``."""
    waiting: list[list[ast.stmt]] = [body]
    while waiting:
        for statement in waiting.pop():
            if isinstance(statement, ast.If | ast.While) and isinstance(
                statement.test, ast.Constant
            ):
                waiting.append(statement.body if statement.test.value else statement.orelse)
                continue
            yield statement
            inner: list[ast.AST] = list(ast.iter_child_nodes(statement))
            while inner:
                node = inner.pop()
                if isinstance(node, ast.stmt):
                    continue
                yield node
                waiting += _bodies(node)
                inner.extend(ast.iter_child_nodes(node))
            waiting += _bodies(statement)
            if isinstance(statement, ENDS) or _skips(statement):
                break


def _bodies(node: ast.AST) -> list[list[ast.stmt]]:
    fields = (getattr(node, name, None) for name in ("body", "orelse", "finalbody"))
    return [one for one in fields if isinstance(one, list) and one and isinstance(one[0], ast.stmt)]


def _skips(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
        return False
    return last_word(statement.value.func) in SKIPPING


def is_trivial(node: ast.AST) -> bool:
    """Tell whether an assert, or a call of an asserting method, holds whatever is tested."""
    if isinstance(node, ast.Assert):
        return _is_true(node.test)
    if not isinstance(node, ast.Call) or not node.args:
        return False
    word, first = last_word(node.func), node.args[0]
    if word in {"assertTrue", "assertIsNotNone"}:
        return _is_true(first)
    if word in {"assertFalse", "assertIsNone"}:
        return isinstance(first, ast.Constant) and not first.value
    if word in {"assertEqual", "assertEquals", "assertIs"} and len(node.args) > 1:
        return _are_one(first, node.args[1])
    return False


def _is_true(test: ast.expr) -> bool:
    if isinstance(test, ast.Constant):
        return bool(test.value)
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
        return any(_is_true(one) for one in test.values)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return isinstance(test.operand, ast.Constant) and not test.operand.value
    if isinstance(test, ast.Tuple):
        return bool(test.elts)
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        same = isinstance(test.ops[0], ast.Eq | ast.Is | ast.GtE | ast.LtE)
        return same and _are_one(test.left, test.comparators[0])
    return isinstance(test, ast.Lambda)


def _are_one(left: ast.expr, right: ast.expr) -> bool:
    plain = isinstance(left, ast.Constant | ast.Name | ast.Attribute)
    return plain and written(left) == written(right)


@frozen
class Counts:
    """How many tests and asserts plain reading finds in a file."""

    tests: int
    asserts: int


READING = {
    "py": (r"^[ \t]*(?:async[ \t]+)?def test", r"\bassert\w*\b"),
    "js": (
        r"\b(?:it|test|specify)(?:\.(?:each|concurrent|for))?\s*[(`]",
        r"\b(?:expect|assert)(?:\.\w+)?\s*\(|\.should\b",
    ),
    "go": (
        r"^func (?:Test|Fuzz|Example)\w*\(",
        r"\b(?:assert|require|is)\.\w+\(|\b[tb]\.(?:Error|Errorf|Fatal|Fatalf|Fail|FailNow)\(",
    ),
    "rs": (r"#\[(?:\w+::)*(?:test|rstest)\b", r"\b(?:debug_)?assert\w*!"),
    "java": (
        r"@(?:Test|ParameterizedTest|RepeatedTest|TestFactory)\b|\[(?:Fact|Theory|Test)\b",
        r"\b(?:[aA]ssert\w*|verify|expect\w*|should\w*)(?:\.\w+)?\s*\(",
    ),
    "rb": (r"\b(?:it|test|specify)\b\s*[('\"]|\bdef test_", r"\bexpect\b|\bassert\w*\b|\.should\b"),
}
READING |= dict.fromkeys(["jsx", "mjs", "cjs", "ts", "tsx", "mts", "cts"], READING["js"])
READING |= dict.fromkeys(["kt", "scala", "cs"], READING["java"])


def is_counted(path: str) -> bool:
    """Tell whether a file's tests are counted: a test's, or Rust's, which hold their own."""
    return ending(path) in READING and (runs_as_test(path) or ending(path) == "rs")


def counts(path: str, text: str) -> Counts:
    """Count tests and asserts by plain reading, comments left out."""
    syntax = syntax_of(path)
    code = without_comments(text, syntax) if syntax else text
    tests, asserts = READING[ending(path)]
    return Counts(
        len(re.findall(tests, code, re.MULTILINE)), len(re.findall(asserts, code, re.MULTILINE))
    )
