"""A shift: many issues, mixed fates, one ceiling, and nothing repeated."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import pytest

from orchestrator.accounts import Account
from orchestrator.batches.book import NightBook, decode_events
from orchestrator.batches.jobs import Job, Looks, RunStanding
from orchestrator.batches.nights import (
    Expected,
    IssueBegun,
    IssueTriedAgain,
    Night,
    NightBegun,
    NightEvent,
    Planned,
    Site,
    Wanted,
)
from orchestrator.batches.shift import Shift, ShiftPace
from orchestrator.batches.views import NightView
from orchestrator.errors import (
    IssueNotFound,
    IssueNotReady,
    JournalError,
    LeaseLost,
    SandboxUnavailable,
)
from orchestrator.events import Waiting
from orchestrator.records import Limits, Outcome, OutcomeStatus

pytestmark = pytest.mark.asyncio
REPO = "/r/.git"
Step = Callable[["Place", Job], Awaitable[Outcome]]


def ends(status: OutcomeStatus = "done", usd: float = 0.1, error: str = "") -> Step:
    """Build what a run does: it spends and ends."""

    async def step(place: Place, job: Job) -> Outcome:
        return place.spend(job, usd, status, error)

    return step


def fails(error: BaseException) -> Step:
    """Build what a run does: it cannot even be begun."""

    async def step(_: Place, __: Job) -> Outcome:
        raise error

    return step


def works(usd: float = 0.1, gate: anyio.Event | None = None) -> Step:
    """Build what a run does: it spends, and works until it may end or is parked."""

    async def step(place: Place, job: Job) -> Outcome:
        place.spend(job, usd)
        await (gate or anyio.Event()).wait()
        if place.purse.closed:
            return place.spend(job, 0.0, "limit_reached", f"{place.purse.closed} was reached")
        return place.spend(job, 0.0, "done")

    return step


def waits(told: list[str]) -> Step:
    """Build what a run does: it says that it waits, and waits."""

    async def step(place: Place, job: Job) -> Outcome:
        assert place.looks is not None
        await place.looks(job.planned.id, job.run, Waiting("529", 300.0))
        told.append(job.planned.issue)
        await anyio.sleep_forever()
        raise AssertionError

    return step


@dataclass
class Place:
    """A repository in memory.

    Attributes:
        steps: what the tries of an issue do, one after the other; the last one again and again.
        runs: state and cost of each run.
        jobs: all that was asked for.
        most: how many were at work at once, at most.
    """

    purse: Account
    steps: dict[str, list[Step]] = field(default_factory=dict)
    runs: dict[str, tuple[str, float]] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    working: set[str] = field(default_factory=set)
    beside: set[frozenset[str]] = field(default_factory=set)
    most: int = 0
    looks: Looks | None = None

    def spend(
        self, job: Job, usd: float, status: OutcomeStatus = "done", error: str = ""
    ) -> Outcome:
        """Book what a run spends, where the purse has it, and return its outcome."""
        left = self.purse.left_usd()
        if left is not None and usd > left + 1e-9:
            usd, status, error = 0.0, "limit_reached", "the rest of the money does not pay"
        _, before = self.runs.get(job.run, ("running", 0.0))
        parked = status in {"limit_reached", "unavailable", "cancelled"}
        self.runs[job.run] = ("parked" if parked else status, before + usd)
        self.purse.book(usd, 0)
        return Outcome(
            status,
            job.run,
            job.planned.issue,
            "builder",
            "m",
            cost_usd=before + usd,
            error=error,
            branch="b" if status == "done" else "",
        )

    async def unfinished(self, issue: str) -> str | None:
        """Return a run that an earlier command left."""
        return self.left.get(issue)

    async def standing(self, run: str) -> RunStanding:
        """Tell how a run stands."""
        return RunStanding(*self.runs.get(run, ("none", 0.0)))

    async def work(self, job: Job, looks: Looks) -> Outcome:
        """Do what the script says."""
        self.looks = looks
        self.jobs.append(job)
        key = job.planned.issue
        state, usd = self.runs.get(job.run, ("none", 0.0))
        if state in {"done", "gate_failed"}:
            status: OutcomeStatus = "done" if state == "done" else "gate_failed"
            return Outcome(status, job.run, key, "builder", "m", cost_usd=usd)
        self.working.add(key)
        self.most = max(self.most, len(self.working))
        self.beside |= {frozenset({key, other}) for other in self.working if other != key}
        try:
            await anyio.lowlevel.checkpoint()
            script = self.steps.get(key, [ends()])
            return await (script.pop(0) if len(script) > 1 else script[0])(self, job)
        finally:
            self.working.discard(key)

    def tried(self) -> list[str]:
        """Return the keys of all tries, in order."""
        return [job.planned.issue for job in self.jobs]


class Kept:
    """The journal of a night in memory; it can die."""

    def __init__(self) -> None:
        self.night = "n-1"
        self.epoch = 1
        self.rows: list[tuple[str, str, bytes]] = []
        self.dies_after: int | None = None

    async def append(self, rows: Any, state: str | None = None) -> None:
        """Keep events, each key once."""
        del state
        if self.dies_after is not None and len(self.rows) >= self.dies_after:
            raise LeaseLost("another process has the night")
        keys = {key for key, _, _ in self.rows}
        for row in rows:
            if row[0] in keys:
                raise JournalError(f"recorded already: {row[0]}")
        self.rows += rows

    async def events(self) -> list[tuple[str, bytes]]:
        """Return what is kept."""
        return [(kind, data) for _, kind, data in self.rows]


@dataclass
class Clock:
    """A clock that the test sets."""

    now: float = 1000.0

    def __call__(self) -> float:
        """Return the moment."""
        return self.now


@dataclass
class Scene:
    """A night, and what works on it."""

    night: Night
    kept: Kept
    book: NightBook
    place: Place
    purse: Account
    shift: Shift
    clock: Clock

    @property
    def fates(self) -> dict[str, str]:
        """Return kind and reason of each issue's fate."""
        found = {}
        for (_, key), view in self.book.view.issues.items():
            fate = view.fate
            found[key] = " ".join(filter(None, (fate.kind, fate.why))) if fate else view.standing
        return found

    async def work(self) -> None:
        """Work through the night, in bounded time."""
        with anyio.fail_after(20):
            await self.shift.work()

    def all(self, kind: type[NightEvent]) -> list[Any]:
        """Return what was recorded of a kind."""
        events = decode_events([(kind, data) for _, kind, data in self.kept.rows])
        return [one for one in events if isinstance(one, kind)]


