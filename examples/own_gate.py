"""Runs an issue with a gate of your own: a Python object that judges the change.

python examples/own_gate.py REPOSITORY ISSUE [MODEL]
"""

import asyncio
import sys

from orchestrator import Change, Gate, Orchestrator, Verdict

MOST_FILES = 10


class SmallEnough:
    """Passes changes of a few files; larger ones are a person's to approve."""

    name = "small-enough"

    async def judge(self, change: Change) -> Verdict:
        """Return the verdict; it is recorded under this gate's name, for the tree it judged."""
        files = await change.changes()
        if len(files) <= MOST_FILES:
            return Verdict(self.name, "passed", f"{len(files)} files")
        reason = f"{len(files)} files, {MOST_FILES} are allowed"
        return Verdict(self.name, "failed", reason, person=True)


class HasNoPrints:
    """Runs a command on a clean checkout of the commit, in a sandbox of its own."""

    name = "no-prints"

    async def judge(self, change: Change) -> Verdict:
        """Return the verdict; what could not be run is not executed, never passed."""
        if not await change.available("command -v grep"):
            return Verdict(self.name, "not_executed", "there is no grep inside")
        done = await change.run("! grep -rn 'print(' --include=*.py shop", timeout_s=60)
        if done.exit_status == 0:
            return Verdict(self.name, "passed", "no print is left")
        return Verdict(self.name, "failed", "prints are left", details=done.output)


async def main(repository: str, issue: str, model: str | None = None) -> None:
    """Run the issue, and print what each gate saw."""
    gates: list[Gate] = [SmallEnough(), HasNoPrints()]
    async with Orchestrator.from_config(repo=repository, gates=gates) as orchestrator:
        outcome = await orchestrator.run_issue(issue, model=model)
    for verdict in outcome.verdicts:
        print(verdict.gate, verdict.state, verdict.reason, sep=": ")
    print(outcome.status, outcome.branch)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
