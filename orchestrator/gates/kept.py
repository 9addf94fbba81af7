"""The gate that keeps the checks: tests that assert no less, and no rule that is made quiet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

from orchestrator.gates.aside import aside
from orchestrator.gates.asserted import is_counted
from orchestrator.gates.checksettings import edited, is_settings
from orchestrator.gates.comments import (
    comments,
    first_line,
    python_code,
    python_comments,
    syntax_of,
    without_comments,
)
from orchestrator.gates.findings import (
    TOO_LONG,
    Finding,
    Reading,
    new_lines,
    rewritten_lines,
    verdict_of_reading,
)
from orchestrator.gates.lenience import hook_in, lowered, skip_in, suppressions
from orchestrator.gates.paths import ending, is_prose, is_test, is_vendored
from orchestrator.gates.pysource import source_of
from orchestrator.gates.weakened import Before, Weakened
from orchestrator.judgesettings import GateWaiver
from orchestrator.ports import Change
from orchestrator.records import FileChange, Verdict
from orchestrator.values import frozen


@frozen
class Seen:
    """All that is looked at: the changes, and the files before and after."""

    changes: Sequence[FileChange]
    before: Mapping[str, str]
    now: Mapping[str, str]
    had_tests: bool
    remarks: list[str] = field(default_factory=list)


class KeptChecksGate:
    """Finds what a change takes away from the tests and from the other checks.

    Args:
        suppressions: kinds that may be added where they name a rule.
        waivers: what a person lets pass.
    """

    name = "tests-kept"

    def __init__(
        self, *, suppressions: Sequence[str] = (), waivers: Sequence[GateWaiver] = ()
    ) -> None:
        self._allowed = frozenset(f"{one}, with a rule" for one in suppressions)
        self._waivers = waivers

    async def judge(self, change: Change) -> Verdict:
        """Compare tests, suppressions, thresholds and settings with the base."""
        changes = await change.changes()
        paths = [one.path for one in changes if _is_looked_at(one)]
        before, now = await change.read_base(*paths), await change.read(*paths)
        had_tests = any(is_test(name) for name in await change.base_names())
        seen = Seen(changes, _texts(before), _texts(now), had_tests)
        reading = await aside(lambda: _read(seen, self._allowed), changes, seen.before, seen.now)
        return verdict_of_reading(self.name, change, reading, self._waivers)


def _texts(files: Mapping[str, bytes]) -> dict[str, str]:
    return {path: source_of(data).text for path, data in files.items()}


def _is_looked_at(change: FileChange) -> bool:
    path = change.path
    return is_settings(path) or (
        not is_prose(path) and not is_vendored(path) and syntax_of(path) is not None
    )


def _read(seen: Seen, allowed: frozenset[str]) -> Reading:
    weakened = Weakened(Before(seen.before, seen.now), seen.changes)
    findings = [*weakened.findings(), *_in_settings(seen)]
    fresh, old = new_lines(seen.changes), rewritten_lines(seen.changes)
    for change in filter(_is_looked_at, seen.changes):
        if change.cut and not is_counted(change.path):
            findings.append(Finding(change.path, 0, TOO_LONG, person=True))
        findings += [Finding(change.path, *one) for one in lowered(change)]
        if change.state != "removed":
            lines = dict(fresh[change.path])
            spare = _spare(change.path, old[change.path])
            for key, one in _in_lines(seen, weakened, change, lines):
                # A line that had the mark already may be edited.
                if spare[key] > 0:
                    spare[key] -= 1
                elif key not in allowed:
                    findings.append(one)
    clean = f"no test and no check is weaker; test files compared: {weakened.counted}"
    findings.sort(key=lambda one: (one.path, one.line))
    return Reading(clean, findings, [*seen.remarks, *weakened.remarks])


def _in_settings(seen: Seen) -> Iterator[Finding]:
    for change in seen.changes:
        path = change.path
        if not is_settings(path):
            continue
        before, now = seen.before.get(path), seen.now.get(path)
        first = not seen.had_tests and not any(edited(path, before, ""))
        for what in edited(path, before, now):
            if first:
                seen.remarks.append("the first settings of checks were written")
                break
            yield Finding(path, 0, f"{what} was edited: a person must agree", person=True)


def _spare(path: str, old: Sequence[str]) -> Counter[str]:
    """Count the marks in lines that are there no more, so that as many may stand elsewhere."""
    spare: Counter[str] = Counter()
    for line in old:
        spare.update(f"{one.kind}, with a rule" for one in suppressions(path, line, line))
        spare.update(one.kind for one in suppressions(path, line, line) if not one.rule)
        spare[skip_in(path, line, conditions=True)] += 1
    return spare


def _in_lines(
    seen: Seen, weakened: Weakened, change: FileChange, lines: Mapping[int, str]
) -> Iterator[tuple[str, Finding]]:
    """Yield what each new line makes more lenient, and the mark by which it is known."""
    path, text = change.path, seen.now.get(change.path, "")
    said, code = _apart(path, text)
    for number in lines:
        comment = said.get(number, "")
        plain = code[number - 1] if number <= len(code) else ""
        for one in suppressions(path, comment, plain):
            key = f"{one.kind}, with a rule" if one.rule else one.kind
            yield key, Finding(path, number, f"a rule is told to be quiet: {one.kind}")
        if is_test(path) or is_counted(path):
            conditions = change.state == "changed" and not weakened.is_new_test(path, number)
            what = skip_in(path, plain, conditions=conditions)
            if what:
                yield what, Finding(path, number, what)
        if hook_in(path, plain):
            what = "decides which tests run, or how they end: a person must agree"
            yield "hook", Finding(path, number, what, person=True)


def _apart(path: str, text: str) -> tuple[dict[int, str], list[str]]:
    """Return a file's comments by line, and its lines without them."""
    syntax = syntax_of(path, first_line(text))
    if syntax is None:
        return {}, text.split("\n")
    if ending(path) == "py":
        told, code = python_comments(text), python_code(text)
        if told is not None and code is not None:
            return dict(told), code
    return dict(comments(text, syntax)), without_comments(text, syntax).split("\n")
