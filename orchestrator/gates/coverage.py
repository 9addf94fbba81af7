"""Coverage of changed lines: how much of the Python that a change adds is executed by the tests."""

from __future__ import annotations

import ast
import configparser
import fnmatch
import json
import re
import secrets
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

from orchestrator.gates.configured import settings_of_base, told_of
from orchestrator.gates.detect import not_executed, tests_of
from orchestrator.gates.production import is_code, is_text, parsed
from orchestrator.gates.reports import Places
from orchestrator.gates.suites import TestCommand
from orchestrator.ports import Change, CommandRun
from orchestrator.records import Conditions, FileChange, Verdict, VerdictState
from orchestrator.values import frozen

PRAGMA = re.compile(r"#\s*pragma[:\s]?\s*no\s*cover", re.IGNORECASE)
STARTS = re.compile(r"(?:\bpython3?\s+-m\s+)?(?<![\w./-])(?:pytest|py\.test)(?![\w.=-])")
UNDER = "python3 -m coverage run -m"
FULL = 100.0
TOLD = 60


@frozen
class Lines:
    """The changed lines of one file that count.

    Attributes:
        covered: those that were executed.
        uncovered: those that were not, or that the change itself hides.
        why: what people should know of the file.
    """

    path: str
    covered: frozenset[int]
    uncovered: frozenset[int]
    why: str = ""


class CoverageGate:
    """Runs the tests under coverage.py, and judges the lines that the change adds.

    Args:
        above: the percentage that has to be exceeded; 100 asks for every line.
        commands: how the tests are run; empty means that it is told from the files.
        timeout_s: seconds after which tests that are told from the files are ended.
    """

    name = "coverage"

    def __init__(
        self,
        *,
        above: float,
        commands: Sequence[TestCommand] = (),
        timeout_s: float = 900.0,
        token: str = "",
    ) -> None:
        self._above = above
        self._commands = tuple(commands)
        self._timeout_s = timeout_s
        self._token = token or secrets.token_hex(16)

    async def judge(self, change: Change) -> Verdict:
        """Measure, and count."""
        code = [
            one
            for one in await change.changes()
            if one.path.endswith(".py") and is_code(one.path) and one.state != "removed"
        ]
        if not any(one.added or one.cut for one in code):
            return self._plain(change, "passed", "no line of Python code is added")
        cut = [one.path for one in code if one.cut]
        if cut:
            return self._plain(change, "failed", f"too many lines to be counted: {cut[0]}")
        if not await change.available("python3 -c 'import coverage'"):
            return not_executed(self.name, change, "coverage.py is not installed inside")
        found = self._commands or (await tests_of(change, self._timeout_s),)
        for tests in found:
            if isinstance(tests, str):
                return not_executed(self.name, change, tests)
            command = await self._measuring(change, tests)
            if command:
                return await self._measured(change, tests, command, code)
        return not_executed(self.name, change, "its tests cannot be told to measure: no pytest")

    def _plain(self, change: Change, state: VerdictState, reason: str) -> Verdict:
        return Verdict(
            gate=self.name, state=state, reason=reason, commit=change.commit, tree=change.tree
        )

    async def _measuring(self, change: Change, tests: TestCommand) -> str:
        """Return the command that runs tests and leaves a report; empty where there is none."""
        if measures_itself(await change.files()):
            return tests.command if STARTS.search(tests.command) else ""
        under = STARTS.sub(f"{UNDER} pytest", tests.command, count=1)
        if under == tests.command:
            under = tests.command.replace("python3 -m unittest", f"{UNDER} unittest")
            # Several runs in one command leave several files.
            under = under.replace("coverage run -m", "coverage run --parallel-mode -m")
        if under == tests.command:
            return ""
        return (
            f"{under}; status=$?; python3 -m coverage combine --quiet --append >/dev/null 2>&1; "
            "python3 -m coverage json --quiet --ignore-errors --fail-under=0 "
            f'-o "$TMPDIR/{self._token}.json"; exit $status'
        )

    async def _measured(
        self, change: Change, tests: TestCommand, command: str, code: Sequence[FileChange]
    ) -> Verdict:
        taken = await settings_of_base(change, tests.command)
        report = f"{self._token}.json"
        environment = [("COVERAGE_FILE", f"{{tmp}}/{self._token}.data")]
        if command == tests.command:
            asked = f"--cov-report=json:{{tmp}}/{report} --cov-fail-under=0"
            environment.append(("PYTEST_ADDOPTS", asked))
        conditions = Conditions(taken, tuple(environment), (report,))
        done = await change.run(command, tests.timeout_s, conditions)
        state, reason, details = await self._judged(change, done, done.reports.get(report), code)
        return Verdict(
            gate=self.name,
            state=state,
            reason=reason + told_of(taken),
            details=details,
            argv=done.argv,
            exit_status=done.exit_status,
            duration_s=round(done.duration_s, 3),
            commit=change.commit,
            tree=change.tree,
        )

    async def _judged(
        self, change: Change, done: CommandRun, data: bytes | None, code: Sequence[FileChange]
    ) -> tuple[VerdictState, str, str]:
        if done.exit_status is None:
            return "failed", "ended because it took too long", done.output
        if done.exit_status:
            return "failed", f"the tests fail: exit status {done.exit_status}", done.output
        measured = read_coverage(data)
        if measured is None:
            return "failed", "no coverage report was left", done.output
        places = Places(await change.names())
        by_path = {places.of(path): lines for path, lines in measured.items()}
        omitted = omitted_by(await change.files())
        sources = await change.read(*(one.path for one in code))
        counted = [
            lines_of(one, sources.get(one.path, b""), by_path.get(one.path))
            for one in code
            if not any(_matches(one.path, pattern) for pattern in omitted)
        ]
        return judged(counted, self._above)


