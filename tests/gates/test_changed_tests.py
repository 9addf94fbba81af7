"""Changed code is tested by what fails on the base and passes on the branch."""

from __future__ import annotations

import anyio
import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gates.production import is_code, is_of_tests, is_test, meaning, parts_of
from orchestrator.gates.suites import Suites, TestCommand, reporter_of
from orchestrator.gates.tests_changed import ChangedTestsGate
from tests.gates.project import Project, ground, project, proved

__all__ = ["ground", "project", "proved"]

CODE = '"""Sums."""\n\n\ndef add(a, b):\n    return a + b\n'
TWICE = CODE + "\n\ndef twice(n):\n    return 2 * n\n"
TEST = "from sums import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n"
OF_TWICE = "import sums\n\n\ndef test_twice():\n    assert sums.twice(4) == 8\n"
LOADS = "from sums import twice\n\n\ndef test_twice():\n    assert twice(4) == 8\n"
IDLE = "\n\ndef test_nothing():\n    assert True\n"
BASE = {
    "sums.py": CODE,
    "tests/test_sums.py": TEST,
    "conftest.py": "",
    "pytest.ini": "[pytest]\npythonpath = .\n",
    "README.md": "Sums.\n",
}


def the_gate(*commands: str) -> ChangedTestsGate:
    """Return the gate; without commands the tests are told from the files."""
    told = [TestCommand(one, 60, reporter_of(one)) for one in commands]
    return ChangedTestsGate(suites=Suites(), commands=told, timeout_s=60)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("files", "state", "reason"),
    [
        ({"sums.py": TWICE, "tests/test_twice.py": OF_TWICE}, "passed",
         "tests/test_twice.py::test_twice failed on the base, and passed now"),
        ({"sums.py": TWICE, "tests/test_twice.py": LOADS}, "passed", "test_twice failed on the base"),
        ({"sums.py": TWICE, "tests/test_sums.py": TEST + OF_TWICE}, "passed", "test_twice failed"),
        ({"sums.py": TWICE}, "failed", "code is changed (sums.py), and no test is added or changed"),
        ({"sums.py": TWICE, "tests/test_idle.py": IDLE}, "failed",
         "no changed test fails on the base: 1 pass there too"),
        ({"sums.py": TWICE, "tests/test_sums.py": TEST + "# words\n"}, "failed", "1 pass there too"),
        ({"sums.py": TWICE, "tests/test_twice.py": OF_TWICE.replace("8", "9")}, "failed",
         "no test of tests/test_twice.py passes"),
        ({"sums.py": TWICE, "tests/test_twice.py": "import pytest\n" + OF_TWICE.replace("def test", "@pytest.mark.skip\ndef test")},
         "failed", "no test of tests/test_twice.py passes"),
        ({"sums.py": TWICE, "tests/test_twice.py": OF_TWICE.replace("test_twice", "twice")}, "failed",
         "no test of tests/test_twice.py ran"),
        ({"sums.py": TWICE, "tests/test_twice.py": OF_TWICE.replace("assert", "import os\n    os._exit(0)\n    assert")},
         "failed", ""),
        ({"README.md": "More.\n"}, "passed", "no code is changed"),
        ({"docs/conf.py": "x = 1\n", "tests/data.json": "{}"}, "passed", "no code is changed"),
        ({"sums.py": CODE.replace("Sums", "Other words") + "# more\n"}, "passed", "no code is changed"),
        ({"pkg/__init__.py": '"""Words."""\n'}, "passed", "no code is changed"),
        ({"sums.py": "from more import add\n", "more.py": "def add(a, b):\n    return a + b\n"}, "passed",
         "code is only moved or taken away"),
        ({"sums.py": CODE.replace("a + b", "b + a")}, "failed", "no test is added or changed"),
        ({"tool.sh": "rm -rf x\n"}, "failed", "code is changed (tool.sh)"),
    ],
)  # fmt: skip
async def test_pytest(project: Project, files: dict[str, str], state: str, reason: str) -> None:
    """A new test has to fail against the base's code; words, docs and moves need none."""
    project.commit(BASE)
    verdict = await project.equipped().judged(the_gate(), files)
    assert (verdict.state, reason in verdict.reason) == (state, True), (
        verdict.reason,
        verdict.details,
    )


@pytest.mark.asyncio
async def test_what_passes_on_both_is_told(project: Project) -> None:
    """Tests that prove nothing are named beside the one that does."""
    project.commit(BASE)
    files = {"sums.py": TWICE, "tests/test_twice.py": OF_TWICE + IDLE}
    verdict = await project.equipped().judged(the_gate(), files)
    assert verdict.state == "passed"
    assert "they pass on the base too:\ntests/test_twice.py::test_nothing" in verdict.details


@pytest.mark.asyncio
async def test_a_test_that_failed_already_is_proof(project: Project) -> None:
    """A bug that a test of the base shows needs no further one."""
    project.commit({**BASE, "sums.py": CODE.replace("a + b", "a - b")})
    verdict = await project.equipped().judged(the_gate(), {"sums.py": CODE})
    assert verdict.state == "passed", verdict.reason
    assert verdict.reason == "tests/test_sums.py::test_add failed on the base, and passed now"


