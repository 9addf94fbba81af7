"""The fence and the YAML header of a markdown file: agent definitions and issues alike.

The YAML is read strictly, by version 1.2's rules for scalars: no anchors, aliases or tags, no key
twice, and ``on``, ``no`` or ``2026-01-01`` are text. Every value keeps its place in the file.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import field
from typing import Any

import yaml
from frontmatter.default_handlers import BaseHandler

from orchestrator.errors import At, DefinitionError
from orchestrator.values import frozen

SIZE_LIMIT = 1024 * 1024
DEPTH_LIMIT = 32
FENCE = re.compile(r"^---\s*$", re.MULTILINE)
NULLS = {"", "~", "null", "Null", "NULL"}


@frozen
class Value:
    """A value of a header: text, None, a list of values, or a mapping of values."""

    content: Any
    line: int
    column: int

    @property
    def text(self) -> str | None:
        """Return the content if it is text."""
        return self.content if isinstance(self.content, str) else None


@frozen
class Header:
    """A file's header and what follows it.

    Attributes:
        values: the top level of the header; keys keep their order.
        keys: where each key stands, as line and column.
        body: the text after the header, stripped.
    """

    file: str
    values: dict[str, Value]
    body: str
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)

    def at(self, key: str) -> At:
        """Return the place of a key's value."""
        value = self.values[key]
        return At(self.file, value.line, value.column)


class BrokenYaml(DefinitionError):
    """The header is not YAML; what was meant may still be plain."""


class StrictFence(BaseHandler):
    """Splits the fence and loads the header; every refusal names its place."""

    def __init__(self, file: str) -> None:
        super().__init__(fm_boundary=FENCE, start_delimiter="---", end_delimiter="---")
        self._file = file
        self.first_line = 1

    def detect(self, text: str) -> bool:
        """Tell whether the text begins with a fence."""
        return text.lstrip("\n").partition("\n")[0].rstrip() == "---"

    def split(self, text: str) -> tuple[str, str]:
        """Return header and body.

        Raises:
            DefinitionError: the fence is never closed.
        """
        lines = text.split("\n")
        opening = next(number for number, line in enumerate(lines) if line.rstrip() == "---")
        self.first_line = opening + 2
        for number in range(opening + 1, len(lines)):
            if lines[number].rstrip() == "---":
                return "\n".join(lines[opening + 1 : number]), "\n".join(lines[number + 1 :])
        raise DefinitionError(
            "the header that opens here is never closed by '---'",
            at=At(self._file, opening + 1, 1),
        )

    def load(self, fm: str, **_: object) -> dict[str, Any]:
        """Return the header's top level; keys map to ``Value``."""
        return {"header": _Reader(self._file, self.first_line).read(fm)}


def parse(data: bytes, file: str) -> Header | None:
    """Read a markdown file with a header.

    Args:
        data: the file's bytes.
        file: its name, for error messages.

    Returns:
        The header and body; None for a file without a header.

    Raises:
        DefinitionError: it is too large, not UTF-8, or its header is broken.
    """
    text = decoded(data, file)
    handler = StrictFence(file)
    if not handler.detect(text):
        return None
    header, body = handler.split(text)
    found = handler.load(header)["header"]
    return Header(file=file, values=found[0], keys=found[1], body=body.strip())


def read_header(
    text: str, file: str, *, first_line: int, indent: int = 0
) -> tuple[dict[str, Value], dict[str, tuple[int, int]]]:
    """Read the YAML between two fences.

    Args:
        text: the YAML.
        file: the file's name, for error messages.
        first_line: the number of its first line in the file.
        indent: characters that were taken off every line.

    Returns:
        Each key's value, and each key's line and column.

    Raises:
        BrokenYaml: it is not YAML; it may have been meant as text.
        DefinitionError: it is YAML of a kind that is never accepted.
    """
    return _Reader(file, first_line, indent).read(text)


