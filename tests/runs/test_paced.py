"""Runs wait for their turn to start and to hand in, and never for each other in a ring."""

from __future__ import annotations

import anyio
import pytest

from orchestrator.collect import CollectedWork, Collector
from orchestrator.errors import SandboxUnavailable
from orchestrator.pacing import Pacing
from orchestrator.testing import says
from tests.runs.stage import MEND, Stage

DEADLINE_S = 120


@pytest.mark.asyncio
async def test_a_run_taken_up_where_it_hands_in_needs_one_place(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has its workspace made before it takes the place in which its work comes out."""

    async def gone(*_: object, **__: object) -> CollectedWork:
        raise SandboxUnavailable("the machine is being updated")

    with monkeypatch.context() as broken:
        broken.setattr(Collector, "collect", gone)
        first = await stage.play(says("One.", MEND), says("Done."))
    assert first.status == "unavailable"
    monkeypatch.setattr("orchestrator.assembly.plans.Pacing", lambda: Pacing(1))
    with anyio.fail_after(DEADLINE_S):
        outcome = await stage.play()
    assert outcome.status == "done"
    assert stage.model.requests == [], "the last reply is not asked for again"


@pytest.mark.asyncio
async def test_places_are_had_in_the_order_in_which_they_were_asked_for() -> None:
    """No more than there are at once; one that is called off leaves its turn to the next."""
    pacing = Pacing(2)
    inside: list[int] = []
    peak: list[int] = []
    order: list[int] = []
    go_on = anyio.Event()
    third = anyio.CancelScope()

    async def one(number: int) -> None:
        async with pacing.place():
            order.append(number)
            inside.append(number)
            peak.append(len(inside))
            await go_on.wait()
            inside.remove(number)

    async def called_off() -> None:
        with third:
            await one(2)

    async with anyio.create_task_group() as tasks:
        for number in range(2):
            tasks.start_soon(one, number)
        tasks.start_soon(called_off)
        for number in range(3, 6):
            tasks.start_soon(one, number)
        await anyio.wait_all_tasks_blocked()
        third.cancel()
        await anyio.wait_all_tasks_blocked()
        go_on.set()
    assert order == [0, 1, 3, 4, 5]
    assert max(peak) == 2


@pytest.mark.asyncio
async def test_runs_begin_one_after_the_other() -> None:
    """Each has a round of the event loop to itself before the next one begins."""
    pacing = Pacing()
    told: list[str] = []

    async def run(name: str) -> None:
        await pacing.begin()
        told.append(f"{name} begins")
        await anyio.lowlevel.checkpoint()
        told.append(f"{name} goes on")

    async with anyio.create_task_group() as tasks:
        for name in "abc":
            tasks.start_soon(run, name)
    assert told.index("a goes on") < told.index("c begins")
