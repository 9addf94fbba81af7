"""Frozen records, rebuilt from the plain JSON values that they were kept as."""

from __future__ import annotations

import dataclasses
import types
import typing
from functools import cache
from typing import Any, Literal, TypeVar

import orjson

T = TypeVar("T")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def as_kept(kind: type[T], value: object) -> T:
    """Return a record that others made as it will be read back once it was kept.

    Raises:
        TypeError: it could be kept, but not read back, or not even that.
    """
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, not {type(value).__name__}")
    try:
        return typing.cast("T", build(kind, orjson.loads(orjson.dumps(value))))
    except AttributeError as error:  # plain text where a record should be
        raise TypeError(str(error)) from None


def build(kind: Any, value: Any) -> Any:
    """Rebuild a frozen record from plain JSON values."""
    if dataclasses.is_dataclass(kind):
        names = {one.name for one in dataclasses.fields(kind)}
        hints = _hints(typing.cast("type", kind))
        known = {name: build(hints[name], part) for name, part in value.items() if name in names}
        return typing.cast("type", kind)(**known)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType or origin is typing.Union:
        inner = [one for one in arguments if one is not type(None)]
        return None if value is None else build(inner[0], value)
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError(f"expected a list, not {type(value).__name__}")
        if len(arguments) == 2 and arguments[1] is ...:
            return tuple(build(arguments[0], one) for one in value)
        return tuple(build(one, part) for one, part in zip(arguments, value, strict=True))
    return _scalar(kind, origin, arguments, value)


def _scalar(kind: Any, origin: Any, arguments: tuple[Any, ...], value: Any) -> Any:
    if origin is Literal:
        if value not in arguments:
            raise TypeError(f"{value!r} is none of {arguments}")
        return value
    if origin is dict:
        return {build(arguments[0], k): build(arguments[1], v) for k, v in value.items()}
    if kind is bytes:
        return value.encode()
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"expected {kind.__name__}, not {type(value).__name__}")
    return value
