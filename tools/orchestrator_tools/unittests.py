"""Runs the standard library's tests as ``python3 -m unittest`` does, and writes a report.

It is given to an interpreter by ``-c``, where the tests are: it uses nothing but the standard
library, and takes the report's path from the environment before any test is loaded.
"""

from __future__ import annotations

import os
import re
import sys
import unittest
from typing import Any
from xml.etree import ElementTree as ET

PATH = "ORCHESTRATE_TEST_REPORT"
NO_TESTS = 5
FIXTURE = re.compile(r"(?:setUp|tearDown)(Class|Module) \(([\w.]+)\)")
BROKEN = "unittest.loader._FailedTest"
SEEN: dict[str, tuple[str, str]] = {}
"""How each test ended, and the file it was loaded from."""


def note(test: unittest.TestCase, ended: str) -> None:
    """Note how a test ended; what has failed stays failed."""
    if SEEN.get(test.id(), ("", ""))[0] != "failed":
        SEEN[test.id()] = (ended, place_of(test))


class SeenResult(unittest.TextTestResult):
    """Prints as usual, and notes what becomes of every test."""

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802 - as unittest calls it
        super().startTest(test)
        note(test, "passed")

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        super().addError(test, err)
        note(test, "failed")

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        super().addFailure(test, err)
        note(test, "failed")

    def addSubTest(  # noqa: N802
        self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any
    ) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            note(test, "failed")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        super().addUnexpectedSuccess(test)
        note(test, "failed")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        super().addSkip(test, reason)
        note(test, "skipped")


class SeenRunner(unittest.TextTestRunner):
    """The usual runner, with the result above."""

    resultclass = SeenResult  # type: ignore[assignment]


def place_of(test: unittest.TestCase) -> str:
    """Return the file that a test's module was loaded from; empty where nobody knows."""
    path: str | None = getattr(sys.modules.get(type(test).__module__), "__file__", None)
    if not path or type(test).__module__.startswith("unittest."):
        return ""
    return os.path.relpath(path)


def about(name: str, place: str) -> dict[str, str]:
    """Return what the report says of a test: a module that cannot be used has no owner."""
    fixture = FIXTURE.match(name)
    module = ""
    if name.startswith(BROKEN):
        module = name[len(BROKEN) + 1 :]
    elif fixture:
        module = fixture[2].rpartition(".")[0] if fixture[1] == "Class" else fixture[2]
    if module:
        return {"classname": "", "name": module, "file": module.replace(".", "/") + ".py"}
    owner, _, own = name.rpartition(".")
    return {"classname": owner or own, "name": own, "file": place}


def written(path: str) -> bytes:
    """Return the report of what was seen, after what an earlier run of the command left."""
    top = ET.Element("testsuite")
    if os.path.exists(path):
        top = ET.parse(path).getroot()  # noqa: S314 - whoever can write it is in here already
    for name, (ended, place) in SEEN.items():
        case = ET.SubElement(top, "testcase", about(name, place))
        if ended != "passed":
            ET.SubElement(case, "failure" if ended == "failed" else "skipped")
    return ET.tostring(top)


def main() -> None:
    """Run the tests that the arguments name."""
    path = os.environ.pop(PATH)
    sys.argv[0] = "python3 -m unittest"
    result = unittest.main(module=None, testRunner=SeenRunner, exit=False).result
    report = written(path)
    with open(path, "wb") as file:
        file.write(report)
    if not result.testsRun and not result.skipped:
        sys.exit(NO_TESTS)
    sys.exit(not result.wasSuccessful())


if __name__ == "__main__":
    main()
