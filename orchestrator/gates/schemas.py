"""What Python models say of the database, read from their syntax."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Literal

from orchestrator.gates.pysource import definitions, last_word, parsed, written

Kind = Literal["alembic", "django"]
ALEMBIC_CALLS = {"Column", "mapped_column", "Field"}
ALEMBIC_NAMES = {"__tablename__", "__table_args__", "__table__"}
UNWRITTEN = {"doc", "info", "default", "default_factory", "onupdate", "repr", "init", "kw_only"}
UNWRITTEN |= {"insert_default", "comparator", "deferred", "description", "title", "examples"}
"""Arguments that Python keeps to itself: the database does not know them."""
DJANGO_META = {
    "unique_together",
    "index_together",
    "indexes",
    "constraints",
    "db_table",
    "ordering",
    "managed",
    "abstract",
    "permissions",
    "verbose_name",
    "verbose_name_plural",
    "options",
}


def schema(text: str, kind: Kind) -> dict[str, str] | None:
    """Return what a file says of tables and columns, by name; None where it cannot be parsed."""
    tree = parsed(text)
    if tree is None:
        return None
    found: dict[str, str] = {}
    if kind == "alembic":
        found |= _tables(tree)
    for one in definitions(tree):
        if isinstance(one.node, ast.ClassDef):
            read = _mapped if kind == "alembic" else _fields
            found |= {f"{one.name}.{name}": said for name, said in read(one.node)}
            if kind == "django" and one.node.name == "Meta":
                found |= {f"{one.name}.{name}": said for name, said in _meta(one.node)}
    return found


def _assigned(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr | None, ast.expr | None]]:
    """Yield name, annotation and value of what a class body assigns."""
    for one in node.body:
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            yield one.target.id, one.annotation, one.value
        elif isinstance(one, ast.Assign):
            for target in one.targets:
                if isinstance(target, ast.Name):
                    yield target.id, None, one.value


def _mapped(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Yield the columns of SQLAlchemy's and SQLModel's classes."""
    is_table = any(
        one.arg == "table" and isinstance(one.value, ast.Constant) and one.value.value is True
        for one in node.keywords
    )
    for name, annotation, value in _assigned(node):
        called = last_word(value.func) if isinstance(value, ast.Call) else ""
        if called == "relationship" or (annotation and last_word(annotation) == "Relationship"):
            continue
        mapped = annotation is not None and last_word(annotation) == "Mapped"
        column = called in ALEMBIC_CALLS - {"Field"} or mapped or name in ALEMBIC_NAMES
        if called in {"synonym", "column_property", "association_proxy", "Relationship"}:
            continue
        if mapped and annotation is not None and called == "" and _leads_to_models(annotation):
            continue
        if column or (is_table and annotation is not None):
            yield name, f"{_annotation(annotation)} {_said(value)}"


def _leads_to_models(annotation: ast.expr) -> bool:
    """Tell whether an annotation without a value is a collection: those are relationships."""
    inner = annotation.slice if isinstance(annotation, ast.Subscript) else annotation
    return last_word(inner).lower() in {"list", "set", "dynamicmapped", "writeonlymapped"}


def _annotation(node: ast.expr | None) -> str:
    return written(node) if node is not None else ""


def _said(value: ast.expr | None) -> str:
    """Return a value as the database sees it."""
    if value is None:
        return ""
    if not isinstance(value, ast.Call):
        return written(value)
    words = [written(one) for one in value.args]
    words += sorted(
        f"{one.arg}={written(one.value)}" for one in value.keywords if one.arg not in UNWRITTEN
    )
    return f"{last_word(value.func)}({', '.join(words)})"


def _tables(tree: ast.Module) -> dict[str, str]:
    """Return the tables that are written as calls."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and last_word(node.func) == "Table" and len(node.args) > 1:
            name = written(node.args[0])
            parts = [_said(one) for one in node.args[1:]]
            found[f"Table {name}"] = ", ".join(parts)
    return found


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Yield the fields of Django's models, and that there is a model at all."""
    above = {last_word(base) for base in node.bases}
    if above & {"Form", "ModelForm", "Serializer", "ModelSerializer", "FilterSet", "Factory"}:
        return
    for name, _, value in _assigned(node):
        called = last_word(value.func) if isinstance(value, ast.Call) else ""
        if called.endswith("Field") or called in {"ForeignKey", "GenericForeignKey"}:
            yield name, _whole(value)


def _whole(value: ast.expr | None) -> str:
    return written(value) if value is not None else ""


def _meta(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for name, _, value in _assigned(node):
        if name in DJANGO_META:
            yield name, _whole(value)