def decoded(data: bytes, file: str) -> str:
    """Return a file's text, without a byte order mark, its line ends as LF.

    Raises:
        DefinitionError: it is too large, not UTF-8, or holds a NUL.
    """
    if len(data) > SIZE_LIMIT:
        raise DefinitionError(f"the file is larger than {SIZE_LIMIT} bytes", at=At(file))
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        raise DefinitionError("this byte is not UTF-8", at=At(file, line, column)) from None
    if "\0" in text:
        before = text[: text.index("\0")].encode()
        line = before.count(b"\n") + 1
        raise DefinitionError(
            "a NUL character", at=At(file, line, len(before) - before.rfind(b"\n"))
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


class _Reader:
    """Builds values from YAML's event stream, where nothing is resolved behind our back."""

    def __init__(self, file: str, first_line: int, indent: int = 0) -> None:
        self._file = file
        self._first_line = first_line
        self._indent = indent

    def read(self, text: str) -> tuple[dict[str, Value], dict[str, tuple[int, int]]]:
        events = self._events(text)
        found: tuple[dict[str, Value], dict[str, tuple[int, int]]] = ({}, {})
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._refusal("a second document begins here", event.start_mark)
            elif isinstance(event, yaml.MappingStartEvent):
                self._refuse_tricks(event)
                found = self._mapping(events, 1)
            elif isinstance(event, yaml.NodeEvent):
                raise self._refusal(
                    "the header is not a mapping of keys to values", event.start_mark
                )
        return found

    def _events(self, text: str) -> Iterator[Any]:
        """Yield events one by one, so that a bomb is refused where it begins."""
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            yield from yaml.parse(text, Loader=loader)
        except yaml.MarkedYAMLError as error:
            at = self._at(error.problem_mark or error.context_mark)
            raise BrokenYaml(f"not valid YAML: {error.problem or error.context}", at=at) from None
        except (yaml.YAMLError, ValueError) as error:
            raise BrokenYaml(f"not valid YAML: {error}", at=self._at(None)) from None

    def _refusal(self, message: str, mark: Any) -> DefinitionError:
        return DefinitionError(message, at=self._at(mark))

    def _at(self, mark: Any) -> At:
        if mark is None:
            return At(self._file, self._first_line)
        column = mark.column + 1 + self._indent
        return At(self._file, mark.line + self._first_line, column)

    def _refuse_tricks(self, event: Any) -> None:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise self._refusal("anchors and aliases are not allowed here", event.start_mark)
        if getattr(event, "tag", None):
            raise self._refusal("tags are not allowed here", event.start_mark)

    def _mapping(
        self, events: Iterator[Any], depth: int
    ) -> tuple[dict[str, Value], dict[str, tuple[int, int]]]:
        values: dict[str, Value] = {}
        places: dict[str, tuple[int, int]] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            self._refuse_tricks(event)
            if not isinstance(event, yaml.ScalarEvent):
                raise self._refusal("a key must be text", event.start_mark)
            if event.value in values:
                raise self._refusal(f"{event.value!r} is given twice", event.start_mark)
            mark: Any = event.start_mark
            place = self._at(mark)
            places[event.value] = (place.line, place.column)
            values[event.value] = self._value(next(events), events, depth + 1)
        return values, places

    def _value(self, event: Any, events: Iterator[Any], depth: int) -> Value:
        if depth > DEPTH_LIMIT:
            raise self._refusal(f"nested deeper than {DEPTH_LIMIT} levels", event.start_mark)
        self._refuse_tricks(event)
        place = self._at(event.start_mark)
        line, column = place.line, place.column
        if isinstance(event, yaml.ScalarEvent):
            plain = event.implicit[0]
            return Value(None if plain and event.value in NULLS else event.value, line, column)
        if isinstance(event, yaml.MappingStartEvent):
            return Value(self._mapping(events, depth)[0], line, column)
        items: list[Value] = []
        for one in events:
            if isinstance(one, yaml.SequenceEndEvent):
                break
            items.append(self._value(one, events, depth + 1))
        return Value(items, line, column)
