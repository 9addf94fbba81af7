"""Runs an issue from a program, and prints what happens.

python examples/embed.py REPOSITORY ISSUE [MODEL]
"""

import asyncio
import sys

from orchestrator import Event, Orchestrator, Signal


async def show(event: Event | Signal) -> None:
    """Print the name of everything that happens."""
    print(type(event).__name__)


async def main(repository: str, issue: str, model: str | None = None) -> None:
    """Run the issue."""
    async with Orchestrator.from_config(repo=repository, sinks=[show]) as orchestrator:
        outcome = await orchestrator.run_issue(issue, model=model)
    print(outcome.status, outcome.branch, f"${outcome.cost_usd:.2f}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
