"""The tests gate: what a run of tests leaves behind, and what is not believed."""

from __future__ import annotations

import pytest

from orchestrator.gates.command import CommandGate
from orchestrator.gates.detect import DetectedTestsGate
from orchestrator.ports import Gate
from orchestrator.records import Counts, Verdict
from tests.gates.project import Project, ground, project, proved

__all__ = ["ground", "project", "proved"]

pytestmark = pytest.mark.asyncio

CODE = "def double(n):\n    return 2 * n\n"
TESTS = """\
import pytest
from shop import double


def test_two():
    assert double(2) == 4


@pytest.mark.parametrize("n", [0, 1, 3])
def test_many(n):
    assert double(n) == n + n


class TestKind:
    def test_type(self):
        assert isinstance(double(1), int)
"""
BASE = {
    "shop.py": CODE,
    "conftest.py": "",
    "tests/test_shop.py": TESTS,
    "pyproject.toml": '[project]\nname = "shop"\n\n[tool.pytest.ini_options]\npythonpath = ["."]\n',
}
MORE = TESTS + "\n\ndef test_more():\n    assert double(5) == 10\n"


def the_gate(command: str = "", *, against_base: bool = True) -> Gate:
    """Return the gate that is told a command, or has to find it."""
    if not command:
        return DetectedTestsGate(timeout_s=60, against_base=against_base)
    return CommandGate("tests", command, tests=True, timeout_s=60, against_base=against_base)


@pytest.fixture
def shop(project: Project) -> Project:
    """A project with five tests of pytest's."""
    project.commit(BASE)
    return project.equipped()


def of(verdict: Verdict) -> tuple[str, str]:
    """Return state and reason; a failed assertion shows the details too."""
    print(verdict.details)
    return verdict.state, verdict.reason


@pytest.mark.parametrize(
    "command", ["", "python3 -m pytest", "cd tests && pytest ..", "pytest -qq"]
)
async def test_tests_that_pass(shop: Project, command: str) -> None:
    """They are counted by the report that pytest left, however it is called."""
    verdict = await shop.judged(the_gate(command), {"tests/test_shop.py": MORE})
    assert of(verdict) == ("passed", "6 tests executed")
    assert verdict.counts == Counts(passed=6)
    assert (verdict.tests, verdict.exit_status) == (6, 0)
    assert verdict.tree == shop.change().tree and verdict.duration_s > 0


async def test_a_test_that_fails(shop: Project) -> None:
    """The verdict has the numbers and the output."""
    verdict = await shop.judged(the_gate(), {"shop.py": "def double(n):\n    return n * 3\n"})
    assert of(verdict) == ("failed", "exit status 1, 3 of 5 tests failed")
    assert verdict.counts == Counts(passed=2, failed=3)
    assert "assert 6 == 4" in verdict.details


