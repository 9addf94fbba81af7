"""What a run's output says became of its tests."""

from __future__ import annotations

import re
from collections.abc import Sequence

from orchestrator.records import Counts

UNITTEST = re.compile(r"^Ran (\d+) tests? in ", re.MULTILINE)
UNITTEST_SKIPPED = re.compile(r"^(?:OK|FAILED) \(.*?skipped=(\d+)", re.MULTILINE)
UNITTEST_FAILED = re.compile(r"^FAILED \((.*)\)", re.MULTILINE)
UNITTEST_PART = re.compile(r"(?:failures|errors|unexpected successes)=(\d+)")
PYTEST = re.compile(
    r"^=*\s?(?=.*\b(?:passed|failed|error|errors|skipped|deselected)\b)(.*) in [\d.]+s",
    re.MULTILINE,
)
PYTEST_PART = re.compile(r"(\d+) (passed|failed|errors?|xfailed|xpassed|skipped|deselected)")
PYTEST_NONE = re.compile(r"^=*\s?no tests ran", re.MULTILINE)
CARGO = re.compile(
    r"^test result: \w+\. (\d+) passed; (\d+) failed(?:; (\d+) ignored)?", re.MULTILINE
)
GO = re.compile(r"^(ok|FAIL)\s+\S+\s+(?:\(cached\)|[\d.]+s)(.*)$", re.MULTILINE)
GO_TEST = re.compile(r"^\s*--- (PASS|FAIL|SKIP): \S", re.MULTILINE)
NODE = re.compile(r"^(?:#|\N{INFORMATION SOURCE}) tests (\d+)$", re.MULTILINE)
NODE_FAILED = re.compile(r"^(?:#|\N{INFORMATION SOURCE}) (?:fail|cancelled) (\d+)$", re.MULTILINE)
NODE_SKIPPED = re.compile(r"^(?:#|\N{INFORMATION SOURCE}) (?:skipped|todo) (\d+)$", re.MULTILINE)
JEST = re.compile(r"^Tests:\s+(.*)\d+ total", re.MULTILINE)
JEST_PART = re.compile(r"(\d+) (passed|failed|skipped|todo)")
VITEST = re.compile(r"^\s*Tests\s+(.*)\(\d+\)", re.MULTILINE)
VITEST_NONE = re.compile(r"^No test files found", re.MULTILINE)
MOCHA = re.compile(r"^\s*(\d+) (passing|failing|pending)", re.MULTILINE)

ENDINGS = {
    "passed": "passed",
    "passing": "passed",
    "xfailed": "passed",
    "xpassed": "passed",
    "failed": "failed",
    "failing": "failed",
    "error": "failed",
    "errors": "failed",
    "skipped": "skipped",
    "pending": "skipped",
    "todo": "skipped",
    "deselected": "deselected",
}
"""What runners call it, and what it is counted as."""


def counted(output: str) -> Counts | None:
    """Count what became of the tests.

    Args:
        output: what the test command printed.

    Returns:
        The numbers; None where the output is of no known form.
    """
    found = [one for one in (count(output) for count in COUNTERS) if one is not None]
    return added_up(found) if found else None


def executed_tests(output: str) -> int | None:
    """Count the tests that were executed; skipped ones do not count.

    Args:
        output: what the test command printed.

    Returns:
        The number; None where the output is of no known form.
    """
    found = counted(output)
    return None if found is None else found.executed


def pytest_counts(output: str) -> Counts | None:
    """Count what pytest's last summary says; None where there is none."""
    lines = PYTEST.findall(output)
    if lines:
        return _parts(PYTEST_PART.findall(lines[-1]))
    return Counts() if PYTEST_NONE.search(output) else None


def added_up(parts: Sequence[Counts]) -> Counts:
    """Add counts up."""
    return Counts(
        passed=sum(one.passed for one in parts),
        failed=sum(one.failed for one in parts),
        skipped=sum(one.skipped for one in parts),
        deselected=sum(one.deselected for one in parts),
    )


def _parts(parts: Sequence[tuple[str, str]]) -> Counts:
    """Count pairs of a number and a runner's own word."""
    sums = dict.fromkeys(ENDINGS.values(), 0)
    for number, word in parts:
        sums[ENDINGS[word]] += int(number)
    return Counts(**sums)


def _unittest(output: str) -> Counts | None:
    ran = [int(one) for one in UNITTEST.findall(output)]
    if not ran:
        return None
    skipped = sum(int(one) for one in UNITTEST_SKIPPED.findall(output))
    lines = UNITTEST_FAILED.findall(output)
    failed = sum(int(one) for line in lines for one in UNITTEST_PART.findall(line))
    executed = max(sum(ran) - skipped, 0)
    failed = min(failed, executed)
    return Counts(passed=executed - failed, failed=failed, skipped=skipped)


def _cargo(output: str) -> Counts | None:
    found = CARGO.findall(output)
    if not found:
        return None
    passed, failed, ignored = (
        sum(int(row[at] or 0) for row in found) for at in range(len(found[0]))
    )
    return Counts(passed=passed, failed=failed, skipped=ignored)


def _go(output: str) -> Counts | None:
    packages = [state for state, rest in GO.findall(output) if "no tests to run" not in rest]
    if not GO.search(output):
        return None
    # With -v it names every test; without, all that it says is a line for each package.
    told = GO_TEST.findall(output) or [{"ok": "PASS", "FAIL": "FAIL"}[one] for one in packages]
    return Counts(passed=told.count("PASS"), failed=told.count("FAIL"), skipped=told.count("SKIP"))


def _node(output: str) -> Counts | None:
    found = NODE.findall(output)
    if not found:
        return None
    skipped = sum(int(one) for one in NODE_SKIPPED.findall(output))
    executed = max(sum(int(one) for one in found) - skipped, 0)
    failed = min(sum(int(one) for one in NODE_FAILED.findall(output)), executed)
    return Counts(passed=executed - failed, failed=failed, skipped=skipped)


def _jest(output: str) -> Counts | None:
    lines = JEST.findall(output)
    return _parts([one for line in lines for one in JEST_PART.findall(line)]) if lines else None


def _vitest(output: str) -> Counts | None:
    lines = VITEST.findall(output)
    if lines:
        return _parts([one for line in lines for one in JEST_PART.findall(line)])
    return Counts() if VITEST_NONE.search(output) else None


def _mocha(output: str) -> Counts | None:
    found = MOCHA.findall(output)
    return _parts(found) if found else None


COUNTERS = (_unittest, pytest_counts, _cargo, _go, _node, _jest, _vitest, _mocha)