def judged(counted: Sequence[Lines], above: float) -> tuple[VerdictState, str, str]:
    """Judge what was counted; the percentage has to be above the bar, not at it."""
    covered = sum(len(one.covered) for one in counted)
    total = covered + sum(len(one.uncovered) for one in counted)
    if not total:
        return "passed", "no line that can be executed is added", ""
    passes = covered == total or 100 * covered > above * total
    reason = f"{100 * covered / total:.1f} % of {total} changed lines are covered"
    bar = f", not more than {above:g} %" if not passes else ""
    told = [
        f"{one.path}: {ranges(one.uncovered)}{f' ({one.why})' if one.why else ''}"
        for one in counted
        if one.uncovered
    ]
    details = "\n".join(["not covered:", *told[:TOLD]]) if told else ""
    return "passed" if passes else "failed", reason + bar, details


@frozen
class Measured:
    """What coverage.py says of one file."""

    executed: frozenset[int]
    missing: frozenset[int]
    excluded: frozenset[int]


def read_coverage(data: bytes | None) -> Mapping[str, Measured] | None:
    """Read coverage.py's JSON report; None where it is none."""
    try:
        files = json.loads(data or b"")["files"]
        return {
            str(path): Measured(
                *(frozenset(map(int, one[f"{kind}_lines"]))
                  for kind in ("executed", "missing", "excluded"))
            )
            for path, one in files.items()
        }  # fmt: skip
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def lines_of(change: FileChange, source: bytes, measured: Measured | None) -> Lines:
    """Count the changed lines of one file.

    Args:
        change: what was added.
        source: the file as it is now.
        measured: what coverage.py says of it; None where it says nothing, which counts against it.
    """
    added = {number for number, _ in change.added}
    if measured is None:
        there = frozenset(added & statements(source))
        return Lines(change.path, frozenset(), there, "no test imports it")
    hidden = frozenset(added & _hidden(change, measured))
    covered = frozenset(added & measured.executed) - hidden
    uncovered = frozenset(added & measured.missing) | hidden
    return Lines(change.path, covered, uncovered, "hidden by `no cover`" if hidden else "")


