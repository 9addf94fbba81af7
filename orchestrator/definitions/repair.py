"""A header that is not YAML, read as the text that its author meant; always the same way.

A key that could widen what an agent may do is never guessed: it is YAML, or the file is refused.
"""

from __future__ import annotations

import re
from collections.abc import Container

from orchestrator.definitions.fence import LISTS, Fenced
from orchestrator.definitions.known import DOCUMENTED, FOREIGN, TEXT_KEYS
from orchestrator.definitions.remark import Remark
from orchestrator.errors import At, DefinitionError
from orchestrator.header import BrokenYaml, Value, read_header
from orchestrator.values import frozen

KEY = re.compile(r"([A-Za-z][\w-]*):(?=\s|$)")
KNOWN = frozenset({*DOCUMENTED, *FOREIGN})
LISTED = re.compile(r"-\s+(.*)")
NARROWS = re.compile(r"""(["']?)(?P<key>tools|disallowedTools)\1\s*:(?=\s|$)""")
INDENTED = re.compile(rf"\s*{NARROWS.pattern}")
TEXT, LOOSE = -1, -2


@frozen
class Entry:
    """A key with its lines, as they stand in the file; ``line`` is the key's own."""

    key: str
    lines: tuple[str, ...]
    line: int


@frozen
class Repaired:
    """What a broken header was taken to mean."""

    values: dict[str, Value]
    keys: dict[str, tuple[int, int]]
    remarks: tuple[Remark, ...]


def repaired(text: str, file: str, *, first_line: int, indent: int, broken: BrokenYaml) -> Repaired:
    """Read a header that is not YAML.

    Args:
        text: the header.
        file: the file's name, for error messages.
        first_line: the number of its first line in the file.
        indent: characters that were taken off every line.
        broken: what the YAML reader said of it.

    Raises:
        DefinitionError: it cannot be read without guessing at what matters.
    """
    values: dict[str, Value] = {}
    keys: dict[str, tuple[int, int]] = {}
    remarks: list[Remark] = []
    for entry in entries(text, first_line, broken):
        if entry.key in values:
            at = At(file, entry.line, indent + 1)
            raise DefinitionError(f"{entry.key!r} is given twice", at=at)
        keys[entry.key] = (entry.line, indent + 1)
        values[entry.key], remark = _value(entry, file, indent)
        remarks += [remark] if remark else []
    if not remarks:
        place = broken.at or At(file)
        told = f"{str(broken).removeprefix(f'{place}: ')}; read key by key"
        remarks.append(Remark("yaml-repaired", place.line, place.column, told))
    return Repaired(values, keys, tuple(remarks))


def entries(text: str, first_line: int, broken: BrokenYaml) -> list[Entry]:
    """Cut a header into its keys.

    A description may hold lines that look like keys (``user: ...`` in a dialogue): while it is
    read only a key that agent files are known to have begins the next entry.

    Raises:
        BrokenYaml: it does not begin with a key.
    """
    found: list[tuple[str, list[str], int]] = []
    for number, line in enumerate(text.split("\n")):
        match = KEY.match(line)
        speaking = bool(found) and found[-1][0] == "description"
        if match and (match.group(1) in KNOWN or not speaking):
            found.append((match.group(1), [line], first_line + number))
        elif found:
            found[-1][1].append(line)
        elif line.strip() and not line.lstrip().startswith("#"):
            raise broken
    return [Entry(key, tuple(lines), line) for key, lines, line in found]


def _value(entry: Entry, file: str, indent: int) -> tuple[Value, Remark | None]:
    text = "\n".join(entry.lines)
    try:
        return _strict(text, entry, file, indent), None
    except BrokenYaml as broken:
        if "\t" in text:
            try:
                spaced = re.sub(r"^\t+", "  ", text, flags=re.MULTILINE)
                value = _strict(spaced, entry, file, indent)
            except BrokenYaml:
                pass
            else:
                told = f"{entry.key}: indented by tabs, which YAML does not allow"
                return value, Remark("tabs", entry.line, indent + 1, told)
        if entry.key not in TEXT_KEYS:
            raise
        return _literal(entry, broken, indent)


def refuse_lost(found: Fenced, file: str, known: Container[str], *, strict: bool) -> None:
    """Refuse a file in which a line that narrows the tools was read as something else.

    Args:
        found: the file's two parts.
        file: its name, for error messages.
        known: the keys that were found.
        strict: whether the header is read as YAML as it stands.

    Raises:
        DefinitionError: such a line lies in a quoted text, behind a fence, or in another value.
    """
    after = found.body.split("\n")
    end = next((number for number, line in enumerate(after) if line.rstrip() == "---"), 0)
    parts = [
        (found.header.split("\n"), found.first_line, NARROWS if strict else INDENTED),
        (after[:end], found.body_line, NARROWS),
    ]
    for lines, first, pattern in parts:
        for number, line in enumerate(lines):
            match = pattern.match(line)
            if match and match.group("key") not in known:
                raise DefinitionError(
                    f"{match.group('key')!r} stands here where it is not read as a key",
                    at=At(file, first + number, found.indent + 1),
                    hint="put it in the header, on a line of its own, not indented",
                )


def _strict(text: str, entry: Entry, file: str, indent: int) -> Value:
    values, _ = read_header(text, file, first_line=entry.line, indent=indent)
    return values[entry.key]


def _literal(entry: Entry, broken: BrokenYaml, indent: int) -> tuple[Value, Remark]:
    """Take an entry's text as it stands; a list that is not YAML keeps its items."""
    first = entry.lines[0][len(entry.key) + 1 :]
    column = indent + len(entry.key) + 2 + (len(first) - len(first.lstrip()))
    at = broken.at or At("", entry.line, column)
    told = f"{entry.key}: {str(broken).partition(': ')[2]}; taken as the text that it is"
    remark = Remark("yaml-repaired", at.line or entry.line, at.column or column, told)
    more = [line for line in entry.lines[1:] if line.strip()]
    following = [line.strip() for line in more]
    indents = {_list_indent(line) for line in more}
    loose = len(indents) > 1 or LOOSE in indents or (bool(first.strip()) and 0 in indents)
    if entry.key in LISTS and loose:
        raise broken
    if entry.key in LISTS and not first.strip() and all(map(LISTED.fullmatch, following)):
        items = [Value(_unquoted(one[1:].strip()), entry.line, column) for one in following]
        return Value(items, entry.line, column), remark
    text = "\n".join([first.strip(), *(line.strip() for line in entry.lines[1:])]).strip()
    return Value(_unquoted(text), entry.line, column), remark


def _list_indent(line: str) -> int:
    """Return how far an item is indented; LOOSE for a line that need not be of the list."""
    indent = len(line) - len(line.lstrip())
    if LISTED.fullmatch(line.strip()):
        return indent
    return TEXT if indent else LOOSE


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text
