"""Test runs and the evidence that they leave, each made once for all gates that need it."""

from __future__ import annotations

import importlib.resources
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Literal

import anyio
import anyio.to_thread

from orchestrator.gates.configured import settings_of_base
from orchestrator.gates.counting import counted
from orchestrator.gates.reports import ReportBrokenError, TestReport, read_report
from orchestrator.ports import Change, CommandRun
from orchestrator.records import Conditions, Counts
from orchestrator.values import frozen

Reporter = Literal["pytest", "unittest", ""]

NAMES_PYTEST = re.compile(r"(?:^|[\s/;&|(])(?:pytest|py\.test)(?:\s|$|[;&|)])")
RUNS_UNITTEST = re.compile(
    r"\b(python[\d.]*(?:\s+-[bBdEIOsSu]+|\s+-[WX]\s*\S+)*)\s+-m\s+unittest\b"
)
OWN_REPORT = re.compile(r"--junit-?xml|PYTEST_ADDOPTS")
REPORTER = "ORCHESTRATE_REPORTER"


@frozen
class TestCommand:
    """How a project's tests are run.

    Attributes:
        command: the shell command.
        timeout_s: seconds after which it is ended.
        reporter: what has to leave a report; empty takes one where it is left.
    """

    __test__ = False
    command: str
    timeout_s: float
    reporter: Reporter = ""

    @property
    def executed(self) -> str:
        """Return the shell command that is really run."""
        if self.reporter == "unittest":
            return RUNS_UNITTEST.sub(rf'\1 -c "${REPORTER}"', self.command)
        return self.command


@frozen
class Suite:
    """What one run of a project's tests left behind.

    Attributes:
        done: what the host saw of the command.
        report: what its report says; None where none was left, or one that is none.
        broken: why a report that was left is not taken.
        counts: by the report, else by the output; None where neither says anything.
        taken: the settings that were taken from the base.
    """

    done: CommandRun
    report: TestReport | None
    broken: str
    counts: Counts | None
    taken: tuple[str, ...] = ()


def reporter_of(command: str) -> Reporter:
    """Tell what a command's own words promise to leave a report."""
    if NAMES_PYTEST.search(command):
        return "" if OWN_REPORT.search(command) else "pytest"
    return "unittest" if RUNS_UNITTEST.search(command) else ""


class Suites:
    """Runs tests on the commit and on the base; asked twice, it answers with the same run.

    One object serves all gates of one judging.

    Args:
        token: a word that nothing inside can guess before it runs.
    """

    def __init__(self, *, token: str = "") -> None:
        token = token or secrets.token_hex(16)
        self._report = f"{token}.xml"
        self._suites: dict[tuple[object, ...], Suite] = {}
        self._locks: dict[tuple[object, ...], anyio.Lock] = {}

    async def now(self, change: Change, tests: TestCommand) -> Suite:
        """Run the tests on the commit, with the settings of the base."""

        async def run() -> Suite:
            taken = await settings_of_base(change, tests.command)
            done = await change.run(tests.executed, tests.timeout_s, self._conditions(tests, taken))
            return await anyio.to_thread.run_sync(self._suite, done, taken)

        return await self._once((change.commit, change.base, tests), run)

    async def before(
        self, change: Change, tests: TestCommand, taking: tuple[str, ...] = ()
    ) -> Suite:
        """Run the tests on the base.

        Args:
            change: what is judged.
            tests: the command.
            taking: files that are laid over it as they are on the commit.
        """

        async def run() -> Suite:
            conditions = self._conditions(tests, taking)
            done = await change.run_on_base(tests.executed, tests.timeout_s, conditions)
            return await anyio.to_thread.run_sync(self._suite, done, ())

        laid = (change.commit, taking) if taking else ()
        return await self._once((change.base, tests, laid), run)

    async def _once(self, key: tuple[object, ...], run: Callable[[], Awaitable[Suite]]) -> Suite:
        async with self._locks.setdefault(key, anyio.Lock()):
            if key not in self._suites:
                self._suites[key] = await run()
            return self._suites[key]

    def _conditions(self, tests: TestCommand, taking: tuple[str, ...]) -> Conditions:
        path = f"{{tmp}}/{self._report}"
        asked = f"--junitxml={path} -o junit_family=xunit1 -o junit_logging=no"
        environment = [("PYTEST_ADDOPTS", f"{asked} --continue-on-collection-errors")]
        if tests.reporter == "unittest":
            program = importlib.resources.files("orchestrator_tools") / "unittests.py"
            environment = [
                (REPORTER, program.read_text(encoding="utf-8")),
                ("ORCHESTRATE_TEST_REPORT", path),
            ]
        return Conditions(taking=taking, environment=tuple(environment), reports=(self._report,))

    def _suite(self, done: CommandRun, taken: tuple[str, ...]) -> Suite:
        report, broken = None, ""
        data = done.reports.get(self._report)
        if data is not None:
            try:
                report = read_report(data)
            except ReportBrokenError as error:
                broken = str(error)
        said = counted(done.output)
        counts = said
        if report is not None:
            # Deselected tests are in no report.
            deselected = said.deselected if said else 0
            counts = Counts(
                report.counts.passed, report.counts.failed, report.counts.skipped, deselected
            )
        return Suite(done, report, broken, counts, taken)
