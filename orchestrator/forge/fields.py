"""What services answer, read field by field: missing is empty, never an accident."""

from __future__ import annotations

from typing import Any

from orchestrator.errors import Unanswered


def text(data: Any, *path: str) -> str:
    """Return a text at a path of keys; numbers become text, anything else is empty."""
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    if isinstance(data, bool):
        return ""
    return data if isinstance(data, str) else str(data) if isinstance(data, int) else ""


def rows(data: Any, *path: str) -> list[dict[str, Any]]:
    """Return the mappings of a list at a path of keys."""
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []


def words(data: Any, *path: str) -> tuple[str, ...]:
    """Return the texts of a list at a path of keys."""
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return tuple(one for one in data if isinstance(one, str)) if isinstance(data, list) else ()


def number(data: Any, *path: str) -> int:
    """Return a whole number at a path of keys, else 0."""
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, int) and not isinstance(data, bool) else 0


def flag(data: Any, *path: str) -> bool:
    """Return whether there is a true at a path of keys."""
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data is True


def required(data: Any, service: str, *path: str) -> str:
    """Return a text that has to be there.

    Raises:
        Unanswered: it is not: this is not what was asked for.
    """
    found = text(data, *path)
    if not found:
        raise Unanswered(f"{service} left out {'.'.join(path)} of what was asked for")
    return found


def counted(data: Any, service: str, *path: str) -> str:
    """Return a number that has to be there, as text: it is to become part of an address.

    Raises:
        Unanswered: there is none, or something else.
    """
    found = required(data, service, *path)
    if not found.isascii() or not found.isdigit() or len(found) > 20:
        raise Unanswered(f"{service} says of {'.'.join(path)} what is no number")
    return found
