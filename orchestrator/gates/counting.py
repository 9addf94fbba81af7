"""How many tests a run's output says were executed."""

from __future__ import annotations

import re

UNITTEST = re.compile(r"^Ran (\d+) tests? in ", re.MULTILINE)
UNITTEST_SKIPPED = re.compile(r"^(?:OK|FAILED) \(.*?skipped=(\d+)", re.MULTILINE)
PYTEST = re.compile(
    r"^=*\s?(?=.*\b(?:passed|failed|error|errors|skipped|deselected)\b)(.*) in [\d.]+s",
    re.MULTILINE,
)
PYTEST_PART = re.compile(r"(\d+) (passed|failed|errors?|xfailed|xpassed)")
PYTEST_NONE = re.compile(r"^=*\s?no tests ran", re.MULTILINE)
CARGO = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed", re.MULTILINE)
GO = re.compile(r"^(?:ok|FAIL)\s+\S+\s+(?:\(cached\)|[\d.]+s)(.*)$", re.MULTILINE)
NODE = re.compile(r"^(?:#|\N{INFORMATION SOURCE}) tests (\d+)$", re.MULTILINE)
NODE_SKIPPED = re.compile(r"^(?:#|\N{INFORMATION SOURCE}) (?:skipped|todo) (\d+)$", re.MULTILINE)
JEST = re.compile(r"^Tests:\s+(.*)\d+ total", re.MULTILINE)
JEST_PART = re.compile(r"(\d+) (?:passed|failed)")
MOCHA = re.compile(r"^\s*(\d+) (?:passing|failing)", re.MULTILINE)


def executed_tests(output: str) -> int | None:
    """Count the tests that were executed; skipped ones do not count.

    Args:
        output: what the test command printed.

    Returns:
        The number; None where the output is of no known form.
    """
    counts = [one for one in (count(output) for count in COUNTERS) if one is not None]
    return sum(counts) if counts else None


def _unittest(output: str) -> int | None:
    ran = [int(one) for one in UNITTEST.findall(output)]
    if not ran:
        return None
    return max(sum(ran) - sum(int(one) for one in UNITTEST_SKIPPED.findall(output)), 0)


def _pytest(output: str) -> int | None:
    lines = PYTEST.findall(output)
    if lines:
        return sum(int(count) for count, _ in PYTEST_PART.findall(lines[-1]))
    return 0 if PYTEST_NONE.search(output) else None


def _cargo(output: str) -> int | None:
    found = CARGO.findall(output)
    return sum(int(passed) + int(failed) for passed, failed in found) if found else None


def _go(output: str) -> int | None:
    found = GO.findall(output)
    return sum("no tests to run" not in rest for rest in found) if found else None


def _node(output: str) -> int | None:
    found = NODE.findall(output)
    if found:
        skipped = sum(int(one) for one in NODE_SKIPPED.findall(output))
        return max(sum(int(one) for one in found) - skipped, 0)
    lines = JEST.findall(output)
    if lines:
        return sum(int(one) for parts in lines for one in JEST_PART.findall(parts))
    found = MOCHA.findall(output)
    return sum(int(one) for one in found) if found else None


COUNTERS = (_unittest, _pytest, _cargo, _go, _node)
