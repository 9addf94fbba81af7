"""Migrations as a graph, read from their files: which follows which, and which are the last."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from orchestrator.gates.paths import name_of
from orchestrator.gates.pysource import definitions, parsed
from orchestrator.values import frozen


@frozen
class Revision:
    """One migration.

    Attributes:
        follows: the names of those that come before it.
        replaces: the names of those that it stands for.
        acts: whether it does anything.
    """

    name: str
    follows: tuple[str, ...]
    replaces: tuple[str, ...] = ()
    acts: bool = True


def alembic_revision(text: str) -> Revision | None:
    """Read a migration of Alembic; None where its names are not written plainly."""
    tree = parsed(text)
    if tree is None:
        return None
    said: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            said[node.target.id] = node.value
        elif isinstance(node, ast.Assign):
            said |= {one.id: node.value for one in node.targets if isinstance(one, ast.Name)}
    name = _constant(said.get("revision"))
    if not isinstance(name, str) or not name or "down_revision" not in said:
        return None
    follows = _constant(said["down_revision"])
    if isinstance(follows, str):
        follows = (follows,)
    elif follows is None:
        follows = ()
    if not isinstance(follows, tuple) or not all(isinstance(one, str) for one in follows):
        return None
    upgrade = [
        one.node
        for one in definitions(tree)
        if isinstance(one.node, ast.FunctionDef) and one.name == "upgrade"
    ]
    acts = any(isinstance(node, ast.Call) for one in upgrade for node in ast.walk(one))
    return Revision(name, tuple(str(one) for one in follows), acts=acts)


def django_revision(path: str, text: str, siblings: Iterable[str]) -> Revision | None:
    """Read a migration of Django.

    Args:
        path: its file.
        text: its text.
        siblings: the names of the migrations beside it: what depends on those is of its app.
    """
    tree = parsed(text)
    if tree is None:
        return None
    known = set(siblings)
    for one in definitions(tree):
        if isinstance(one.node, ast.ClassDef) and one.name == "Migration":
            said = {
                target.id: node.value
                for node in one.node.body
                if isinstance(node, ast.Assign)
                for target in node.targets
                if isinstance(target, ast.Name)
            }
            follows, replaces = (_pairs(said.get(key)) for key in ("dependencies", "replaces"))
            acts = _has_parts(said.get("operations"))
            own = tuple(name for name in follows if name in known)
            return Revision(name_of(path).removesuffix(".py"), own, replaces, acts)
    return None


def _has_parts(node: ast.expr | None) -> bool:
    return not isinstance(node, ast.List | ast.Tuple) or bool(node.elts)


def _pairs(node: ast.expr | None) -> tuple[str, ...]:
    """Return the second parts of a list of pairs."""
    if not isinstance(node, ast.List | ast.Tuple):
        return ()
    found = []
    for one in node.elts:
        if isinstance(one, ast.Tuple) and len(one.elts) == 2:
            name = _constant(one.elts[1])
            if isinstance(name, str):
                found.append(name)
    return tuple(found)


def _constant(node: ast.expr | None) -> object:
    """Return what an expression is, where it is plainly written; else an object of its own."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_constant(one) for one in node.elts)
    return object()


def last_ones(revisions: Iterable[Revision]) -> set[str]:
    """Return the names of migrations that no other one follows."""
    revisions = list(revisions)
    replaced = {name for one in revisions for name in one.replaces}
    left = [one for one in revisions if one.name not in replaced]
    followed = {name for one in left for name in one.follows}
    # What follows a replaced one follows what stands for it.
    followed |= {one.name for one in left if followed & set(one.replaces)}
    return {one.name for one in left} - followed


def faults(revisions: Mapping[str, Revision]) -> dict[str, str]:
    """Return what is wrong with a graph of Alembic's, by file."""
    found: dict[str, str] = {}
    names: dict[str, str] = {}
    for path in sorted(revisions):
        name = revisions[path].name
        if name in names:
            found[path] = "its revision has the same name as another one"
        names[name] = path
    for path, one in revisions.items():
        missing = [name for name in one.follows if name not in names]
        if missing:
            found[path] = "it follows a revision that there is not"
    return found
