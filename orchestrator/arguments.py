"""The tools' arguments at the border: validated, and described to models as JSON schemas.

pydantic and the tools are loaded at the first use, which is after the first request has been sent.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pydantic


@cache
def model(tool: str) -> type[pydantic.BaseModel]:
    """Return the pydantic model of a tool's arguments, made from its dataclass.

    Raises:
        KeyError: there is no such tool.
    """
    import pydantic

    from orchestrator_tools import table

    kind = table.load(tool).Arguments
    hints = typing.get_type_hints(kind)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        about = dict(field.metadata)
        hint = hints[field.name]
        if "enum" in about:
            hint = typing.Literal[tuple(about["enum"])]
        default = ... if field.default is dataclasses.MISSING else field.default
        bounds = {name: about[name] for name in ("ge", "le") if name in about}
        fields[field.name] = (
            hint,
            pydantic.Field(
                default, alias=about.get("name", field.name), description=about.get("doc"), **bounds
            ),
        )
    forbid = pydantic.ConfigDict(extra="forbid", populate_by_name=False)
    made: type[pydantic.BaseModel] = pydantic.create_model(tool, __config__=forbid, **fields)
    return made


def validated(tool: str, arguments: Mapping[str, object]) -> dict[str, Any]:
    """Return the arguments, checked and coerced; only what was given, by the names models use.

    Raises:
        ValueError: they do not fit; the message names every parameter that does not.
    """
    import pydantic

    if not isinstance(arguments, Mapping):  # a program may give anything
        raise ValueError("the arguments are no object")  # noqa: TRY004 - it does not fit either
    try:
        parsed = model(tool).model_validate(dict(arguments))
    except pydantic.ValidationError as error:
        problems = [
            f"{'.'.join(str(part) for part in one['loc']) or tool}: {one['msg']}"
            for one in error.errors(include_url=False, include_input=False)
        ]
        raise ValueError("; ".join(problems)) from None
    return parsed.model_dump(by_alias=True, exclude_unset=True, exclude_none=True)


def described() -> dict[str, Any]:
    """Return what a model is told of each tool, in the few bytes that it needs."""
    from orchestrator_tools import table

    return {
        name: {
            "description": table.load(name).DESCRIPTION,
            "input_schema": _lean(model(name).model_json_schema(by_alias=True)),
            "effect": table.load(name).EFFECT,
        }
        for name in table.ROOMS
    }


def _lean(schema: Any) -> Any:
    """Drop what says nothing: titles, null alternatives and null defaults."""
    if isinstance(schema, list):
        return [_lean(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "anyOf" in schema:
        inner = next(one for one in schema["anyOf"] if one.get("type") != "null")
        rest = {key: value for key, value in schema.items() if key != "anyOf"}
        return _lean({**inner, **rest})
    kept = {}
    for key, value in schema.items():
        drop = (key == "title" and isinstance(value, str)) or (key == "default" and value is None)
        if key == "properties":
            kept[key] = {name: _lean(one) for name, one in value.items()}
        elif not drop:
            kept[key] = _lean(value)
    return kept
