"""Where an agent file's header begins and ends, in the forms in which people have them."""

from __future__ import annotations

import re
from dataclasses import replace

from orchestrator.definitions.known import FLAT_KEYS
from orchestrator.definitions.remark import Remark, Skip
from orchestrator.errors import At, DefinitionError
from orchestrator.values import frozen

LONG = re.compile(r"-{4,}\s*")
LOST = re.compile(r"(?<![^\s\"'])(tools|disallowedTools)[\"']?\s*:")
LISTS = frozenset({"tools", "disallowedTools"})
INNER = re.compile(r"(?:^|\s)[A-Za-z][\w-]*:(?=\s|$)")
FLAT = re.compile(r"--- +(?=name:)")


@frozen
class Fenced:
    """A file's two parts.

    Attributes:
        first_line: the number of the header's first line in the file.
        indent: characters that were taken off every line.
        body_line: the number of the body's first line.
    """

    header: str
    body: str
    first_line: int
    indent: int = 0
    remarks: tuple[Remark, ...] = ()
    body_line: int = 0


def fenced(text: str, file: str) -> Fenced:
    """Find the header of an agent file.

    Args:
        text: the file's text, line ends as LF.
        file: its name, for error messages.

    Raises:
        Skip: there is none.
        DefinitionError: it is never closed, or can be read in more than one way.
    """
    lines = text.split("\n")
    opening = next((number for number, line in enumerate(lines) if line.strip()), None)
    if opening is None:
        raise Skip("empty", "the file is empty")
    first = lines[opening]
    if FLAT.match(first):
        return _flattened(first, lines[opening + 1 :], opening, file)
    if first.strip() != "---":
        raise Skip("no-header", "the file has no header: its first line is not '---'")
    remarks = []
    if opening:
        remarks.append(Remark("leading-blank", 1, 1, "blank lines before the header"))
    indent = len(first) - len(first.lstrip(" \t"))
    if indent:
        remarks.append(Remark("indented", opening + 1, 1, "the file is indented as a whole"))
        lines = [_without(line, first[:indent]) for line in lines]
    return _closed(lines, opening, file, Fenced("", "", opening + 2, indent, tuple(remarks)))


def _without(line: str, indent: str) -> str:
    return line.removeprefix(indent) if line.strip() else ""


def _closed(lines: list[str], opening: int, file: str, found: Fenced) -> Fenced:
    following = range(opening + 1, len(lines))
    end = next((number for number in following if lines[number].rstrip() == "---"), None)
    remarks = list(found.remarks)
    if end is None:
        end = next((number for number in following if LONG.fullmatch(lines[number])), None)
        if end is None:
            raise DefinitionError(
                "the header that opens here is never closed by '---'",
                at=At(file, opening + 1, found.indent + 1),
            )
        told = "the header is closed by more than three dashes"
        remarks.append(Remark("odd-fence", end + 1, found.indent + 1, told))
    text = next((at for at in range(end + 1, len(lines)) if lines[at].strip()), end)
    return replace(
        found,
        body_line=text + 1,
        header="\n".join(lines[opening + 1 : end]),
        body="\n".join(lines[end + 1 :]).strip(),
        remarks=tuple(remarks),
    )


def _flattened(line: str, rest: list[str], number: int, file: str) -> Fenced:
    """Undo what an editor did that joined all lines: ``--- name: a description: b --- body``."""
    header, closing, after = line[4:].partition(" --- ")
    if not closing and header.rstrip().endswith(" ---"):
        header, closing, after = header.rstrip().removesuffix(" ---"), " --- ", ""
    at = At(file, number + 1, 1)
    keys = re.compile(rf"(?:^|(?<= ))({'|'.join(map(re.escape, FLAT_KEYS))}):(?= |$)")
    if not closing:
        raise DefinitionError("the header on this line is never closed by ' --- '", at=at)
    more, again, _ = f"{after} ".partition(" --- ")
    if again and keys.search(more):
        raise DefinitionError(
            "the header is on one line, and may end at two places of it",
            at=At(file, number + 1, 1),
            hint="put each key on a line of its own",
        )
    places = list(keys.finditer(header))
    names = [one.group(1) for one in places]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DefinitionError(
            f"the header is on one line, and {twice!r} may begin at two places of it",
            at=At(file, number + 1, 1),
            hint="put each key on a line of its own",
        )
    ends = [one.start() for one in places[1:]] + [len(header)]
    parts = [header[one.start() : end].strip() for one, end in zip(places, ends, strict=True)]
    _refuse_unclear_tools(header, parts, file, number + 1)
    told = "the header is on one line; put each key on a line of its own"
    return Fenced(
        header="\n".join(parts),
        body="\n".join([after, *rest]).strip(),
        first_line=number + 1,
        body_line=number + 1,
        remarks=(Remark("flattened", number + 1, 1, told),),
    )


def _refuse_unclear_tools(header: str, parts: list[str], file: str, line: int) -> None:
    """Refuse a header on one line whose tools are hidden, or hold what may be another key."""
    hint = "put each key on a line of its own"
    keys = {part.partition(":")[0] for part in parts}
    lost = LOST.search(header)
    if lost is not None and lost.group(1) not in keys:
        raise DefinitionError(
            f"the header is on one line, and {lost.group(1)!r} is not plainly a key of it",
            at=At(file, line, 5 + lost.start(1)),
            hint=hint,
        )
    for part in parts:
        key, _, value = part.partition(":")
        if key in LISTS and INNER.search(value):
            raise DefinitionError(
                f"the header is on one line, and it is not plain where {key!r} ends",
                at=At(file, line, 1),
                hint=hint,
            )
