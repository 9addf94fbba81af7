"""The command gate: a command that must succeed, judged by what the host saw of it."""

from __future__ import annotations

from orchestrator.gates.counting import executed_tests
from orchestrator.ports import Change, CommandRun
from orchestrator.records import Verdict, VerdictState


class CommandGate:
    """Runs one command in a fresh sandbox, on a clean checkout of the commit.

    Args:
        name: the gate's name.
        command: the shell command.
        tests: whether it runs tests; then zero tests executed is a failure.
        timeout_s: seconds after which it is ended, and has failed.
    """

    def __init__(self, name: str, command: str, *, tests: bool, timeout_s: float) -> None:
        self.name = name
        self._command = command
        self._tests = tests
        self._timeout_s = timeout_s

    async def judge(self, change: Change) -> Verdict:
        """Run the command and judge its end."""
        done = await change.run(self._command, self._timeout_s)
        return verdict_of(self.name, done, change, tests=self._tests)


def verdict_of(name: str, done: CommandRun, change: Change, *, tests: bool) -> Verdict:
    """Judge a command that has been run."""
    count = executed_tests(done.output) if tests else None
    state, reason = _judged(done.exit_status, count, tests=tests)
    return Verdict(
        gate=name,
        state=state,
        reason=reason,
        details=done.output,
        argv=done.argv,
        exit_status=done.exit_status,
        duration_s=round(done.duration_s, 3),
        tests=count,
        commit=change.commit,
        tree=change.tree,
    )


def _judged(status: int | None, count: int | None, *, tests: bool) -> tuple[VerdictState, str]:
    if status is None:
        return "failed", "ended because it took too long"
    if tests and count == 0:
        return "failed", f"no test was executed (exit status {status})"
    if status:
        ran = f", {count} tests executed" if count else ""
        return "failed", f"exit status {status}{ran}"
    if tests and count is None:
        return "failed", "exit status 0, but its output does not say that any test was executed"
    return "passed", f"{count} tests executed" if tests else "exit status 0"
