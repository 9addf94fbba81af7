"""The public names of a Python file: what others may lean on, and what is said of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from orchestrator.gates.paths import is_test, name_of
from orchestrator.gates.pysource import Defined, Function, definitions, dotted, last_word, written
from orchestrator.values import frozen

APART = ("migrations/", "versions/", "scripts/", "examples/", "docs/", "bench/", "benchmarks/")
FILES = ("conftest.py", "setup.py", "noxfile.py", "manage.py", "env.py", "settings.py")


@frozen
class Public:
    """A public name.

    Attributes:
        signature: what a caller has to know; the same text means that nothing changed for callers.
        said: its docstring, or the help of an option.
    """

    signature: str
    said: str
    line: int


def is_public_module(path: str) -> bool:
    """Tell whether others may import from a file."""
    parts = path.removesuffix(".py").split("/")
    private = any(part.startswith("_") and part != "__init__" for part in parts)
    apart = any(f"/{folder}" in f"/{path}" for folder in APART) or name_of(path) in FILES
    return not (private or apart or is_test(path) or any("." in part for part in parts))


def public_names(tree: ast.Module) -> dict[str, Public]:
    """Return the public functions, classes, methods and options of a file, by name."""
    listed = _listed(tree)
    found: dict[str, Public] = {}
    for one in definitions(tree):
        if not _is_public(one, listed):
            continue
        signature = _signature(one)
        said = _docstring(one.node)
        name = one.name.removesuffix(".__init__")
        if name != one.name and name in found:
            said = f"{found[name].said}{said}"
        before = found.get(name)
        # Of several of one name, like a property's parts or overloads, all count.
        joined = f"{before.signature} | {signature}" if before else signature
        line = before.line if before else one.node.lineno
        found[name] = Public(joined, said or (before.said if before else ""), line)
    return found | dict(_options(tree))


def _listed(tree: ast.Module) -> set[str] | None:
    """Return what ``__all__`` names; None where there is none, or it cannot be told."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(one, ast.Name) and one.id == "__all__" for one in targets):
            value = node.value if isinstance(node, ast.Assign) else None
            if isinstance(value, ast.List | ast.Tuple):
                return {str(one.value) for one in value.elts if isinstance(one, ast.Constant)}
    return None


def _is_public(one: Defined, listed: set[str] | None) -> bool:
    names = [*(above.name for above in one.around), one.node.name]
    if any(not isinstance(above, ast.ClassDef) for above in one.around):
        return False
    if any(name.startswith("_") for name in names[:-1]):
        return False
    if names[-1].startswith("_") and not (names[-1] == "__init__" and len(names) > 1):
        return False
    return listed is None or names[0] in listed


def _signature(one: Defined) -> str:
    if isinstance(one.node, ast.ClassDef):
        return "class"
    given = one.node.args
    plain = [*given.posonlyargs, *given.args]
    required = len(plain) - len(given.defaults)
    words = [f"{each.arg}{'' if at < required else '='}" for at, each in enumerate(plain)]
    if given.posonlyargs:
        words.insert(len(given.posonlyargs), "/")
    if given.vararg:
        words.append(f"*{given.vararg.arg}")
    words += sorted(
        f"*, {each.arg}{'' if default is None else '='}"
        for each, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)
    )
    if given.kwarg:
        words.append(f"**{given.kwarg.arg}")
    kind = "async def" if isinstance(one.node, ast.AsyncFunctionDef) else "def"
    return f"{kind}({', '.join(words)})"


def _docstring(node: Function | ast.ClassDef) -> str:
    return ast.get_docstring(node, clean=False) or ""


def _options(tree: ast.Module) -> Iterator[tuple[str, Public]]:
    """Yield the options of command lines that argparse and click are told of."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        word = last_word(node.func)
        if word != "add_argument" and dotted(node.func) not in {"click.option", "typer.Option"}:
            continue
        texts = [one.value for one in node.args if isinstance(one, ast.Constant)]
        for text in texts:
            if isinstance(text, str) and text.startswith("--"):
                said = next((written(one.value) for one in node.keywords if one.arg == "help"), "")
                yield f"option {text.split('/')[0]}", Public("option", said, node.lineno)
