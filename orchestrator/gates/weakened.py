"""Tests that assert less than they did on the base, file by file and test by test."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.gates.asserted import Tested, counts, is_counted, is_trivial, python_tests
from orchestrator.gates.findings import Finding, shown
from orchestrator.gates.paths import ending, is_test, name_of, runs_as_test
from orchestrator.gates.pysource import definitions, parsed
from orchestrator.records import FileChange
from orchestrator.values import frozen


@frozen
class Before:
    """The text of every changed source file, on the base and now."""

    base: Mapping[str, str]
    now: Mapping[str, str]


class Weakened:
    """Compares the tests of a change with those of its base.

    Attributes:
        counted: how many files of tests were compared.
        remarks: what was compared less closely.
    """

    def __init__(self, files: Before, changes: Sequence[FileChange]) -> None:
        self.counted = 0
        self.remarks: list[str] = []
        self._files = files
        self._changes = changes
        self._old = self._python(files.base)
        self._new = self._python(files.now)
        self._gone = self._removed_names()

    def findings(self) -> Iterator[Finding]:
        """Yield every test that is gone or asserts less, and every new assert that is empty."""
        for change in self._changes:
            path = change.path
            if not is_counted(path):
                continue
            self.counted += 1
            old = self._files.base.get(path)
            if not old and (change.removed or change.cut):
                yield Finding(path, 0, "its tests on the base cannot be read", person=True)
            elif old is not None and path in self._old:
                yield from self._python_file(path)
            elif old is not None:
                yield from self._plain_file(path, old)
            if change.state != "removed":
                yield from self._empty(change)

    def is_new_test(self, path: str, line: int) -> bool:
        """Tell whether a line stands in a test that the base does not have."""
        old = self._old.get(path, {})
        now = self._new.get(path, {})
        return any(line in one.lines for one in now.values() if one.name not in old)

    def _python(self, files: Mapping[str, str]) -> dict[str, dict[str, Tested]]:
        found = {}
        for path, text in files.items():
            if ending(path) == "py" and runs_as_test(path):
                tree = parsed(text)
                if tree is not None:
                    found[path] = python_tests(tree)
        return found

    def _python_file(self, path: str) -> Iterator[Finding]:
        if path in self._files.now and path not in self._new:
            yield Finding(path, 0, "it cannot be parsed, so its tests cannot be counted")
            return
        now = self._new.get(path, {})
        for old in self._old[path].values():
            same = now.get(old.name) or self._moved(old)
            if same is None:
                person = bool(old.words & self._gone)
                why = ", and so is what it tests: a person must agree" if person else ""
                yield Finding(path, 0, f"{old.name}() is gone{why}", person)
            elif same.asserts < old.asserts:
                line = same.lines.start if old.name in now else 0
                what = f"{old.name}() asserts {same.asserts} times instead of {old.asserts}"
                yield Finding(path, line, what)

    def _moved(self, old: Tested) -> Tested | None:
        """Return the test in a changed file that the base does not have, and that is this one."""
        word = old.name.rpartition(".")[2]
        for path, tests in self._new.items():
            before = self._old.get(path, {})
            for one in tests.values():
                if one.name.rpartition(".")[2] == word and one.name not in before:
                    return one
        return None

    def _plain_file(self, path: str, text: str) -> Iterator[Finding]:
        if ending(path) == "py":
            self.remarks.append(f"{shown(path)} could not be parsed: its asserts were counted")
        old = counts(path, text)
        place = path if path in self._files.now else self._renamed(path)
        if place is None:
            if old.tests:
                yield Finding(path, 0, f"its {old.tests} tests are gone")
            return
        now = counts(place, self._files.now[place])
        if now.tests < old.tests:
            yield Finding(path, 0, f"it has {now.tests} tests instead of {old.tests}")
        elif now.asserts < old.asserts:
            yield Finding(path, 0, f"it asserts {now.asserts} times instead of {old.asserts}")

    def _renamed(self, path: str) -> str | None:
        added = [one.path for one in self._changes if one.state == "added" and one.path != path]
        same = [one for one in added if name_of(one) == name_of(path) and one in self._files.now]
        return same[0] if same else None

    def _removed_names(self) -> set[str]:
        """Return the names that the change takes out of what is tested."""
        old, now = (_defined(files) for files in (self._files.base, self._files.now))
        return old - now

    def _empty(self, change: FileChange) -> Iterator[Finding]:
        if ending(change.path) != "py":
            return
        tree = parsed(self._files.now.get(change.path, ""))
        added = {number for number, _ in change.added}
        for node in ast.walk(tree) if tree is not None else ():
            if not isinstance(node, ast.Assert | ast.Call) or node.lineno not in added:
                continue
            if is_trivial(node):
                yield Finding(change.path, node.lineno, "an assert that always holds")


def _defined(files: Mapping[str, str]) -> set[str]:
    found: set[str] = set()
    for path, text in files.items():
        tree = parsed(text) if ending(path) == "py" and not is_test(path) else None
        if tree is not None:
            found |= {one.node.name for one in definitions(tree)}
    return found