def planned(key: str, usd: float = 0.0, **changes: Any) -> Planned:
    """Build an issue of a plan."""
    return replace(Planned(REPO, key, expected=Expected(usd=usd)), **changes)


async def a_scene(
    plan: list[Planned],
    steps: Mapping[str, list[Step]] | None = None,
    *,
    before: Scene | None = None,
    pace: ShiftPace | None = None,
    **changes: Any,
) -> Scene:
    """Build a night, or what goes on with one after its process died."""
    wanted = changes.pop("wanted", Wanted())
    night = replace(Night("n-1", (Site(REPO, "/r"),), wanted, tuple(plan)), **changes)
    kept = before.kept if before else Kept()
    kept.dies_after = None
    if before:
        kept.epoch += 1
    view = NightView(night, decode_events(await kept.events()))
    purse = Account(night.ceiling, whose="the night")
    place = Place(purse, dict(steps or {}))
    clock = before.clock if before else Clock()
    if before:
        place.runs, place.jobs = before.place.runs, []
        purse.book(sum(usd for _, usd in place.runs.values()), 0)
    book = NightBook(kept, view)
    await book.emit(NightBegun(kept.epoch, night, clock()))
    usual = ShiftPace(backoff_s=0.0)
    shift = Shift(
        book,
        {REPO: place},
        purse=purse,
        wall=clock,
        dice=random.Random(1),
        pace=pace or usual,
    )
    return Scene(night, kept, book, place, purse, shift, clock)


def keys(count: int) -> list[Planned]:
    """Build a plan of so many issues."""
    return [planned(str(number)) for number in range(1, count + 1)]


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
    scene = await a_scene(
        keys(1), {"1": [ends("unavailable", 0.2, "529")]}, wanted=Wanted(retries=2)
    )
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
        "1": [ends("limit_reached", 1.0, "the rest of the money does not pay for another reply")],
        "2": [ends("limit_reached", 0.5, "the limit of 3 turns was reached")],
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


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    with anyio.fail_after(20):
        while not holds():  # noqa: ASYNC110 - what is looked at tells nobody
            await anyio.sleep(0.01)
