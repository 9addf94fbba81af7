"""What a model is told about the tools, from a generated file: no tool is loaded for it."""

from __future__ import annotations

import json
import os
from functools import cache

from orchestrator_tools.contract import ToolSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE = os.path.join(os.path.dirname(__file__), "specs.json")


@cache
def specs() -> tuple[ToolSpec, ...]:
    """Return what a model is told about the tools, in the order in which it sees them."""
    return tuple([ToolSpec(name=name, **told) for name, told in _written().items()])


def names() -> list[str]:
    """Return the names of all tools, in the same order."""
    return list(_written())


@cache
def _written() -> dict[str, Any]:
    with open(FILE, encoding="utf-8") as file:
        written: dict[str, Any] = json.load(file)
    return written
