"""The command gate: a command that must succeed, judged by what the host saw of it."""

from __future__ import annotations

import anyio.to_thread

from orchestrator.gates.configured import settings_of_base, told_of
from orchestrator.gates.evidence import verdict_of_tests
from orchestrator.gates.messages import OUTPUT, compare
from orchestrator.gates.suites import Suites, TestCommand, reporter_of
from orchestrator.ports import Change, CommandRun
from orchestrator.records import Conditions, Verdict, VerdictState


class CommandGate:
    """Runs one command in a fresh sandbox, on a clean checkout of the commit.

    Settings of tools are as on the base, whatever the commit does to them.

    Args:
        name: the gate's name.
        command: the shell command.
        tests: whether it runs tests; then zero tests executed is a failure.
        timeout_s: seconds after which it is ended, and has failed.
        new_only: whether what the base complains of too is forgiven.
        against_base: whether tests are run on the base too, to see which are lost.
        suites: the test runs of this judging.
    """

    def __init__(  # noqa: PLR0913 - the row of the settings, and what gates share
        self,
        name: str,
        command: str,
        *,
        tests: bool,
        timeout_s: float,
        new_only: bool = False,
        against_base: bool = True,
        suites: Suites | None = None,
    ) -> None:
        self.name = name
        self._command = command
        self._tests = tests
        self._timeout_s = timeout_s
        self._new_only = new_only
        self._against_base = against_base
        self._suites = suites or Suites()

    async def judge(self, change: Change) -> Verdict:
        """Run the command and judge its end."""
        if not self._tests:
            return await judge_command(
                self.name, change, self._command, self._timeout_s, new_only=self._new_only
            )
        tests = TestCommand(self._command, self._timeout_s, reporter_of(self._command))
        return await judge_tests(
            self.name, change, tests, self._suites, against_base=self._against_base
        )


async def judge_tests(
    gate: str, change: Change, tests: TestCommand, suites: Suites, *, against_base: bool
) -> Verdict:
    """Run tests on the commit, and on the base where there is something to compare."""
    now = await suites.now(change, tests)
    before = None
    if against_base and now.done.exit_status == 0:
        before = await suites.before(change, tests)
    return await verdict_of_tests(gate, change, tests, now, before)


async def judge_command(
    gate: str,
    change: Change,
    command: str,
    timeout_s: float,
    *,
    new_only: bool,
) -> Verdict:
    """Run a command that is no test on the commit, and where only what is new counts on the base.

    Args:
        gate: the gate's name.
        change: what is judged.
        command: the shell command.
        timeout_s: seconds after which it is ended.
        new_only: whether what the base complains of too is forgiven.
    """
    taken = await settings_of_base(change, command)
    conditions = Conditions(
        taking=taken,
        environment=(("RUFF_OUTPUT_FORMAT", "concise"),) if new_only else (),
        output=OUTPUT if new_only else Conditions().output,
    )
    done = await change.run(command, timeout_s, conditions)
    state, reason = _judged(done.exit_status)
    details = done.output
    if state == "failed" and new_only and done.exit_status is not None:
        plain = Conditions(environment=conditions.environment, output=conditions.output)
        before = await change.run_on_base(command, timeout_s, plain)
        state, reason, details = await anyio.to_thread.run_sync(compare, before, done)
    return command_verdict(gate, change, done, (state, reason + told_of(taken)), details)


def command_verdict(
    gate: str, change: Change, done: CommandRun, judged: tuple[VerdictState, str], details: str
) -> Verdict:
    """Return the verdict on a command that has been run."""
    state, reason = judged
    kept = Conditions().output
    return Verdict(
        gate=gate,
        state=state,
        reason=reason,
        details=details if len(details) <= kept else f"{details[:kept]}\n[...]",
        argv=done.argv,
        exit_status=done.exit_status,
        duration_s=round(done.duration_s, 3),
        commit=change.commit,
        tree=change.tree,
    )


def _judged(status: int | None) -> tuple[VerdictState, str]:
    if status is None:
        return "failed", "ended because it took too long"
    if status:
        return "failed", f"exit status {status}"
    return "passed", "exit status 0"
