"""The gate against unfinished work: no marks of what is to do, no stubs, in added lines."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.gates.aside import aside
from orchestrator.gates.comments import SYNTAXES, comments, first_line, python_comments, syntax_of
from orchestrator.gates.findings import (
    TOO_LONG,
    Finding,
    Reading,
    new_lines,
    rewritten_lines,
    shown,
    verdict_of_reading,
)
from orchestrator.gates.paths import ending, is_prose, is_test, is_vendored
from orchestrator.gates.pysource import definitions, parsed, source_of
from orchestrator.gates.stubs import UNREADABLE, Stub, plain_stub, stubs
from orchestrator.judgesettings import GateWaiver
from orchestrator.ports import Change
from orchestrator.records import FileChange, Verdict

MARK = re.compile(
    r"(?<![\w\"'`<-])(?:TODO|FIXME)(?![\w\"'`>-])"
    r"|(?:^\W*|\W@)(?:XXX|HACK)(?![\w\"'`-])|(?<![\w\"'`-])(?:XXX|HACK)[:(]"
    r"|^\W*(?:(?i:todo|fixme))\s?[:(]"
)
COMMENT = re.compile(r"^.*?(?=//|#|--|/\*)")
LATER = re.compile(
    r"(?i)\b(?:your code here|code goes here|logic goes here|implementation goes here"
    r"|implement (?:me|this)\b|in a real (?:implementation|application|app|system)"
    r"|(?:placeholder|stub|dummy) implementation|rest of (?:the )?(?:code|implementation)"
    r"|existing code (?:here|remains|unchanged))"
)


class UnfinishedGate:
    """Finds marks of unfinished work and stubs in lines that the change adds.

    Args:
        waivers: what a person lets pass.
    """

    name = "unfinished"

    def __init__(self, *, waivers: Sequence[GateWaiver] = ()) -> None:
        self._waivers = waivers

    async def judge(self, change: Change) -> Verdict:
        """Read the added lines of all source files."""
        changes = await change.changes()
        now = await change.read(*(one.path for one in changes if _is_judged(one)))
        gone = [one.path for one in changes if one.state != "added"]
        before = await change.read_base(*(path for path in gone if ending(path) == "py"))
        reading = await aside(lambda: _read(changes, now, before), changes, now, before)
        return verdict_of_reading(self.name, change, reading, self._waivers)


def _is_judged(change: FileChange) -> bool:
    return change.mode.startswith("100") and not is_prose(change.path) and change.state != "removed"


def _read(
    changes: Sequence[FileChange], now: Mapping[str, bytes], before: Mapping[str, bytes]
) -> Reading:
    findings: list[Finding] = []
    remarks: list[str] = []
    old = rewritten_lines(changes)
    known = _known_stubs(before)
    fresh, vendored, seen = new_lines(changes), 0, 0
    for change in filter(_is_judged, changes):
        path, lines = change.path, dict(fresh[change.path])
        source = source_of(now.get(path, b""))
        text = source.text
        if is_vendored(path):
            vendored += 1
        elif ending(path) != "py" and syntax_of(path, first_line(text)) is None:
            continue
        elif change.cut or (change.added and not text):
            findings.append(Finding(path, 0, TOO_LONG, person=True))
        elif lines:
            seen += 1
            if ending(path) == "py" and source.odd:
                findings.append(Finding(path, 0, source.odd))
            elif ending(path) == "py":
                found = list(_python(path, text, lines, known, remarks))
                findings += _but_rewritten(found, old[path])
            else:
                findings += _but_rewritten(list(_other(path, text, lines)), old[path])
    if vendored:
        remarks.append(f"{vendored} vendored files were not judged")
    clean = f"nothing unfinished in the added lines of {seen} source files"
    return Reading(clean, sorted(findings, key=lambda one: (one.path, one.line)), remarks)


def _known_stubs(before: Mapping[str, bytes]) -> set[tuple[str, str]]:
    """Return the stubs that were there before, so that they may be moved."""
    known: set[tuple[str, str]] = set()
    for path, data in before.items():
        text = source_of(data).text
        tree = parsed(text)
        if tree is not None:
            said = dict(python_comments(text) or ())
            known |= {(one.name, one.what) for one in stubs(tree, said, test=is_test(path))}
    return known


def _python(
    path: str,
    text: str,
    lines: Mapping[int, str],
    known: set[tuple[str, str]],
    remarks: list[str],
) -> Iterator[Finding]:
    tree, said = parsed(text), python_comments(text)
    if tree is None or said is None:
        remarks.append(f"{shown(path)} could not be parsed, and was judged line by line")
        yield from _marks(path, comments(text, SYNTAXES["hash"]), lines)
        if not is_test(path):
            for number, line in lines.items():
                if UNREADABLE.match(line):
                    yield Finding(path, number, "a stub")
        return
    yield from _marks(path, [*said, *_docstrings(tree)], lines)
    for stub in stubs(tree, dict(said), test=is_test(path)):
        if (stub.name, stub.what) not in known and _is_new(stub, lines):
            yield Finding(path, stub.line, stub.what)


def _is_new(stub: Stub, lines: Mapping[int, str]) -> bool:
    return any(line in lines for line in stub.lines)


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the lines of docstrings that begin with a mark and a colon."""
    for node in (tree, *(one.node for one in definitions(tree))):
        first = node.body[0] if node.body else None
        if not isinstance(first, ast.Expr) or not isinstance(first.value, ast.Constant):
            continue
        if isinstance(first.value.value, str):
            for number, line in enumerate(first.value.value.split("\n"), first.lineno):
                if re.match(r"\s*(?:TODO|FIXME|XXX|HACK)\b.{0,60}:", line):
                    yield number, line.strip()


def _other(path: str, text: str, lines: Mapping[int, str]) -> Iterator[Finding]:
    syntax = syntax_of(path, first_line(text))
    if syntax is not None:
        yield from _marks(path, comments(text, syntax), lines)
    if not is_test(path):
        for number, line in lines.items():
            what = plain_stub(path, line)
            if what:
                yield Finding(path, number, what)


def _marks(
    path: str, said: Sequence[tuple[int, str]], lines: Mapping[int, str]
) -> Iterator[Finding]:
    for number, text in said:
        what = _mark(text) if number in lines else ""
        if what:
            yield Finding(path, number, what)


def _mark(text: str) -> str:
    """Return what a comment says is to do, or nothing."""
    mark = MARK.search(text)
    if mark:
        word = re.sub(r"\W", "", mark[0]).upper()
        return f"a comment with {word}"
    return "a comment that leaves work for later" if LATER.search(text) else ""


def _but_rewritten(found: list[Finding], old: Sequence[str]) -> list[Finding]:
    """Leave out as many marks as stood in lines that were edited: those are old."""
    spare = Counter(_mark(COMMENT.sub("", line)) for line in old)
    kept = []
    for one in found:
        if spare[one.what] > 0:
            spare[one.what] -= 1
        else:
            kept.append(one)
    return kept