@pytest.mark.asyncio
async def test_new_support_of_tests_is_laid_over_the_base(project: Project) -> None:
    """A new test's fixture and data come along, so that it fails for what it tests."""
    project.commit(BASE)
    files = {
        "sums.py": TWICE,
        "tests/conftest.py": "import pytest\n\n\n@pytest.fixture\ndef four():\n    return 4\n",
        "tests/test_same.py": "from sums import add\n\n\ndef test_four(four):\n    assert add(four, 0) == 4\n",
    }
    verdict = await project.equipped().judged(the_gate(), files)
    assert verdict.reason == "no changed test fails on the base: 1 pass there too"


@pytest.mark.asyncio
async def test_no_runner(project: Project) -> None:
    """Where the runner is not there, nothing was executed."""
    project.commit(BASE)
    verdict = await project.judged(the_gate(), {"sums.py": TWICE, "tests/test_t.py": OF_TWICE})
    assert verdict.state == "not_executed", verdict.reason


UNIT = "import unittest\nimport sums\n\n\nclass T(unittest.TestCase):\n    def test_{0}(self):\n        self.assertEqual(sums.{0}(4), 8)\n"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("files", "state", "reason"),
    [
        ({"sums.py": TWICE, "tests/test_t.py": UNIT.format("twice")}, "passed", "test_twice failed on the base"),
        ({"sums.py": TWICE, "tests/test_t.py": UNIT.format("twice").replace("import sums", "from sums import twice\nimport sums")},
         "passed", "failed on the base"),
        ({"sums.py": TWICE, "tests/test_t.py": UNIT.format("old")}, "failed", "pass"),
        ({"sums.py": TWICE}, "failed", "no test is added or changed"),
    ],
)  # fmt: skip
async def test_unittest(project: Project, files: dict[str, str], state: str, reason: str) -> None:
    """The standard library's tests are compared by name as well."""
    old = CODE + "\n\ndef old(n):\n    return 8\n"
    project.commit({"sums.py": old, "tests/__init__.py": "", "tests/test_o.py": UNIT.format("old")})
    files = {name: text.replace(CODE, old) for name, text in files.items()}
    verdict = await project.judged(the_gate(), files)
    assert (verdict.state, reason in verdict.reason) == (state, True), (
        verdict.reason,
        verdict.details,
    )


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("base", "files", "state", "reason"),
    [
        ("grep -q one code.py", {"code.py": "one = two\n", "tests/test_it.py": "grep -q two code.py\n"}, "passed",
         "the tests with tests/test_it.py failed on the base, and passed now"),
        ("grep -q one code.py", {"code.py": "one = two\n", "tests/test_it.py": "true\n"}, "failed",
         "no changed test fails on the base (tests/test_it.py)"),
        ("grep -q one code.py", {"code.py": "one = two\n", "tests/test_it.py": "false\n"}, "failed", "the tests do not pass"),
        ("false", {"code.py": "two\n", "tests/test_it.py": "grep -q two code.py\n"}, "not_executed", "cannot be told apart"),
        ("grep -q two code.py", {"code.py": "two = 2\n"}, "passed", "the tests failed on the base"),
        ("true", {"code.py": "two = 2\n"}, "failed", "no test is added or changed"),
    ],
)  # fmt: skip
async def test_runners_without_a_report(
    project: Project, base: str, files: dict[str, str], state: str, reason: str
) -> None:
    """What names no tests is compared by its end."""
    project.commit({"code.py": "one = 1\n", "tests/test_it.py": f"{base}\n"})
    verdict = await project.judged(the_gate("sh tests/test_it.py"), files)
    assert (verdict.state, reason in verdict.reason) == (state, True), (
        verdict.reason,
        verdict.details,
    )


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("shop/a.py", "code"), ("src/a.ts", "code"), ("cmd/main.go", "code"), ("run.sh", "code"),
        ("a/test_a.py", "test"), ("a_test.go", "test"), ("src/a.test.ts", "test"), ("__tests__/a.js", "test"),
        ("tests/it.rs", "test"), ("src/ATest.java", "test"),
        ("tests/data/a.json", "support"), ("conftest.py", "support"), ("tests/helpers.py", "support"),
        ("README.md", ""), ("docs/a.py", ""), ("setup.py", ""), ("vite.config.ts", ""), ("a.json", ""),
        ("examples/a.py", ""), ("types/a.d.ts", ""),
    ],
)  # fmt: skip
def test_what_counts_as_what(path: str, kind: str) -> None:
    """Code, tests and what belongs to them are told apart by their names."""
    assert is_code(path) == (kind == "code")
    assert is_test(path) == (kind == "test")
    assert is_of_tests(path) == (kind in {"test", "support"})


@given(st.binary())
def test_any_source_can_be_read(source: bytes) -> None:
    """What is no Python has no meaning, and does no harm."""
    assert meaning(source) is None or meaning(source) == meaning(source + b"\n# words\n")


@pytest.mark.parametrize(
    "source", ["(" * 50_000, "-" * 100_000 + "1", "[" * 90 + "]" * 90, "x." * 90_000 + "x"]
)
def test_hostile_sources(source: str) -> None:
    """Sources that are made to break a parser do no harm, in a thread as little as here."""
    meaning(source.encode())
    anyio.run(anyio.to_thread.run_sync, meaning, source.encode())


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("line", "moved"),
    [("import os", True), ("import os; os.remove('x')", False), ("use(1)", True), ("x = 1", False)],
)
async def test_imports_are_free_in_a_move(project: Project, line: str, moved: bool) -> None:
    """A line that imports may be new where code is moved; what it does beside that may not."""
    project.commit({"a.py": CODE})
    project.commit({"b.py": f"{line}\n{CODE}"}, "a.py")
    assert (await parts_of(project.change())).moved == moved
