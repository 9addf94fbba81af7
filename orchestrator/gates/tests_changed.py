"""Changed code is tested: by tests that fail on the base and pass on the commit."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.gates.configured import told_of
from orchestrator.gates.detect import missing_inside, not_executed, tests_of
from orchestrator.gates.production import Parts, parts_of
from orchestrator.gates.reports import Case, Places, TestReport
from orchestrator.gates.suites import Suite, Suites, TestCommand
from orchestrator.ports import Change
from orchestrator.records import Verdict, VerdictState
from orchestrator.values import frozen

NAMED = 3
TOLD = 50


@frozen
class Found:
    """What a comparison of commit and base says."""

    state: VerdictState
    reason: str
    details: str = ""


class ChangedTestsGate:
    """Asks of every change of code for a test that the base fails and the commit passes.

    Args:
        suites: the test runs of this judging.
        commands: how the tests are run; empty means that it is told from the files.
        timeout_s: seconds after which tests that are told from the files are ended.
    """

    name = "changed-tests"

    def __init__(
        self, *, suites: Suites, commands: Sequence[TestCommand] = (), timeout_s: float = 900.0
    ) -> None:
        self._suites = suites
        self._commands = tuple(commands)
        self._timeout_s = timeout_s

    async def judge(self, change: Change) -> Verdict:
        """Run the changed tests against the code of the base."""
        parts = await parts_of(change)
        if not parts.code:
            return self._plain(change, "no code is changed that tests could prove")
        if parts.moved:
            return self._plain(change, "code is only moved or taken away")
        verdicts = []
        for tests in self._commands or (await tests_of(change, self._timeout_s),):
            if isinstance(tests, str):
                return not_executed(self.name, change, tests)
            verdict = await self._compared(change, parts, tests)
            if verdict.state == "passed":
                return verdict
            verdicts.append(verdict)
        # Where one runner says that nothing proves the change, another one cannot take it back.
        return next((one for one in verdicts if one.state == "failed"), verdicts[0])

    def _plain(self, change: Change, reason: str) -> Verdict:
        return Verdict(
            gate=self.name, state="passed", reason=reason, commit=change.commit, tree=change.tree
        )

    async def _compared(self, change: Change, parts: Parts, tests: TestCommand) -> Verdict:
        now = await self._suites.now(change, tests)
        if now.done.exit_status:
            what = await missing_inside(change, tests, now, self._suites)
            if what:
                reason = f"dependencies are not installed inside: {what}"
                return not_executed(self.name, change, reason)
        taking = parts.of_tests if parts.tests else ()
        before = await self._suites.before(change, tests, taking)
        found = await self._found(change, parts, tests, before, now)
        return Verdict(
            gate=self.name,
            state=found.state,
            reason=found.reason + told_of(now.taken),
            details=found.details,
            argv=("bash", "-c", tests.command),
            exit_status=now.done.exit_status,
            duration_s=round(now.done.duration_s + before.done.duration_s, 3),
            commit=change.commit,
            tree=change.tree,
            counts=now.counts,
        )

    async def _found(
        self, change: Change, parts: Parts, tests: TestCommand, before: Suite, now: Suite
    ) -> Found:
        if before.done.exit_status is None or now.done.exit_status is None:
            return Found("failed", "the tests took too long to be compared", now.done.output)
        if before.report is not None and now.report is not None:
            places = Places([*await change.names(), *await change.base_names()])
            return _by_name(parts, before.report, now.report, places)
        if now.done.exit_status:
            return Found("failed", "the tests do not pass", now.done.output)
        if not parts.tests:
            return _untested(parts) if before.done.exit_status == 0 else _mended(["the tests"])
        plain = await self._suites.before(change, tests)
        return _by_status(parts, plain, before)


def _untested(parts: Parts) -> Found:
    what = _some(parts.code)
    return Found("failed", f"code is changed ({what}), and no test is added or changed")


def _mended(names: Sequence[str]) -> Found:
    what = names[0] if len(names) == 1 else f"{len(names)} tests"
    reason = f"{what} failed on the base, and passed now"
    return Found("passed", reason, "\n".join(names[:TOLD]))


def _by_name(parts: Parts, before: TestReport, now: TestReport, places: Places) -> Found:
    broken = {_file(one, places) for one in before.cases if not one.collected}
    failed = {_key(one) for one in before.cases if one.ended == "failed"}
    passed = {_key(one) for one in before.cases if one.ended == "passed"}
    good = [one for one in now.cases if one.collected and one.ended == "passed"]
    wanted = set(parts.tests)
    mine = [one for one in good if _file(one, places) in wanted]
    idle = [one.title for one in mine if _key(one) in passed][:TOLD]
    proof = [one for one in good if _key(one) in failed or _file(one, places) in broken]
    if proof:
        found = _mended([one.title for one in proof])
        told = "\n".join([found.details, "they pass on the base too:", *idle])
        return Found("passed", found.reason, told if idle else found.details)
    if not wanted:
        return _untested(parts)
    if not mine:
        ran = any(_file(one, places) in wanted for one in now.cases)
        return Found("failed", f"no test of {_some(parts.tests)} {'passes' if ran else 'ran'}")
    reason = f"no changed test fails on the base: {len(idle)} pass there too"
    return Found("failed", reason, "\n".join(idle))


def _by_status(parts: Parts, plain: Suite, laid: Suite) -> Found:
    files = _some(parts.tests)
    if laid.done.exit_status == 0:
        return Found("failed", f"no changed test fails on the base ({files})", laid.done.output)
    if plain.done.exit_status == 0:
        return _mended([f"the tests with {files}"])
    if plain.counts and laid.counts and laid.counts.failed > plain.counts.failed:
        return _mended([f"{laid.counts.failed - plain.counts.failed} more tests with {files}"])
    return Found(
        "not_executed", "the tests of the base fail themselves: what is new cannot be told apart"
    )


def _file(one: Case, places: Places) -> str:
    return places.of(one.file)


def _key(one: Case) -> tuple[str, str, str]:
    return one.file, one.owner, one.name


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