FORGED = '<testsuites><testsuite tests="5"><testcase classname="tests.test_shop" name="test_two" file="tests/test_shop.py"/></testsuite></testsuites>'
LEAVE = "import os, sys\nprint('5 passed in 0.01s', flush=True)\nos._exit(0)\n"
EMPTY = "def pytest_collection_modifyitems(items):\n    items[:] = []\n"
DESELECTS = """\
def pytest_collection_modifyitems(config, items):
    gone = [one for one in items if one.name == "test_two"]
    config.hook.pytest_deselected(items=gone)
    items[:] = [one for one in items if one not in gone]
"""
SKIPS = """\
import pytest

def pytest_collection_modifyitems(items):
    for one in items[:2]:
        one.add_marker(pytest.mark.skip(reason="not now"))
"""
HIDES = """\
def pytest_runtest_makereport(item, call):
    from _pytest.reports import TestReport
    report = TestReport.from_item_and_call(item, call)
    report.outcome = "passed"
    return report
"""
OVERWRITES = f"""\
import atexit, os, sys

def pytest_configure(config):
    path = config.getoption("xmlpath")

    def write():
        with open(path, "w") as file:
            file.write({FORGED!r})
        print("5 passed in 0.01s", flush=True)
        os._exit(0)

    write()
"""
KILLS = "import os, signal\n\ndef test_kill():\n    os.kill(os.getpid(), signal.SIGKILL)\n"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"conftest.py": LEAVE}, "something ended the tests early"),
        ({"conftest.py": "import sys\nsys.exit(0)\n"}, "exit status"),
        ({"conftest.py": "import pytest\npytest.exit('done', returncode=0)\n"}, "exit status 4"),
        ({"tests/test_early.py": LEAVE}, "something ended the tests early"),
        ({"tests/test_kill.py": KILLS}, "exit status 137"),
        ({"conftest.py": EMPTY}, "no test was executed (exit status 5)"),
        ({"conftest.py": EMPTY + "\ndef pytest_sessionfinish(session):\n    session.exitstatus = 0\n"},
         "no test was executed (exit status 0)"),
        ({"conftest.py": DESELECTS}, "1 that ran on the base did not run: tests/test_shop.py::test_two"),
        ({"conftest.py": SKIPS}, "2 that ran on the base are skipped: tests/test_shop.py::test_two"),
        ({"conftest.py": OVERWRITES}, "the report says 1 passed and 0 skipped, the output 5 and 0"),
        ({"conftest.py": OVERWRITES.replace("5 passed", "1 passed")}, "2 that ran on the base did not run"),
        ({"tests/test_shop.py": TESTS.replace("def test_two", "def TODO_two").replace("[0, 1, 3]", "[]"),
          "results.xml": FORGED}, "is skipped"),
        ({"shop.py": "def double(n):\n    return 1\n",
          "conftest.py": "def pytest_sessionfinish(session):\n    session.exitstatus = 0\n"},
         "exit status 0, but the report names"),
        ({"pytest.ini": "[pytest]\naddopts = --collect-only\n"}, ""),
        ({"pytest.ini": "[pytest]\naddopts = -k test_type\n"}, ""),
        ({"tox.ini": "[pytest]\npython_files = nothing.py\n"}, ""),
        ({"pyproject.toml": BASE["pyproject.toml"] + 'addopts = "--deselect tests/test_shop.py::test_two"\n'},
         ""),
        ({"tests/pytest.ini": "[pytest]\naddopts = -k test_type\n"}, ""),
    ],
)  # fmt: skip
async def test_what_a_branch_tries(shop: Project, files: dict[str, str], reason: str) -> None:
    """What ends, empties or forges the run fails; what sets tools up anew has no effect."""
    verdict = await shop.judged(the_gate(), files)
    if reason:
        assert (verdict.state, verdict.tests is None or verdict.counts is not None) == (
            "failed",
            True,
        )
        assert reason.replace("is skipped", "skipped") in verdict.reason, of(verdict)
    else:
        (path,) = files
        assert of(verdict) == ("passed", f"5 tests executed; taken from the base: {path}")


async def test_what_cannot_be_told_is_told_to_look_at(shop: Project) -> None:
    """A hook that calls failures passed is believed by the runner: the verdict names it."""
    verdict = await shop.judged(
        the_gate(), {"conftest.py": HIDES, "shop.py": "def double(n):\n    return 1\n"}
    )
    assert of(verdict) == (
        "passed",
        "5 tests executed; look at what reaches into the runner: conftest.py",
    )


async def test_a_branch_cannot_choose_another_runner(project: Project) -> None:
    """What only a runner that is not there would look at does not keep the tests from being run."""
    project.commit({"tests/__init__.py": "", "tests/test_shop.py": UNITTEST})
    verdict = await project.judged(
        the_gate(), {"conftest.py": "", "tests/test_shop.py": UNITTEST.replace("(n, n)", "(n, 1)")}
    )
    assert of(verdict) == ("failed", "exit status 1, 1 of 3 tests failed")


async def test_a_module_that_is_missing_excuses_nothing_else(project: Project) -> None:
    """Where the base lacks a module too, what fails for another reason has still failed."""
    project.commit({**PLAIN, "tests/test_lacks.py": "import nowhere\n"})
    verdict = await project.judged(the_gate(), {"README": "x"})
    assert of(verdict) == ("not_executed", "dependencies are not installed inside: nowhere")
    project.commits[1:] = []
    verdict = await project.judged(
        the_gate(), {"tests/test_shop.py": UNITTEST.replace("(n, n)", "(n, 1)")}
    )
    assert of(verdict) == ("failed", "exit status 1, 2 of 4 tests failed")


async def test_a_report_that_was_committed_is_not_looked_at(shop: Project) -> None:
    """A file of the commit that looks like a report changes nothing."""
    files = {"junit.xml": FORGED, "report.xml": FORGED, "conftest.py": LEAVE}
    assert (await shop.judged(the_gate(), files)).state == "failed"


