"""Python files as gates read them: parsed, never run, whatever they hold."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from orchestrator.values import frozen

PARSE_LIMIT = 2 * 1024 * 1024
"""Characters above which a file is not parsed."""

CODING = re.compile(r"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
PLAIN_CODINGS = (
    "utf-8",
    "utf8",
    "utf-8-sig",
    "ascii",
    "us-ascii",
    "latin-1",
    "iso-8859-1",
    "cp1252",
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@frozen
class Defined:
    """A function or class, and what stands around it.

    Attributes:
        name: with the names of the classes and functions around it.
        around: those, the outermost first.
    """

    name: str
    node: Function | ast.ClassDef
    around: tuple[Function | ast.ClassDef, ...]

    @property
    def owner(self) -> ast.ClassDef | None:
        """Return the class that it is a method of."""
        last = self.around[-1] if self.around else None
        return last if isinstance(last, ast.ClassDef) else None


@frozen
class Source:
    """The text of a source file.

    Attributes:
        odd: why Python may read it otherwise than line by line; empty where it does not.
    """

    text: str
    odd: str


def source_of(data: bytes) -> Source:
    """Return a file's text, without a mark of its encoding and without NULs."""
    text = data.decode("utf-8", "replace").removeprefix("\ufeff").replace("\0", "")
    odd = ""
    if "\r" in text:
        text = text.replace("\r\n", "\n")
        odd = "it has line ends that hide lines: a carriage return alone" if "\r" in text else ""
    for line in text[:400].split("\n")[:2]:
        coding = CODING.match(line)
        if coding and coding[1].lower().replace("_", "-") not in PLAIN_CODINGS:
            odd = "it names an encoding in which its text is something else"
    return Source(text, odd)


def parsed(text: str | bytes) -> ast.Module | None:
    """Parse a file; None where that cannot be done, for whatever reason."""
    if len(text) > PARSE_LIMIT:
        return None
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def definitions(tree: ast.AST) -> Iterator[Defined]:
    """Yield every function and class, in no deeper recursion than there is memory for."""
    waiting: list[tuple[ast.AST, tuple[Function | ast.ClassDef, ...]]] = [(tree, ())]
    while waiting:
        node, around = waiting.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Function | ast.ClassDef):
                name = ".".join([*(one.name for one in around), child.name])
                yield Defined(name, child, around)
                waiting.append((child, (*around, child)))
            else:
                waiting.append((child, around))


def last_word(node: ast.AST) -> str:
    """Return the last name of a dotted one, of a call or of a subscript; else nothing."""
    while isinstance(node, ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def dotted(node: ast.AST) -> str:
    """Return a dotted name, of a call its function's; what is no name is left out."""
    words: list[str] = []
    while True:
        if isinstance(node, ast.Call):
            node = node.func
        elif isinstance(node, ast.Attribute):
            words.append(node.attr)
            node = node.value
        else:
            break
    if isinstance(node, ast.Name):
        words.append(node.id)
    return ".".join(reversed(words))


def span(node: Function | ast.ClassDef) -> range:
    """Return the lines of a function or class, its decorators among them."""
    first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
    return range(first, (node.end_lineno or node.lineno) + 1)


def written(node: ast.AST) -> str:
    """Return a node in a form that does not depend on layout."""
    try:
        return ast.dump(node)
    except RecursionError:
        return f"too deep to tell, {id(node)}"
