"""Frozen values: dataclasses that share their methods, so that a class costs next to nothing.

``dataclasses`` compiles six functions for every class, half a millisecond each time a process
starts, and is five milliseconds to load. What is made here is a dataclass to everybody else:
``fields``, ``replace``, ``asdict``, ``copy``, type checkers and orjson take it for one, and only
the first who asks has ``dataclasses`` loaded (decision 0019).
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import dataclasses
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, TypeVar, dataclass_transform

    T = TypeVar("T")
else:

    def dataclass_transform(**_: object) -> Any:
        """Stand in for what only type checkers look at."""
        return lambda maker: maker


class _Absent:
    """Stands for a default that is not there."""


ABSENT = _Absent()


class Field:
    """What a class says of one of its fields beside its type."""

    __slots__ = ("default", "default_factory", "metadata", "repr")

    def __init__(
        self,
        default: Any = ABSENT,
        default_factory: Any = ABSENT,
        metadata: Mapping[str, Any] | None = None,
        repr: Any = True,  # noqa: A002 - what dataclasses calls it
    ) -> None:
        self.default = default
        self.default_factory = default_factory
        self.metadata = metadata or {}
        self.repr = repr


def field(
    *,
    default: Any = ABSENT,
    default_factory: Callable[[], Any] | _Absent = ABSENT,
    metadata: Mapping[str, Any] | None = None,
) -> Any:
    """Say more of a field than its default, as ``dataclasses.field`` does, which fits as well."""
    return Field(default, default_factory, metadata)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
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
    given = {name: kept.pop(name, ABSENT) for name in kept.get("__annotations__", {})}
    fields = {name: _field(name, one) for name, one in given.items()}
    names = tuple(fields)
    _require_order(cls, fields)
    made: Any = type(
        cls.__name__,
        (),
        {
            **_METHODS,
            **kept,
            "__qualname__": cls.__qualname__,
            "__slots__": names,
            "__match_args__": names,
            "__value_fields__": fields,
            "__value_given__": given,
            "__dataclass_fields__": _Told(_fields_told),
            "__dataclass_params__": _Told(_parameters_told),
        },
    )
    made.__value_setters__ = tuple([getattr(made, name).__set__ for name in names])
    made.__value_steps__ = tuple(
        [
            (put, name, one.default, one.default_factory)
            for put, (name, one) in zip(made.__value_setters__, fields.items())
        ]
    )
    return made  # type: ignore[no-any-return]


def fields(cls: Any) -> Mapping[str, Field]:
    """Return what a frozen class says of its fields, by their names, in order."""
    told: Mapping[str, Field] = cls.__value_fields__
    return told


def _field(name: str, given: Any) -> Field:
    if isinstance(given, Field):
        return given
    if _is_foreign(given):
        missing = sys.modules["dataclasses"].MISSING
        return Field(
            ABSENT if given.default is missing else given.default,
            ABSENT if given.default_factory is missing else given.default_factory,
            repr=given.repr,
        )
    if isinstance(given, (list, dict, set)):
        raise TypeError(f"the default of {name} can be changed: use default_factory")
    return Field(given)


def _is_foreign(given: Any) -> bool:
    """Tell whether a field was given in the words of ``dataclasses``, which is loaded then."""
    there = sys.modules.get("dataclasses")
    return there is not None and isinstance(given, there.Field)


def _require_order(cls: type, fields: Mapping[str, Field]) -> None:
    given = False
    for name, one in fields.items():
        has = one.default is not ABSENT or one.default_factory is not ABSENT
        if given and not has:
            raise TypeError(f"{cls.__qualname__}.{name} has no default, but follows one that has")
        given = has


# -- what ``dataclasses`` knows of a class, made when it is first looked at ------------------------


class _Told:
    """An attribute of a class that is made when somebody asks for it."""

    def __init__(self, make: Callable[[Any], tuple[str, Any]]) -> None:
        self._make = make

    def __get__(self, one: object, cls: type) -> Any:
        name, made = self._make(cls)
        setattr(cls, name, made)
        return made


def _fields_told(cls: Any) -> tuple[str, dict[str, dataclasses.Field[Any]]]:
    told = {
        name: _field_told(name, cls.__annotations__[name], given)
        for name, given in cls.__value_given__.items()
    }
    return "__dataclass_fields__", told


def _field_told(name: str, kind: Any, given: Any) -> dataclasses.Field[Any]:
    import dataclasses

    if _is_foreign(given):
        told: Any = given
    else:
        own = given if isinstance(given, Field) else Field(given)
        said = {"default": own.default, "default_factory": own.default_factory}
        said = {word: one for word, one in said.items() if one is not ABSENT}
        told = dataclasses.field(**said, metadata=own.metadata)
    told.name, told.type = name, kind
    setattr(told, _MARK, getattr(_sample().__dataclass_fields__["sample"], _MARK))
    told.kw_only = False
    return told  # type: ignore[no-any-return]


def _parameters_told(_: Any) -> tuple[str, Any]:
    return "__dataclass_params__", _sample().__dataclass_params__


_MARK = "_field_type"
"""By this ``dataclasses`` knows a field; it has no public way to make one (the tests hold it)."""
_SAMPLES: list[Any] = []


def _sample() -> Any:
    """Return a dataclass that tells what frozen ones and their fields are marked with."""
    if not _SAMPLES:
        import dataclasses

        _SAMPLES.append(dataclasses.make_dataclass("Sample", [("sample", "None")], frozen=True))
    return _SAMPLES[0]


# -- what all values share; each knows its fields' setters ---------------------------------------


def _init(self: Any, /, *args: Any, **named: Any) -> None:
    cls = type(self)
    setters = cls.__value_setters__
    if len(args) > len(setters):
        raise TypeError(f"{cls.__qualname__} takes {len(setters)} values, {len(args)} were given")
    for put, one in zip(setters, args):
        put(self, one)
    if len(args) < len(setters):
        missing = []
        for put, name, default, make in cls.__value_steps__[len(args) :]:
            if name in named:
                put(self, named.pop(name))
            elif default is not ABSENT:
                put(self, default)
            elif make is not ABSENT:
                put(self, make())
            else:
                missing.append(name)
        if missing:
            raise TypeError(f"{cls.__qualname__} lacks {', '.join(missing)}")
    if named:
        problem = "twice" if next(iter(named)) in cls.__match_args__ else "that it does not have"
        raise TypeError(f"{cls.__qualname__} was given {', '.join(named)} {problem}")


def _values(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, name) for name in type(self).__match_args__])


def _equal(self: Any, other: object) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return bool(_values(self) == _values(other))


def _hash(self: Any) -> int:
    return hash(_values(self))


def _repr(self: Any) -> str:
    shown: Iterable[tuple[str, Field]] = type(self).__value_fields__.items()
    told = ", ".join(f"{name}={getattr(self, name)!r}" for name, one in shown if one.repr)
    return f"{type(self).__qualname__}({told})"


def _refuse_to_set(_: Any, name: str, __: object) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(_: Any, name: str) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _restore(self: Any, values: Sequence[Any]) -> None:
    for put, one in zip(type(self).__value_setters__, values):
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