@pytest.mark.parametrize("name", ["sitecustomize.py", "pytest.py"])
async def test_modules_that_python_finds_first(shop: Project, name: str) -> None:
    """A module of the checkout that is loaded in another's place cannot end the run early."""
    command = "PYTHONPATH=. python3 -m pytest"
    verdict = await shop.judged(the_gate(command), {name: LEAVE})
    assert verdict.state == "failed", of(verdict)
    assert "no report was written" in verdict.reason


async def test_a_script_that_says_that_tests_passed(shop: Project) -> None:
    """A script of the base that ran pytest, and now only prints, is as on the base."""
    shop.commits.clear()
    shop.top = shop.top.with_name("other")
    shop.commit(
        {**BASE, "ci/check.sh": "python3 -m pytest\n", "Makefile": "test:\n\tpython3 -m pytest\n"}
    )
    for command, path in (("sh ci/check.sh", "ci/check.sh"), ("make test", "Makefile")):
        forged = {
            "ci/check.sh": "echo 9 passed in 0.1s\n",
            "Makefile": "test:\n\techo 9 passed in 0.1s\n",
        }
        verdict = await shop.judged(the_gate(command), {path: forged[path]})
        assert verdict.state == "passed", of(verdict)
        assert f"5 tests executed; taken from the base: {path}" in verdict.reason
        shop.commits[1:] = []


async def test_a_run_that_left_a_report_on_the_base_has_to_leave_one_now(shop: Project) -> None:
    """A program of the project that stops running tests, and prints as if it did, is found out."""
    shop.commits.clear()
    shop.top = shop.top.with_name("other")
    shop.commit({**BASE, "check.py": "import sys, pytest\nsys.exit(pytest.main())\n"})
    verdict = await shop.judged(
        the_gate("python3 check.py"), {"check.py": "print('5 passed in 0.1s')\n"}
    )
    assert of(verdict)[0] == "failed"
    assert "no report was written" in verdict.reason


@pytest.mark.parametrize(
    ("files", "removed"),
    [
        ({"tests/test_shop.py": TESTS.replace("def test_two", "def test_pair")}, ()),
        ({"tests/test_shop.py": TESTS.replace("[0, 1, 3]", "[0, 1]")}, ()),
        ({"tests/test_shop.py": TESTS.partition("class TestKind")[0]}, ()),
        ({"tests/test_all.py": TESTS}, ("tests/test_shop.py",)),
    ],
)
async def test_tests_that_are_taken_away_visibly(
    shop: Project, files: dict[str, str], removed: tuple[str, ...]
) -> None:
    """What the change itself takes away is for other gates and for people to judge."""
    verdict = await shop.judged(the_gate(), files, *removed)
    assert of(verdict)[0] == "passed"


async def test_examples_in_docstrings(project: Project) -> None:
    """Doctests are found in the code itself, and are lost when they no longer run."""
    code = '"""Sums.\n\n>>> 1 + 1\n2\n"""\n'
    ini = {
        "pytest.ini": "[pytest]\naddopts = --doctest-modules\n",
        "test_a.py": "def test_a():\n    pass\n",
    }
    project.commit({**ini, "sums.py": code})
    gate = the_gate("python3 -m pytest sums.py")
    verdict = await project.equipped().judged(gate, {"README": "x"})
    assert of(verdict) == ("passed", "1 tests executed")
    project.commits[1:] = []
    stops = "def pytest_ignore_collect():\n    return True\n"
    assert (
        await project.judged(the_gate("python3 -m pytest"), {"conftest.py": stops})
    ).state == "failed"


async def test_the_base_need_not_be_run(shop: Project) -> None:
    """Without the comparison a lost test is not noticed; the settings say so."""
    verdict = await shop.judged(the_gate(against_base=False), {"conftest.py": DESELECTS})
    told = "; look at what reaches into the runner: conftest.py"
    assert of(verdict) == ("passed", f"4 tests executed, 1 deselected{told}")


async def test_a_base_that_cannot_be_run(project: Project) -> None:
    """Where the base has no result the commit's own counts."""
    project.commit({**BASE, "conftest.py": "import nowhere\n"})
    verdict = await project.equipped().judged(the_gate("pytest"), {"conftest.py": ""})
    assert of(verdict) == ("passed", "5 tests executed, the base could not be compared")


async def test_new_tests_that_are_skipped_are_told(shop: Project) -> None:
    """Skipped tests do not count as executed."""
    skipped = MORE.replace("def test_more", "@pytest.mark.skip\ndef test_more")
    verdict = await shop.judged(the_gate(), {"tests/test_shop.py": skipped})
    assert of(verdict) == ("passed", "5 tests executed, 1 skipped")


