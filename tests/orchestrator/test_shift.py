"""A shift: many issues, mixed fates, one ceiling, and nothing repeated."""

from __future__ import annotations

import random
from contextlib import suppress

import anyio
import pytest

from orchestrator.accounts import RUN
from orchestrator.amounts import Reached
from orchestrator.batches.jobs import WHOSE
from orchestrator.batches.nights import (
    Expected,
    IssueBegun,
    IssueTriedAgain,
    Wanted,
)
from orchestrator.errors import (
    IssueNotFound,
    IssueNotReady,
    LeaseLost,
    SandboxUnavailable,
)
from orchestrator.records import Limits, OutcomeStatus
from tests.orchestrator.shift_scene import (
    REPO,
    Step,
    a_scene,
    ends,
    fails,
    keys,
    planned,
    until,
    waits,
    works,
)

pytestmark = pytest.mark.asyncio


async def test_every_issue_gets_its_own_fate() -> None:
    """A run that fails, a machine's fault, a crash and a vanished issue stop no other."""
    steps = {
        "2": [ends("gate_failed")],
        "3": [ends("needs_human")],
        "4": [fails(IssueNotFound("no issue 4"))],
        "5": [fails(IssueNotReady("issue 5 is closed"))],
        "6": [ends("unavailable", error="529")],
        "7": [fails(RuntimeError("a bug"))],
        "8": [fails(SandboxUnavailable("no walls")), ends()],
        "9": [ends("failed")],
    }
    scene = await a_scene(keys(12), steps, parallel=3)
    await scene.work()
    assert scene.fates == {
        "1": "done",
        "2": "not_done",
        "3": "not_done",
        "4": "vanished",
        "5": "passed_over not_ready",
        "6": "infrastructure",
        "7": "infrastructure",
        "8": "done",
        "9": "not_done",
        "10": "done",
        "11": "done",
        "12": "done",
    }
    assert scene.place.most == 3
    fate = scene.book.view.issues[REPO, "7"].fate
    assert fate is not None
    assert "a bug" in fate.said


async def test_faults_of_others_are_tried_again_a_few_times() -> None:
    """The same run goes on after each fault; in the end the fault is told as what it is."""
    scene = await a_scene(keys(1), {"1": [ends("unavailable", 0.2)]}, wanted=Wanted(retries=2))
    await scene.work()
    assert len(scene.place.jobs) == 3
    assert [job.is_there for job in scene.place.jobs] == [False, True, True]
    assert len({job.run for job in scene.place.jobs}) == 1
    assert len(scene.all(IssueTriedAgain)) == 2
    view = scene.book.view.issues[REPO, "1"]
    assert view.usd == pytest.approx(0.6), "each try adds to what the run has cost"
    assert [fate.kind for fate in view.tries] == ["infrastructure"] * 2


async def test_who_waits_for_an_issue_begins_after_it() -> None:
    """Blockers are done first, and are told to the run as done."""
    plan = [planned("1"), planned("2", blocked_by=("1",)), planned("3", blocked_by=("2",))]
    scene = await a_scene(plan, parallel=3)
    await scene.work()
    assert scene.place.tried() == ["1", "2", "3"]
    assert [job.done for job in scene.place.jobs] == [(), ("1",), ("2",)]
    assert scene.place.most == 1


async def test_who_waits_for_a_failed_issue_is_passed_over() -> None:
    """What cannot be done for want of another is told, with all that waits for it in turn."""
    plan = [
        planned("3", blocked_by=("2",)),
        planned("2", blocked_by=("1",)),
        planned("1"),
        planned("4"),
    ]
    scene = await a_scene(plan, {"1": [ends("gate_failed")]})
    await scene.work()
    assert scene.fates == {
        "1": "not_done",
        "2": "passed_over blocked",
        "3": "passed_over blocked",
        "4": "done",
    }
    fate = scene.book.view.issues[REPO, "2"].fate
    assert fate is not None
    assert "1, which is not done" in fate.said


