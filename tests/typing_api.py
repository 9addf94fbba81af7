"""The public face as a user would type it; checked by mypy, never run."""

from __future__ import annotations

from orchestrator import (
    Event,
    Nights,
    NightView,
    Orchestrator,
    Outcome,
    Signal,
    ToolResult,
    open_toolbox,
    open_workspace,
    run_batch,
)


async def sink(event: Event | Signal) -> None:
    """Take note of an event."""
    print(type(event).__name__)


async def use() -> None:
    """Use what is public."""
    async with Orchestrator.from_config("config.yaml", repo=".", sinks=[sink]) as orchestrator:
        outcome: Outcome = await orchestrator.run_issue("123", limit_usd=1.0)
        cost: float = outcome.cost_usd
        print(outcome.status, cost)
    async with open_toolbox(".", tools=["Bash"]) as toolbox:
        result: ToolResult = await toolbox.call("Bash", {"command": "ls"})
        print(result.text, result.is_error)
    async with open_workspace(".", base="HEAD") as workspace:
        commit: str = await workspace.collect("refs/heads/feature/x")
        print(commit)
    view: NightView = await run_batch(".", labels=["nightly"], limit_usd=40.0, lane="auto")
    for (repo, key), issue in view.issues.items():
        print(repo, key, issue.fate.kind if issue.fate else issue.standing, issue.usd)
    async with Nights() as nights, nights.resumed() as shift:
        await shift.work()
        print(shift.view.counts())
