"""A shift's surroundings, scripted: a place that runs issues, a night that is kept, a clock."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import anyio

from orchestrator.accounts import Account
from orchestrator.amounts import Reached
from orchestrator.batches.book import NightBook, decode_events
from orchestrator.batches.jobs import WHOSE, Job, Looks, RunStanding
from orchestrator.batches.nights import (
    Expected,
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
    JournalError,
    LeaseLost,
)
from orchestrator.events import Waiting
from orchestrator.records import Outcome, OutcomeStatus

REPO = "/r/.git"
Step = Callable[["Place", Job], Awaitable[Outcome]]


def ends(
    status: OutcomeStatus = "done",
    usd: float = 0.1,
    error: str = "",
    limit: Reached | None = None,
) -> Step:
    """Build what a run does: it spends and ends."""

    async def step(place: Place, job: Job) -> Outcome:
        return place.spend(job, usd, status, error, limit)

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
            return place.spend(job, 0.0, "limit_reached", limit=place.purse.reached())
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
        self,
        job: Job,
        usd: float,
        status: OutcomeStatus = "done",
        error: str = "",
        limit: Reached | None = None,
    ) -> Outcome:
        """Book what a run spends, where the purse has it, and return its outcome."""
        left = self.purse.left_usd()
        if left is not None and usd > left + 1e-9:
            usd, status, limit = 0.0, "limit_reached", self.purse.rest("usd")
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
            limit=limit,
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
    purse = Account(night.ceiling, whose=WHOSE)
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


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    with anyio.fail_after(20):
        while not holds():  # noqa: ASYNC110 - what is looked at tells nobody
            await anyio.sleep(0.01)