async def test_issues_that_wait_for_each_other_hold_nobody_up() -> None:
    """A circle is told, not waited for."""
    plan = [planned("1", blocked_by=("2",)), planned("2", blocked_by=("1",)), planned("3")]
    scene = await a_scene(plan)
    await scene.work()
    assert scene.fates == {
        "1": "passed_over blocked",
        "2": "passed_over blocked",
        "3": "done",
    }


async def test_issues_of_the_same_files_are_not_side_by_side() -> None:
    """What must be apart is worked on one after the other."""
    plan = [planned("1", apart_from=("2",)), planned("2", apart_from=("1",)), planned("3")]
    scene = await a_scene(plan, parallel=3)
    await scene.work()
    assert set(scene.fates.values()) == {"done"}
    assert frozenset({"1", "2"}) not in scene.place.beside
    assert scene.place.most == 2


async def test_nothing_begins_that_the_rest_cannot_cover() -> None:
    """The ceiling counts what is spent and what is promised; no issue overtakes for money."""
    plan = [planned(str(number), usd=1.0) for number in range(1, 6)]
    steps = {str(number): [ends(usd=0.9)] for number in range(1, 6)}
    scene = await a_scene(plan, steps, parallel=5, ceiling=Limits(usd=3.0))
    await scene.work()
    assert scene.place.tried() == ["1", "2", "3"]
    assert scene.fates["4"] == scene.fates["5"] == "passed_over ceiling"
    assert scene.book.view.hit_ceiling
    assert scene.purse.spent_usd <= 3.0


async def test_where_nothing_is_expected_a_runs_own_limit_is_promised() -> None:
    """Without a forecast an issue is taken to need what it may use up."""
    scene = await a_scene(keys(4), parallel=4, ceiling=Limits(usd=2.5), per_issue=Limits(usd=1.0))
    await scene.work()
    assert scene.place.most == 2
    assert set(scene.fates.values()) == {"done"}, "what the first ones left pays for the others"


async def test_a_run_that_came_to_the_ceiling_is_told_as_that() -> None:
    """A run parked for want of the night's money is not one that came to its own limit."""
    steps = {
        "1": [ends("limit_reached", 1.0, limit=Reached("usd", WHOSE, "the rest of the money"))],
        "2": [ends("limit_reached", 0.5, limit=Reached("turns", RUN, "the limit of 3 turns"))],
    }
    scene = await a_scene(keys(2), steps, parallel=1, ceiling=Limits(usd=1.6))
    await scene.work()
    assert scene.fates == {"1": "parked ceiling", "2": "parked limit"}


