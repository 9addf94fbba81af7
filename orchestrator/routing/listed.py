"""Issues listed in a YAML or JSON file: one, or many."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from orchestrator.errors import At, ConfigError
from orchestrator.records import Issue

SIZE_LIMIT = 64 * 1024 * 1024
DEPTH_LIMIT = 20
IDS = ("id", "key", "number")
HINT = "an issue is a mapping with id, title, body, labels, assignee; a file has one or a list"


def listed_issues(data: bytes, file: str) -> list[Issue]:
    """Read issues, as ``identified_issues`` does, without their ids as they were given."""
    return [issue for _, issue in identified_issues(data, file)]


def identified_issues(data: bytes, file: str) -> list[tuple[str | float, Issue]]:
    """Read issues, each with its id as it was given; what says nothing of routing is passed by.

    Args:
        data: YAML, of which JSON is a part.
        file: for errors.

    Raises:
        ConfigError: it cannot be read; the error says where.
    """
    if len(data) > SIZE_LIMIT:
        raise ConfigError(f"larger than {SIZE_LIMIT >> 20} MB", at=At(file))
    found = _read(data, file)
    items = found if isinstance(found, list) else [found]
    return [
        (_given(item, number), _issue(item, number, file)) for number, item in enumerate(items, 1)
    ]


def _given(item: object, number: int) -> str | float:
    """Return the id as the file has it, number or text; where it has none, its place."""
    if isinstance(item, Mapping):
        for name in IDS:
            if item.get(name) is not None:
                value: str | float = item[name]
                return value
    return str(number)


def _read(data: bytes, file: str) -> Any:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8 text: byte {error.start}", at=At(file)) from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _yaml(text, file)


def _yaml(text: str, file: str) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        for _ in _refused(yaml.parse(text, Loader=loader), file):
            pass
        return yaml.load(text, Loader=loader)  # noqa: S506 - the safe one
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        at = At(file, mark.line + 1, mark.column + 1) if mark else At(file)
        raise ConfigError(f"neither YAML nor JSON: {error.problem}", at=at) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"neither YAML nor JSON: {error}", at=At(file)) from None


def _refused(events: Iterator[Any], file: str) -> Iterator[None]:
    """Refuse what would break the reader: nested deeply, or grown by aliases."""
    depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        at = At(file, event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError("anchors and aliases are not allowed here", at=at)
        if depth > DEPTH_LIMIT:
            raise ConfigError(f"nested deeper than {DEPTH_LIMIT} levels", at=at)
        yield


def _issue(item: object, number: int, file: str) -> Issue:
    if not isinstance(item, Mapping):
        raise ConfigError(f"issue {number} is no mapping", at=At(file), hint=HINT)
    where = f"issue {number}"
    key = _text(item, IDS, where, file) or str(number)
    title = _text(item, ("title",), where, file)
    body = _text(item, ("body", "description"), where, file)
    if not title and not body:
        raise ConfigError(f"{where} has neither title nor body", at=At(file), hint=HINT)
    people = _texts(item, "assignees", where, file)
    assignee = _text(item, ("assignee",), where, file)
    return Issue(
        key=key,
        title=title,
        body=body,
        labels=_texts(item, "labels", where, file),
        assignees=(assignee, *people) if assignee else people,
    )


def _text(item: Mapping[object, object], names: tuple[str, ...], where: str, file: str) -> str:
    for name in names:
        value = item.get(name)
        if value is None:
            continue
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return str(value)
        raise ConfigError(f"{where}: {name} is no text", at=At(file), hint=HINT)
    return ""


def _texts(item: Mapping[object, object], name: str, where: str, file: str) -> tuple[str, ...]:
    """Return a list of names; a tracker's own objects give theirs as ``name`` or ``login``."""
    value = item.get(name)
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if not isinstance(value, list):
        raise ConfigError(f"{where}: {name} is no list", at=At(file), hint=HINT)
    found = []
    for one in value:
        told = (one.get("name") or one.get("login")) if isinstance(one, Mapping) else one
        if isinstance(told, bool) or not isinstance(told, str | int | float):
            raise ConfigError(f"{where}: {name} holds what is no name", at=At(file), hint=HINT)
        found.append(str(told))
    return tuple(found)
