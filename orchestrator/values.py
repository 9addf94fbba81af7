"""Frozen values: dataclasses that share their methods, so that a class costs next to nothing.

``dataclasses`` compiles six functions for every class, half a millisecond each time a process
starts; a run needs a hundred classes before its first request. What is made here is a dataclass to
everybody else: ``fields``, ``replace``, ``asdict``, ``copy``, type checkers and orjson take it for
one (decision 0019).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass(frozen=True)
class _Sample:
    """Tells what a frozen dataclass and its fields are marked with."""

    sample: None


_MARK = "_field_type"
"""By this ``dataclasses`` knows a field; it has no public way to make one (the tests hold it)."""
_KIND = getattr(_Sample.__dataclass_fields__["sample"], _MARK)
_PARAMETERS: Any = _Sample.__dataclass_params__  # type: ignore[attr-defined]


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def frozen(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass with slots, equal and hashed by its fields.

    Its fields are its annotations, in order. It inherits from nothing, and has no
    ``__post_init__``.

    Raises:
        TypeError: it cannot be one, as where a field without a default follows one with a default.
    """
    if cls.__bases__ != (object,) or "__post_init__" in cls.__dict__:
        raise TypeError(f"{cls.__qualname__} inherits, or has a __post_init__: use dataclasses")
    kept = {name: part for name, part in cls.__dict__.items() if name not in _OF_NO_SLOTS}
    fields = {
        name: _field(name, kind, kept.pop(name, MISSING))
        for name, kind in kept.get("__annotations__", {}).items()
    }
    names = tuple(fields)
    _require_order(cls, list(fields.values()))
    made: Any = type(
        cls.__name__,
        (),
        {
            **_METHODS,
            **kept,
            "__qualname__": cls.__qualname__,
            "__slots__": names,
            "__match_args__": names,
            "__dataclass_fields__": fields,
            "__dataclass_params__": _PARAMETERS,
        },
    )
    made.__value_setters__ = tuple(getattr(made, name).__set__ for name in names)
    return made  # type: ignore[no-any-return]


def _field(name: str, kind: Any, default: Any) -> Field[Any]:
    """Describe a field as ``dataclasses`` does."""
    found: Any = default if isinstance(default, Field) else dataclasses.field(default=default)
    if isinstance(default, list | dict | set):
        raise TypeError(f"the default of {name} can be changed: use default_factory")
    found.name, found.type = name, kind
    setattr(found, _MARK, _KIND)
    found.kw_only = False
    return found  # type: ignore[no-any-return]


def _require_order(cls: type, fields: Sequence[Field[Any]]) -> None:
    given = False
    for one in fields:
        if not _has_default(one) and given:
            raise TypeError(
                f"{cls.__qualname__}.{one.name} has no default, but follows one that has"
            )
        given = given or _has_default(one)


def _has_default(one: Field[Any]) -> bool:
    return one.default is not MISSING or one.default_factory is not MISSING


# -- what all values share; each knows its fields' setters ---------------------------------------


def _init(self: Any, /, *args: Any, **named: Any) -> None:
    cls = type(self)
    setters = cls.__value_setters__
    if len(args) > len(setters):
        raise TypeError(f"{cls.__qualname__} takes {len(setters)} values, {len(args)} were given")
    for put, one in zip(setters, args, strict=False):
        put(self, one)
    if len(args) < len(setters):
        _fill(self, len(args), named)
    if named:
        problem = "twice" if next(iter(named)) in cls.__match_args__ else "that it does not have"
        raise TypeError(f"{cls.__qualname__} was given {', '.join(named)} {problem}")


def _fill(self: Any, at: int, named: dict[str, Any]) -> None:
    """Set the fields from one on by name, or to their defaults; what is used is taken away."""
    cls = type(self)
    missing = []
    for put, (name, one) in list(
        zip(cls.__value_setters__, cls.__dataclass_fields__.items(), strict=True)
    )[at:]:
        if name in named:
            put(self, named.pop(name))
        elif one.default is not MISSING:
            put(self, one.default)
        elif one.default_factory is not MISSING:
            put(self, one.default_factory())
        else:
            missing.append(name)
    if missing:
        raise TypeError(f"{cls.__qualname__} lacks {', '.join(missing)}")


def _values(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, name) for name in type(self).__match_args__])


def _equal(self: Any, other: object) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return bool(_values(self) == _values(other))


def _hash(self: Any) -> int:
    return hash(_values(self))


def _repr(self: Any) -> str:
    shown = type(self).__dataclass_fields__.items()
    told = ", ".join(f"{name}={getattr(self, name)!r}" for name, one in shown if one.repr)
    return f"{type(self).__qualname__}({told})"


def _refuse_to_set(_: Any, name: str, __: object) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(_: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _restore(self: Any, values: Sequence[Any]) -> None:
    for put, one in zip(type(self).__value_setters__, values, strict=True):
        put(self, one)


_OF_NO_SLOTS = {"__dict__", "__weakref__"}
_METHODS = {
    "__init__": _init,
    "__eq__": _equal,
    "__hash__": _hash,
    "__repr__": _repr,
    "__setattr__": _refuse_to_set,
    "__delattr__": _refuse_to_delete,
    "__getstate__": _values,
    "__setstate__": _restore,
}