async def test_a_stop_lets_turns_finish_and_passes_over_the_rest() -> None:
    """After a stop runs park by themselves, and nothing more is begun."""
    gate = anyio.Event()
    scene = await a_scene(keys(5), {"1": [works(gate=gate)], "2": [works(gate=gate)]}, parallel=2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(scene.work)
        await until(lambda: scene.place.working == {"1", "2"})
        scene.shift.stop()
        gate.set()
    assert scene.fates == {
        "1": "parked stopped",
        "2": "parked stopped",
        **dict.fromkeys(("3", "4", "5"), "passed_over stopped"),
    }
    assert scene.book.view.stopping == "stopped"
    assert not scene.book.view.complete


async def test_a_stop_does_not_wait_for_who_waits() -> None:
    """A run that a service has asked for patience has no turn in flight: it is parked at once."""
    told: list[str] = []
    scene = await a_scene(keys(2), {"1": [waits(told)], "2": [ends()]}, parallel=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(scene.work)
        await until(lambda: told == ["1"])
        scene.shift.stop()
    assert scene.fates == {"1": "parked stopped", "2": "passed_over stopped"}


async def test_a_second_stop_ends_runs_at_once() -> None:
    """Whatever runs do, they are parked; nothing is lost, and a resume goes on with them."""
    scene = await a_scene(keys(3), {"1": [works()], "2": [works()]}, parallel=2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(scene.work)
        await until(lambda: scene.place.working == {"1", "2"})
        scene.shift.stop()
        scene.shift.stop_now()
    assert scene.fates["1"] == scene.fates["2"] == "parked stopped"
    after = await a_scene(list(scene.night.plan), before=scene)
    await after.work()
    assert set(after.fates.values()) == {"done"}
    assert [job.is_there for job in after.place.jobs] == [True, True, False]


async def test_a_cancelled_night_parks_and_says_that_it_is_over() -> None:
    """Where the program that works on it gives up, another process can go on at once."""
    scene = await a_scene(keys(2), {"1": [works()]}, parallel=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(scene.work)
        await until(lambda: scene.place.working == {"1"})
        tasks.cancel_scope.cancel()
    assert scene.book.view.ended is not None
    assert not scene.book.view.complete
    after = await a_scene(list(scene.night.plan), before=scene)
    await after.work()
    assert set(after.fates.values()) == {"done"}


async def test_at_the_end_of_the_night_runs_park() -> None:
    """When the moment comes nothing is begun, and what runs finishes its turn."""
    gate = anyio.Event()
    scene = await a_scene(keys(2), {"1": [works(gate=gate)]}, parallel=1, until=1000.05)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(scene.work)
        await until(lambda: scene.place.working == {"1"})
        scene.clock.now = 1001.0
        await until(lambda: bool(scene.purse.closed))
        gate.set()
    assert scene.fates == {"1": "parked until", "2": "passed_over until"}


async def test_nothing_begins_that_would_not_end_in_time() -> None:
    """An issue that is expected to take longer than the night lasts is passed over at once."""
    plan = [
        planned("1", expected=Expected(minutes=60)),
        planned("2", expected=Expected(minutes=10)),
    ]
    scene = await a_scene(plan, until=1000.0 + 30 * 60)
    await scene.work()
    assert scene.fates == {"1": "passed_over until", "2": "done"}


async def test_a_run_that_was_left_by_an_earlier_command_is_gone_on_with() -> None:
    """What it had cost before is not this night's."""
    scene = await a_scene(keys(1), {"1": [ends(usd=0.5)]})
    scene.place.left["1"] = "1-before"
    scene.place.runs["1-before"] = ("parked", 2.0)
    await scene.work()
    (job,) = scene.place.jobs
    assert (job.run, job.is_there) == ("1-before", True)
    assert scene.book.view.issues[REPO, "1"].usd == pytest.approx(0.5)


async def test_a_night_that_was_taken_over_ends_its_runs() -> None:
    """A process that may not record any more parks its runs and says so."""
    scene = await a_scene(keys(3), {"2": [works()], "3": [works()]}, parallel=3)
    scene.kept.dies_after = 4
    with pytest.raises(LeaseLost):
        await scene.work()
    assert not scene.place.working


@pytest.mark.parametrize("seed", range(12))
async def test_killed_at_any_event_nothing_is_repeated(seed: int) -> None:
    """Wherever the process dies, what ended is not begun again, and the ceiling holds."""
    dice = random.Random(seed)
    plan = [planned(str(number), usd=0.3) for number in range(1, 13)]
    ceiling = Limits(usd=2.8)
    wishes: list[OutcomeStatus] = ["done", "gate_failed", "unavailable"]
    chosen = {one.issue: dice.choice(wishes) for one in plan}

    def scripts() -> dict[str, list[Step]]:
        return {key: [ends(status, 0.3)] for key, status in chosen.items()}

    retries = Wanted(retries=1)
    scene = await a_scene(plan, scripts(), ceiling=ceiling, parallel=3, wanted=retries)
    for life in range(30):
        scene.kept.dies_after = len(scene.kept.rows) + dice.randint(1, 9) if life < 25 else None
        with suppress(LeaseLost):
            await scene.work()
        if scene.kept.dies_after is None:
            break
        scene = await a_scene(
            plan, scripts(), before=scene, ceiling=ceiling, parallel=3, wanted=retries
        )
    for run, (state, usd) in scene.place.runs.items():
        if state in {"done", "gate_failed"}:
            assert usd == pytest.approx(0.3), f"{run} was paid for twice"
    assert sum(usd for _, usd in scene.place.runs.values()) <= 2.8 + 1e-9
    runs = {one.run: one.issue for one in scene.all(IssueBegun) if one.run}
    assert len(set(runs.values())) == len(runs), "no issue has two runs"
    assert scene.book.view.ended is not None
