"""What the commands that run something share: sinks, signals, and the way to the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import anyio

from orchestrator.cli.ending import show_end
from orchestrator.cli.stopping import INTERRUPTED, until_stopped
from orchestrator.config import state_folder
from orchestrator.events import Event, RunResumed, RunStarted, Signal
from orchestrator.ports import EventSink
from orchestrator.records import Outcome
from orchestrator.sinks.terminal import TerminalSink
from orchestrator.values import frozen


@frozen
class Order:
    """What the command line asks for."""

    key: str = ""
    run: str = ""
    repo: Path = Path()
    agent: str | None = None
    model: str | None = None
    limit_usd: float | None = None
    limit_turns: int | None = None
    limit_tokens: int | None = None
    limit_minutes: float | None = None
    new: bool = False
    take_over: bool = False
    at: int | None = None
    as_json: bool = False
    state: Path | None = None
    config: Path | None = None
    agents: Path | None = None
    sandbox: str | None = None
    log_file: Path | None = None

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Order:
        """Take up click's options."""
        return cls(**options)


class Begun:
    """Notes which run the command has begun, or gone on with."""

    def __init__(self) -> None:
        self.run = ""

    async def __call__(self, event: Event | Signal) -> None:
        """Take note of a run's first event in this process."""
        if isinstance(event, RunStarted | RunResumed):
            self.run = event.run.run_id


def may_colour(stream: TextIO) -> bool:
    """Tell whether styles may be written: to a terminal, unless NO_COLOR says no."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def run(order: Order) -> int:
    """Do what was asked for, and return the exit code."""
    with ExitStack() as stack:
        seen = sys.stderr.isatty()
        shown = TerminalSink(sys.stderr, colour=may_colour(sys.stderr), live=seen)
        sinks: list[EventSink] = [shown]
        if order.log_file is not None:
            from orchestrator.sinks.log import LogSink

            sinks.append(LogSink(stack.enter_context(order.log_file.open("a", encoding="utf-8"))))
        return anyio.run(_run, order, sinks)


async def _run(order: Order, sinks: list[EventSink]) -> int:
    from orchestrator.assembly.runtime import Orchestrator

    state = (order.state or state_folder(os.environ)).absolute()
    begun = Begun()
    made = Orchestrator.from_config(
        order.config,
        repo=order.repo,
        state=state,
        sinks=[*sinks, begun],
        sandbox_backend=order.sandbox,
        agents=order.agents,
    )
    async with made as orchestrator:
        from orchestrator.planning import Wish
        from orchestrator.tuning import tune_process

        tune_process()

        async def work() -> Outcome:
            if order.run and order.at is not None:
                wish = Wish(
                    model=order.model,
                    limit_usd=order.limit_usd,
                    limit_turns=order.limit_turns,
                    limit_tokens=order.limit_tokens,
                    limit_minutes=order.limit_minutes,
                )
                return await orchestrator.history().fork(order.run, order.at, wish)
            if order.run:
                return await orchestrator.resume(
                    order.run,
                    model=order.model,
                    limit_usd=order.limit_usd,
                    limit_turns=order.limit_turns,
                    limit_tokens=order.limit_tokens,
                    limit_minutes=order.limit_minutes,
                    take_over=order.take_over,
                )
            return await orchestrator.run_issue(
                order.key,
                agent=order.agent,
                model=order.model,
                limit_usd=order.limit_usd,
                limit_turns=order.limit_turns,
                limit_tokens=order.limit_tokens,
                limit_minutes=order.limit_minutes,
                new=order.new,
            )

        outcome = await until_interrupted(work)
        if outcome is None:
            # A fork that never began is told of by nothing: its parent is another run.
            asked = "" if order.at is not None else order.key or order.run
            named = begun.run or asked
            outcome = await orchestrator.parked(named) if named else None
    if outcome is None:
        sys.stderr.write("orchestrate: interrupted (go on with the same command)\n")
        return INTERRUPTED
    report = state / "runs" / outcome.run / "report.md"
    return show_end(outcome, as_json=order.as_json, report=report if report.is_file() else None)


async def until_interrupted(work: Callable[[], Awaitable[Outcome]]) -> Outcome | None:
    """Do the work; the first Ctrl-C or SIGTERM ends it in order, and gives None."""
    found: list[Outcome] = []

    async def kept() -> None:
        found.append(await work())

    await until_stopped(kept, lambda _: None)
    return found[0] if found else None
