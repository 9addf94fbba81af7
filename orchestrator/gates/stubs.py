"""Functions that are not written yet."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from orchestrator.gates.paths import ending
from orchestrator.gates.pysource import Defined, Function, definitions, last_word
from orchestrator.values import frozen

ABSTRACT = {"abstractmethod", "abstractproperty", "overload", "abstractclassmethod"}
GROUPS = {"group", "callback", "fixture", "hookspec"}
"""Decorators of functions that are meant to do nothing by themselves."""
QUIET = re.compile(r"(?i)_*(?:no_?op|nothing|null|dummy|ignore|skip|do_nothing|discard|silent)")
DELAY = re.compile(
    r"(?i)\b(?:implement|placeholder|stub|later|goes here|fill|unfinished|not yet|for now)\w*"
)
SAYS = r"[^\"'`\n]{0,40}(?i:not (?:yet )?implemented|unimplemented|todo|implement me)"
THROWN = re.compile(
    rf"\bthrow\s+(?:new\s+)?\w{{0,60}}(?:Error|Exception)\w{{0,60}}\s*\(\s*[\"'`]{SAYS}"
    r"|\bthrow\s+new\s+Not(?:Yet)?Implemented\w*"
)
PLAIN = {
    "rs": re.compile(rf"\b(?:todo|unimplemented)!\s*[(\[{{]|\bpanic!\s*\(\s*\"{SAYS}"),
    "go": re.compile(rf"\bpanic\s*\(\s*[\"`]{SAYS}|\berrors\.New\(\s*[\"`]{SAYS}"),
    "kt": re.compile(rf"\bTODO\s*\(|{THROWN.pattern}"),
    "scala": re.compile(rf"=\s*\?\?\?|{THROWN.pattern}"),
    "swift": re.compile(rf"\bfatalError\s*\(\s*\"{SAYS}"),
}
THROWING = "js jsx mjs cjs ts tsx mts cts java cs php dart groovy vue svelte cc cpp cxx"
PLAIN |= dict.fromkeys(THROWING.split(), THROWN)
UNREADABLE = re.compile(
    r"\s*raise\s+NotImplementedError\b|.*\)\s*(?:->[^:]+)?:\s*(?:pass|\.\.\.)\s*$"
)


@frozen
class Stub:
    """A function that is not written, or a statement that says so."""

    name: str
    line: int
    what: str
    lines: range


def stubs(tree: ast.Module, comments: dict[int, str], *, test: bool) -> Iterator[Stub]:
    """Yield what is not written yet.

    Args:
        tree: the file.
        comments: its comments, by line: one in an empty body may say why it is empty.
        test: whether the file belongs to tests, where doubles do nothing on purpose.
    """
    found = list(definitions(tree))
    filled = _filled_in(found)
    checking = _checking(tree)
    for one in found:
        node = one.node
        if not isinstance(node, Function) or node.lineno in checking:
            continue
        if _is_contract(one, filled) or (test and not one.node.name.startswith("test")):
            continue
        lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        empty = _emptiness(node)
        if empty and not _means_it(one, comments):
            yield Stub(
                one.name, node.lineno, f"{node.name}() is a stub: its body is {empty}", lines
            )
        if not empty:
            for raised in _not_implemented(node):
                what = f"{node.name}() raises NotImplementedError"
                yield Stub(one.name, raised.lineno, what, range(raised.lineno, raised.lineno + 1))


def plain_stub(path: str, line: str) -> str:
    """Return what a line of another language says that is not written yet, or nothing."""
    pattern = PLAIN.get(ending(path))
    return "a stub that says it is not implemented" if pattern and pattern.search(line) else ""


def _filled_in(found: list[Defined]) -> set[tuple[str, str]]:
    """Return the methods of classes that subclasses in the same file fill in."""
    return {
        (last_word(above), one.node.name)
        for one in found
        if one.owner is not None
        for above in one.owner.bases
    }


def _checking(tree: ast.Module) -> set[int]:
    """Return the lines that only a type checker reads."""
    return {
        line
        for node in tree.body
        if isinstance(node, ast.If) and last_word(node.test) == "TYPE_CHECKING"
        for one in node.body
        for line in range(one.lineno, (one.end_lineno or one.lineno) + 1)
    }


def _is_contract(one: Defined, filled: set[tuple[str, str]]) -> bool:
    """Tell whether a function says what others have to write."""
    words = {last_word(decorator) for decorator in one.node.decorator_list}
    if words & (ABSTRACT | GROUPS):
        return True
    owner = one.owner
    if owner is None:
        return False
    above = {last_word(base) for base in owner.bases}
    return "Protocol" in above or "Interface" in above or (owner.name, one.node.name) in filled


def _emptiness(node: Function) -> str:
    """Return what a body is that does nothing, or nothing where it does something."""
    body = list(node.body)
    if body and _is_text(body[0]):
        body = body[1:]
    if not body:
        return "a docstring only"
    kinds = {_kind(one) for one in body}
    if "" in kinds:
        return ""
    return "raise NotImplementedError" if "raise" in kinds else kinds.pop()


def _kind(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Pass):
        return "pass"
    if isinstance(statement, ast.Raise):
        raised = statement.exc
        return "raise" if raised is not None and last_word(raised) == "NotImplementedError" else ""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return "..." if statement.value.value is ... else "a text"
    return ""


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _means_it(one: Defined, comments: dict[int, str]) -> bool:
    """Tell whether an empty body is meant: its name says so, or a comment says why."""
    node, owner = one.node, one.owner
    if isinstance(node, Function) and _emptiness(node) == "raise NotImplementedError":
        return False
    names = [node.name, *([owner.name] if owner else [])]
    if node.name.startswith("__") or any(QUIET.match(name) for name in names):
        return True
    last = (node.end_lineno or node.lineno) + 1
    said = [comments[line] for line in range(node.lineno, last) if line in comments]
    return any(len(re.findall(r"\w+", text)) >= 2 and not DELAY.search(text) for text in said)


def _not_implemented(node: Function) -> Iterator[ast.Raise]:
    """Yield where a function's own body raises it, functions inside it left out."""
    waiting: list[ast.AST] = list(node.body)
    while waiting:
        one = waiting.pop()
        if isinstance(one, Function | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(one, ast.Raise) and _kind(one) == "raise":
            yield one
        waiting.extend(ast.iter_child_nodes(one))
