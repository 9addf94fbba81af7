"""One agent definition file, read into one value."""

from __future__ import annotations

from orchestrator.errors import At, DefinitionError
from orchestrator.header import Header, Value, parse
from orchestrator.records import AgentDefinition
from orchestrator_tools import table


def read(data: bytes, file: str) -> AgentDefinition | None:
    """Read an agent definition file.

    Args:
        data: the file's bytes.
        file: its name, for error messages.

    Returns:
        The definition; None for a file without a header, or with neither name nor description.

    Raises:
        DefinitionError: the file is broken; the error says where.
    """
    header = parse(data, file)
    if header is None or not {"name", "description"} & set(header.values):
        return None
    for needed in ("name", "description"):
        if not _text(header, needed):
            place = header.at(needed) if needed in header.values else At(file, 1, 1)
            raise DefinitionError(f"{needed}: must be given, as text", at=place)
    name = _text(header, "name")
    if name.startswith("-") or any(c in ":/\\" or not c.isprintable() for c in name):
        raise DefinitionError(f"name: {name!r} cannot be used as a name", at=header.at("name"))
    tools, warnings = _tools(header)
    return AgentDefinition(
        name=name,
        description=_text(header, "description"),
        tools=tools,
        model=_text(header, "model") or None,
        prompt=header.body,
        source=file,
        warnings=warnings,
    )


def _text(header: Header, key: str) -> str:
    value = header.values.get(key)
    if value is None or value.content is None:
        return ""
    if value.text is None:
        raise DefinitionError(f"{key}: expected text", at=header.at(key))
    return value.text.strip()


def _tools(header: Header) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Return the tools and what is odd about them: absent means all, empty means none.

    A name that is not known here is left out with a warning; that can only narrow. Where no name
    is left, the agent is refused: a typo must neither widen its tools nor take them away unseen.
    """
    if "tools" not in header.values:
        return None, ()
    names = list(dict.fromkeys(_names(header, header.values["tools"])))
    if "*" in names:
        return None, ()
    known = [name for name in names if name in table.names()]
    unknown = [name for name in names if name not in known]
    if names and not known:
        raise DefinitionError(
            f"tools: there is no tool {unknown[0]!r}",
            at=header.at("tools"),
            hint=f"there are {', '.join(table.names())}",
        )
    warnings = [f"{header.at('tools')}: no tool {name!r} here; left out" for name in unknown]
    return tuple(known), tuple(warnings)


def _names(header: Header, value: Value) -> list[str]:
    if value.content is None:
        return []
    if value.text is not None:
        return [part.strip() for part in value.text.split(",") if part.strip()]
    if isinstance(value.content, list):
        items = [one.text for one in value.content]
        if all(item is not None for item in items):
            return [str(item).strip() for item in items if str(item).strip()]
    raise DefinitionError("tools: expected names, by commas or as a list", at=header.at("tools"))
