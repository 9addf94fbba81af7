"""Frozen values, as both houses make them: ``orchestrator_tools.values`` holds how.

Fields that need more than a default are given by ``dataclasses.field``.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeVar, dataclass_transform

from orchestrator_tools import values

T = TypeVar("T")

if TYPE_CHECKING:

    @dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
    def frozen(cls: type[T]) -> type[T]:
        """Make a class a frozen dataclass with slots, equal and hashed by its fields."""
        return values.frozen(cls)

else:
    frozen = values.frozen