def _hidden(change: FileChange, measured: Measured) -> set[int]:
    """Return the lines that pragmas of the change itself take out of the measure."""
    known = measured.executed | measured.missing
    last = max((*known, *measured.excluded, *(number for number, _ in change.added)), default=0)
    hidden = set()
    for number, text in change.added:
        if not PRAGMA.search(text):
            continue
        hidden.add(number)
        for line in range(number + 1, last + 1):
            if line in known:
                break
            if line in measured.excluded:
                hidden.add(line)
    return hidden


def statements(source: bytes) -> set[int]:
    """Return the lines that statements of a source file begin on; all, where it is not readable."""
    tree = parsed(source)
    if tree is None:
        lines = enumerate(source.splitlines(), 1)
        return {number for number, text in lines if text.strip() and text.strip()[:1] != b"#"}
    nodes = (one for one in ast.walk(tree) if isinstance(one, ast.stmt))
    return {one.lineno for one in nodes if not is_text(one)}


def ranges(numbers: frozenset[int]) -> str:
    """Write line numbers down, runs of them as ``3-7``."""
    ordered = sorted(numbers)
    starts = [ordered[0], *(after for before, after in pairwise(ordered) if after > before + 1)]
    ends = [*(before for before, after in pairwise(ordered) if after > before + 1), ordered[-1]]
    pairs = zip(starts, ends, strict=True)
    return ", ".join(f"{one}" if one == end else f"{one}-{end}" for one, end in pairs)


def is_measured(files: Mapping[str, bytes]) -> bool:
    """Tell whether a repository sets coverage.py up, by the settings files of its base."""
    return bool(_tables(files)) or ".coveragerc" in files or measures_itself(files)


def measures_itself(files: Mapping[str, bytes]) -> bool:
    """Tell whether pytest's own settings turn coverage on."""
    texts = [files.get(name, b"") for name in ("pyproject.toml", "pytest.ini", "tox.ini")]
    texts += [files.get(name, b"") for name in ("setup.cfg", ".pytest.ini", "pytest.toml")]
    return any(re.search(rb"""(?<![\w-])--cov(?:[=\s"']|$)""", text) for text in texts)


def omitted_by(files: Mapping[str, bytes]) -> tuple[str, ...]:
    """Return the patterns of files that the base's settings leave out of the measure."""
    found: list[str] = []
    for table in _tables(files):
        value = table.get("omit", ())
        found += value.replace(",", "\n").split() if isinstance(value, str) else map(str, value)
    return tuple(found)


def _tables(files: Mapping[str, bytes]) -> list[Mapping[str, Sequence[str] | str]]:
    return [*_toml_tables(files.get("pyproject.toml", b"")), *_ini_tables(files)]


def _toml_tables(data: bytes) -> Iterator[Mapping[str, Sequence[str] | str]]:
    try:
        tables = tomllib.loads(data.decode("utf-8", "replace"))["tool"]["coverage"]
        yield {}
        for table in tables.values():
            if isinstance(table, dict):
                yield {
                    name: value for name, value in table.items() if isinstance(value, str | list)
                }
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return


def _ini_tables(files: Mapping[str, bytes]) -> Iterator[Mapping[str, str]]:
    for name, prefix in ((".coveragerc", ""), ("setup.cfg", "coverage:"), ("tox.ini", "coverage:")):
        if name in files:
            yield from _sections(files[name], prefix)


@lru_cache(maxsize=32)
def _sections(data: bytes, prefix: str) -> Sequence[Mapping[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(data.decode("utf-8", "replace"))
    except configparser.Error:
        return ()
    wanted = {f"{prefix}run", f"{prefix}report"}
    return [dict(parser.items(one)) for one in parser.sections() if one in wanted]


def _matches(path: str, pattern: str) -> bool:
    """Tell whether coverage.py's pattern for files means a path."""
    plain = pattern.removeprefix("./")
    whole = f"{plain.rstrip('/')}/*" if plain.endswith("/") else plain
    return any(fnmatch.fnmatchcase(one, whole) for one in (path, f"/workspace/{path}", f"/{path}"))
