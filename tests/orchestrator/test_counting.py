"""How many tests an output says were executed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gates.counting import counted, executed_tests
from orchestrator.records import Counts


@pytest.mark.parametrize(
    ("output", "count"),
    [
        ("Ran 3 tests in 0.001s\n\nOK\n", 3),
        ("Ran 1 test in 0.001s\n\nFAILED (failures=1)\n", 1),
        ("Ran 0 tests in 0.000s\n\nOK\n", 0),
        ("Ran 0 tests in 0.000s\n\nNO TESTS RAN\n", 0),
        ("Ran 5 tests in 0.001s\n\nOK (skipped=2)\n", 3),
        ("Ran 5 tests in 0.001s\n\nFAILED (failures=1, skipped=5)\n", 0),
        ("Ran 2 tests in 1.0s\n\nOK\nRan 3 tests in 1.0s\n\nOK (skipped=1)\n", 4),
    ],
)
def test_unittest(output: str, count: int) -> None:
    """The standard library's runner says how many ran and how many of these were skipped."""
    assert executed_tests(output) == count


@pytest.mark.parametrize(
    ("output", "count"),
    [
        ("...\n3 passed in 0.01s\n", 3),
        ("===== 1 failed, 2 passed in 0.10s =====\n", 3),
        (
            "== 1 failed, 2 passed, 3 skipped, 1 xfailed, 1 xpassed, 2 warnings in 61.10s (0:01:01) ==\n",
            5,
        ),
        ("1 error in 0.10s\n", 1),
        ("2 errors, 1 passed in 0.10s\n", 3),
        ("5 skipped in 0.10s\n", 0),
        ("3 deselected in 0.01s\n", 0),
        ("no tests ran in 0.01s\n", 0),
        ("===== no tests ran in 0.01s =====\n", 0),
        ("in a test: 9 passed in 0.01s\nrest\n", 9),
        ("9 passed in 0.01s\n===== 1 passed in 0.02s =====\n", 1),
    ],
)
def test_pytest(output: str, count: int) -> None:
    """Pytest's last summary counts; skipped and deselected tests were not executed."""
    assert executed_tests(output) == count


@pytest.mark.parametrize(
    ("output", "count"),
    [
        ("test result: ok. 3 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out\n", 3),
        (
            "test result: FAILED. 1 passed; 2 failed; 0 ignored\ntest result: ok. 4 passed; 0 failed;\n",
            7,
        ),
        ("test result: ok. 0 passed; 0 failed; 3 ignored; 0 measured\n", 0),
        ("ok  \texample.org/a\t0.012s\nok  \texample.org/b\t(cached)\n", 2),
        ("FAIL\texample.org/a\t0.012s\n", 1),
        ("ok  \texample.org/a\t0.012s [no tests to run]\n", 0),
        ("?   \texample.org/a\t[no test files]\nok  \texample.org/b\t0.1s\n", 1),
    ],
)
def test_cargo_and_go(output: str, count: int) -> None:
    """Cargo counts tests and Go counts packages that had tests; ignored ones do not count."""
    assert executed_tests(output) == count


@pytest.mark.parametrize(
    ("output", "count"),
    [
        ("# tests 4\n# suites 1\n# pass 4\n# fail 0\n# skipped 0\n", 4),
        ("\u2139 tests 4\n\u2139 pass 3\n\u2139 fail 1\n\u2139 skipped 0\n", 4),
        ("# tests 5\n# pass 3\n# fail 0\n# cancelled 0\n# skipped 2\n# todo 0\n", 3),
        ("# tests 5\n# pass 0\n# fail 0\n# skipped 5\n", 0),
        ("Tests:       1 failed, 5 passed, 6 total\n", 6),
        ("Tests:       2 skipped, 5 passed, 7 total\n", 5),
        ("Tests:       5 skipped, 5 total\n", 0),
        ("Tests:       0 total\n", 0),
        ("  3 passing (12ms)\n  1 failing\n", 4),
        ("  0 passing (1ms)\n  5 pending\n", 0),
    ],
)
def test_node(output: str, count: int) -> None:
    """Node's own runner, jest and mocha: what was skipped or is pending was not executed."""
    assert executed_tests(output) == count


@pytest.mark.parametrize(
    "output", ["", "All good\n", "passed\n", "I passed 5 tests\n", "tests 5\n"]
)
def test_what_is_of_no_known_form_has_no_count(output: str) -> None:
    """Where no runner speaks, nothing is counted, which is not the same as zero."""
    assert executed_tests(output) is None


@given(st.text())
def test_any_output_can_be_read(output: str) -> None:
    """Whatever is printed, the count is none or not negative."""
    count = executed_tests(output)
    assert count is None or count >= 0


@pytest.mark.parametrize(
    ("output", "counts"),
    [
        ("== 1 failed, 2 passed, 3 skipped, 4 deselected, 1 xfailed in 1.0s ==\n", Counts(3, 1, 3, 4)),
        ("Ran 5 tests in 0.1s\n\nFAILED (failures=1, errors=1, skipped=2)\n", Counts(1, 2, 2)),
        ("test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured\n", Counts(3, 1, 2)),
        ("--- PASS: TestA (0.0s)\n    --- FAIL: TestA/x\n--- SKIP: TestB\nok  \ta\t0.1s\n", Counts(1, 1, 1)),
        ("ok  \ta\t0.1s\nFAIL\tb\t0.1s\n", Counts(1, 1)),
        ("# tests 5\n# pass 3\n# fail 1\n# skipped 1\n", Counts(3, 1, 1)),
        ("Tests:       1 failed, 2 skipped, 1 todo, 5 passed, 9 total\n", Counts(5, 1, 3)),
        (" Test Files  1 passed (1)\n      Tests  1 failed | 4 passed | 2 skipped (7)\n", Counts(4, 1, 2)),
        ("No test files found, exiting with code 1\n", Counts()),
        ("  3 passing (12ms)\n  2 pending\n  1 failing\n", Counts(3, 1, 2)),
        ("nothing", None),
    ],
)  # fmt: skip
def test_what_became_of_them(output: str, counts: Counts | None) -> None:
    """Every runner's words for passed, failed, skipped and deselected are understood."""
    assert counted(output) == counts
