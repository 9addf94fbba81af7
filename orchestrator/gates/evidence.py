"""What the traces of a test run prove: exit status, report, output, and those of the base."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from orchestrator.gates.configured import told_of
from orchestrator.gates.counting import pytest_counts
from orchestrator.gates.reports import Case, Places, TestReport
from orchestrator.gates.suites import Suite, TestCommand
from orchestrator.ports import Change
from orchestrator.records import Counts, FileChange, Verdict, VerdictState

NAMED = 3
"""How many tests are named in one line."""

REACHES_IN = re.compile(
    r"\bdef pytest_\w+|\bpytest_plugins\b|hookimpl|hookwrapper|os\._exit|junit-?_?xml|xmlpath"
    r"|PYTEST_ADDOPTS|ORCHESTRATE_|\b_pytest\b|\bdef load_tests\b"
    r"|unittest\.(?:result|runner)\b"
)
DECLARES = re.compile(
    r"^\s*(?:(?:async\s+)?def\s+test|func\s+Test|#\[(?:\w+::)?test\b"
    r"|(?:it|test)(?:\.\w+)*\s*\()"
)
"""A line that begins a test, in the languages whose runners leave no report."""


def contradiction(suite: Suite, tests: TestCommand, before: Suite | None) -> str:
    """Say why the traces of a run that ended with 0 cannot be true; empty where they can.

    Args:
        suite: the run.
        tests: what was run.
        before: the same on the base.
    """
    reported = before is not None and before.report is not None
    if suite.broken:
        return f"exit status 0, but the report that was left is none: {suite.broken}"
    if suite.report is None:
        if tests.reporter or reported:
            return "exit status 0, but no report was written: something ended the tests early"
        return ""
    counts = suite.report.counts
    if counts.failed:
        return f"exit status 0, but the report names {counts.failed} failed tests"
    said = pytest_counts(suite.done.output) if tests.reporter != "unittest" else None
    if said is not None and (said.passed, said.skipped) != (counts.passed, counts.skipped):
        return (
            f"exit status 0, but the report says {counts.passed} passed and {counts.skipped} "
            f"skipped, the output {said.passed} and {said.skipped}"
        )
    return ""


async def lost(change: Change, before: Suite, now: Suite) -> str:
    """Say which tests ran on the base and did not on the commit, though nothing took them away.

    Args:
        change: what is judged.
        before: the run on the base.
        now: the run on the commit.

    Returns:
        One line; empty where nothing is lost.
    """
    if before.report is not None and now.report is not None:
        return await _lost_by_name(change, before.report, now.report)
    if before.counts is None or now.counts is None:
        return ""
    return _lost_by_number(before.counts, now.counts, await change.changes())


def _lost_by_number(before: Counts, now: Counts, changes: Sequence[FileChange]) -> str:
    gone = max(_declared(changes, "removed") - _declared(changes, "added"), 0)
    missing = before.executed - now.executed
    if missing > gone:
        visible = f", and the change takes away {gone}" if gone else ""
        return f"{now.executed} tests executed, {before.executed} on the base{visible}"
    if now.skipped > before.skipped and missing > 0:
        return f"{now.skipped} tests skipped, {before.skipped} on the base"
    return ""


def _declared(changes: Sequence[FileChange], side: str) -> int:
    lines = (text for one in changes for _, text in getattr(one, side))
    return sum(DECLARES.match(text) is not None for text in lines)


async def _lost_by_name(change: Change, before: TestReport, now: TestReport) -> str:
    names = await change.names()
    places = Places([*names, *await change.base_names()])
    touched = {one.path: one for one in await change.changes()}
    here = set(names)
    files = {places.of(one.file) for one in before.cases} & touched.keys() & here
    texts = await change.read(*sorted(files))
    ran, runs = _executed(before.cases, places), _executed(now.cases, places)
    skipped = {(places.of(one.file), one.function) for one in now.cases if one.ended == "skipped"}
    missing: list[str] = []
    now_skipped: list[str] = []
    for key, cases in ran.items():
        file, function = key
        wanted, found = len(cases), len(runs.get(key, ()))
        if file in touched:
            # What is no longer written there was taken away visibly; so were its parameters.
            written = _defined(texts.get(file, b""), function)
            wanted = min(written, len({one.owner for one in cases}))
            found = len({one.owner for one in runs.get(key, ())})
        if found < wanted:
            (now_skipped if key in skipped else missing).append(f"{file}::{function}")
    parts = []
    if missing:
        parts.append(f"{len(missing)} that ran on the base did not run: {_some(missing)}")
    if now_skipped:
        parts.append(f"{len(now_skipped)} that ran on the base are skipped: {_some(now_skipped)}")
    return "; ".join(parts)


Key = tuple[str, str]


def _executed(cases: Iterable[Case], places: Places) -> Mapping[Key, list[Case]]:
    found: dict[Key, list[Case]] = defaultdict(list)
    for one in cases:
        if one.collected and one.ended != "skipped":
            found[places.of(one.file), one.function].append(one)
    return found


def _defined(text: bytes, function: str) -> int:
    pattern = rf"^[ \t]*(?:async[ \t]+)?def[ \t]+{re.escape(function)}[ \t]*\(".encode()
    return len(re.findall(pattern, text, re.MULTILINE))


async def unfounded(change: Change, report: TestReport) -> str:
    """Say that a report's tests are nowhere in the files; empty where at least one is there.

    Names alone prove little, but a report that fits no file was not made by running them.
    """
    names = await change.names()
    places = Places(names)
    executed = [one for one in report.cases if one.collected and one.ended != "skipped"]
    files = {places.of(one.file) for one in executed if one.file}
    if not files:
        return ""
    texts = await change.read(*sorted(files & set(names)))
    if any(_written(places.of(one.file), one, texts) for one in executed):
        return ""
    return f"none of the {len(executed)} tests of the report is written in the files that it names"


def _written(file: str, case: Case, texts: Mapping[str, bytes]) -> bool:
    """Tell whether a test, or the class that inherits it, stands in a file; others pass."""
    text = texts.get(file)
    if text is None or not file.endswith(".py"):
        return text is not None
    names = [name.rpartition(".")[2] for name in (case.function, case.owner)]
    # Examples in a docstring are tests too, and have the name of what they stand in.
    return b">>> " in text or any(name and name.encode() in text for name in names)


async def reaches_in(change: Change) -> str:
    """Name the files in which a change reaches into the runner itself; empty where there are none.

    What runs in the runner's process can make it say anything: people and reviews should look.
    """
    paths = [
        one.path
        for one in await change.changes()
        if one.path.endswith(".py") and any(REACHES_IN.search(text) for _, text in one.added)
    ]
    return f"; look at what reaches into the runner: {_some(paths)}" if paths else ""


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


async def verdict_of_tests(
    gate: str, change: Change, tests: TestCommand, now: Suite, before: Suite | None
) -> Verdict:
    """Judge a run of tests.

    Args:
        gate: the gate's name.
        change: what is judged.
        tests: what was run.
        now: the run on the commit.
        before: the run on the base; None where it is not compared.
    """
    state, reason = await _judged(change, tests, now, before)
    return Verdict(
        gate=gate,
        state=state,
        reason=reason + told_of(now.taken) + await reaches_in(change),
        details=now.done.output,
        argv=("bash", "-c", tests.command),
        exit_status=now.done.exit_status,
        duration_s=round(now.done.duration_s, 3),
        tests=None if now.counts is None else now.counts.executed,
        commit=change.commit,
        tree=change.tree,
        counts=now.counts,
    )


async def _judged(
    change: Change, tests: TestCommand, now: Suite, before: Suite | None
) -> tuple[VerdictState, str]:
    for why in _plain_failures(now, tests, before):
        return "failed", why
    if now.report is not None:
        why = await unfounded(change, now.report)
        if why:
            return "failed", why
    if before is not None:
        why = await lost(change, before, now)
        if why:
            return "failed", why
    counts = now.counts or Counts()
    parts = [f"{counts.executed} tests executed"]
    if counts.skipped:
        parts.append(f"{counts.skipped} skipped")
    if counts.deselected:
        parts.append(f"{counts.deselected} deselected")
    if before is not None and before.counts is None:
        parts.append("the base could not be compared")
    return "passed", ", ".join(parts)


def _plain_failures(now: Suite, tests: TestCommand, before: Suite | None) -> Iterator[str]:
    """Say what a run's own traces hold against it, the first thing first."""
    status, counts = now.done.exit_status, now.counts
    if status is None:
        yield "ended because it took too long"
    elif status:
        if counts is not None and not counts.executed:
            yield f"no test was executed (exit status {status})"
        ran = ""
        if counts is not None:
            some = f"{counts.failed} of " if counts.failed else ""
            ran = f", {some}{counts.executed} tests {'failed' if some else 'executed'}"
        yield f"exit status {status}{ran}"
    elif contradiction(now, tests, before):
        yield contradiction(now, tests, before)
    elif counts is None:
        yield "exit status 0, but its output does not say that any test was executed"
    elif not counts.executed:
        yield f"no test was executed (exit status {status})"