async def test_pytest_is_not_there(project: Project) -> None:
    """Without the runner nothing is executed, and nothing has passed."""
    project.commit(BASE)
    verdict = await project.judged(the_gate(), {"shop.py": CODE + "\n"})
    assert verdict.state == "not_executed" and "cannot be run inside" in verdict.reason


UNITTEST = """\
import unittest


class Shop(unittest.TestCase):
    def test_one(self):
        self.assertTrue(1)

    def test_two(self):
        for n in 1, 2:
            with self.subTest(n=n):
                self.assertEqual(n, n)

    @unittest.skip("not now")
    def test_never(self):
        raise AssertionError

    @unittest.expectedFailure
    def test_bug(self):
        self.fail()
"""
PLAIN = {"tests/__init__.py": "", "tests/test_shop.py": UNITTEST}


@pytest.mark.parametrize(
    ("files", "state", "reason"),
    [
        ({"README": "x"}, "passed", "3 tests executed, 1 skipped"),
        ({"tests/test_shop.py": UNITTEST.replace("(n, n)", "(n, 1)")}, "failed", "1 of 3 tests failed"),
        ({"tests/test_shop.py": "import nowhere\n"}, "failed", "1 of 1 tests failed"),
        ({"tests/__init__.py": "import os\nprint('Ran 3 tests in 0.1s\\n\\nOK', flush=True)\nos._exit(0)\n"},
         "failed", "no report was written"),
        ({"tests/test_shop.py": UNITTEST.replace("class Shop", "def load_tests(*_):\n    return unittest.TestSuite()\n\n\nclass Shop")},
         "failed", "no test was executed"),
        ({"tests/__init__.py": "def load_tests(loader, tests, pattern):\n    return loader.loadTestsFromName('tests.test_shop.Shop.test_one')\n"},
         "failed", "2 that ran on the base did not run: tests/test_shop.py::test_bug, tests/test_shop.py::test_two"),
        ({"unittest.py": "print('Ran 3 tests in 0.1s\\n\\nOK')\n"}, "failed", "exit status 1"),
    ],
)  # fmt: skip
async def test_the_standard_library_s_tests(
    project: Project, files: dict[str, str], state: str, reason: str
) -> None:
    """They leave a report too: what ends them early or leaves some out is noticed."""
    project.commit(PLAIN)
    verdict = await project.judged(the_gate(), files)
    assert verdict.state == state, of(verdict)
    assert reason in verdict.reason
    assert verdict.argv == ("bash", "-c", "python3 -m unittest discover -s tests -t .")


async def test_a_module_s_and_a_class_s_own_failure(project: Project) -> None:
    """What fails before the first test of a class is a failure of the report too."""
    project.commit(PLAIN)
    broken = UNITTEST.replace(
        "    def test_one",
        "    @classmethod\n    def setUpClass(cls):\n        1 / 0\n\n    def test_one",
    )
    verdict = await project.judged(the_gate(), {"tests/test_shop.py": broken})
    assert of(verdict) == ("failed", "exit status 5, 1 of 1 tests failed")


NODE = "const test = require('node:test');\n"
ONE, TWO = "test('one', () => {});\n", "test('two', () => {});\n"


async def test_node_s_tests(project: Project) -> None:
    """Without a report the numbers of the output are compared with the base's."""
    if not await _has(project, "node"):
        pytest.skip("NOT TESTED: node is not installed")
    script = '{"scripts": {"test": "node --test"}}'
    needs = "require('./ready');\n" + NODE
    project.commit(
        {
            "package.json": script,
            "ready.js": "",
            "a.test.js": NODE + ONE + TWO,
            "b.test.js": needs + ONE + TWO,
        }
    )
    verdict = await project.judged(the_gate(), {"a.test.js": NODE + ONE})
    assert of(verdict) == ("passed", "3 tests executed"), "taken away visibly"
    project.commits[1:] = []
    verdict = await project.judged(
        the_gate(), {"a.test.js": NODE + ONE + TWO, "ready.js": "process.exit(0);\n"}
    )
    assert of(verdict) == ("failed", "3 tests executed, 4 on the base")


async def _has(project: Project, program: str) -> bool:
    project.commit({"README": "x"}) if not project.commits else None
    await project.sandbox.check()
    found = await project.change().available(f"command -v {program}")
    project.commits.clear()
    project.top = project.top.with_name("next")
    return found
