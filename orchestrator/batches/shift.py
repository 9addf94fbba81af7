"""A shift: one process at work on a night, from where its book says that the night stands."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from contextlib import suppress
from typing import Literal

import anyio
import anyio.abc

from orchestrator.batches.book import NightBook
from orchestrator.batches.cover import Cover, needs
from orchestrator.batches.jobs import Looks, Purse, Workplace, nobody
from orchestrator.batches.lane import Lane
from orchestrator.batches.nights import (
    Fate,
    IssueEnded,
    IssueId,
    IssuePassedOver,
    IssueTriedAgain,
    NightEnded,
    NightStopping,
    Planned,
    Why,
)
from orchestrator.batches.trying import Try
from orchestrator.batches.views import IssueView, NightView
from orchestrator.errors import JournalError, only
from orchestrator.ports import Clock
from orchestrator.values import frozen

LOOK_S = 20.0
"""Seconds between two looks at the clock."""

Stop = Literal["stopped", "until"]
STOPPED: dict[Stop, tuple[str, str]] = {
    "stopped": ("the moment to stop", "the batch was stopped before its turn came"),
    "until": ("the end of the night", "the night was over before its turn came"),
}
"""Why nothing more is begun: as a limit that a run comes to, and for an issue that waited."""


@frozen
class ShiftPace:
    """How faults that are not an agent's are repeated, and when the lane is left.

    Attributes:
        backoff_s: seconds before the first try again; doubled each time, up to ``longest_s``.
        margin_s: how long before the end of the night ``auto`` leaves the half-price lane at least.
    """

    backoff_s: float = 30.0
    longest_s: float = 900.0
    margin_s: float = 1800.0


class Shift:
    """Works on what is unfinished of a night until nothing is left that can be begun.

    Args:
        book: the night's.
        places: who works on issues, by repository.
        purse: pays for all runs; what earlier processes spent is booked in it already.
        lane: the half-price lane, where there is one.
        looks: is told of all that runs do.
        pace: how faults are repeated.
        wall: seconds since 1970.
        dice: spreads waits.
    """

    def __init__(  # noqa: PLR0913 - every collaborator is passed in
        self,
        book: NightBook,
        places: Mapping[str, Workplace],
        *,
        purse: Purse,
        lane: Lane | None = None,
        looks: Looks = nobody,
        pace: ShiftPace | None = None,
        wall: Clock,
        dice: random.Random,
    ) -> None:
        self._book = book
        self._view = book.view
        self._night = book.view.night
        self._places = places
        self._purse = purse
        self._lane = lane
        self._looks = looks
        self._pace = pace or ShiftPace()
        self._wall = wall
        self._dice = dice
        self._working: dict[IssueId, Try] = {}
        self._faults: dict[IssueId, int] = {}
        self._changed = anyio.Event()
        self._stop: Stop | None = None
        self._stop_is_noted = False

    # -- from outside ----------------------------------------------------------------------

    @property
    def view(self) -> NightView:
        """Return how the night stands."""
        return self._view

    def live(self) -> int:
        """Return how many issues are worked on."""
        return len(self._working)

    def stop(self) -> None:
        """Begin nothing more; what runs finishes its turn and parks."""
        self._ask_to_stop("stopped")

    def stop_now(self) -> None:
        """Park everything at once."""
        self._ask_to_stop("stopped")
        for one in self._working.values():
            one.park("stopped")

    def _ask_to_stop(self, why: Stop) -> None:
        self._stop = self._stop or why
        self._purse.close(STOPPED[self._stop][0])
        for one in self._working.values():
            one.stop(self._stop)
            # A batch may take hours; what it holds is there when the night is gone on with.
            in_batch = self._lane is not None and self._lane.is_waiting(one.run)
            if in_batch or one.is_waiting:
                one.park(self._stop)
        if self._lane is not None:
            self._lane.leave = self._leave
        self._changed.set()

    def _leave(self, run: str) -> None:
        """Park a run that would wait for a batch."""
        for one in self._working.values():
            if one.run == run:
                one.park(self._stop or "stopped")

    # -- the night -------------------------------------------------------------------------

    async def work(self) -> None:
        """Work until nothing is left that can be begun.

        Raises:
            LeaseLost: another process has taken the night over; all runs were parked.
            JournalError: the night cannot be recorded.
        """
        try:
            async with anyio.create_task_group() as tasks:
                if self._lane is not None:
                    tasks.start_soon(self._lane.serve)
                tasks.start_soon(self._keep_time)
                async with anyio.create_task_group() as issues:
                    await self._begin_all(issues)
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise only(group) from None
        except anyio.get_cancelled_exc_class():
            # Its runs are parked; another process may go on with it while this one lives.
            with anyio.CancelScope(shield=True), suppress(JournalError):
                await self.over()
            raise
        await self.over()

    async def over(self) -> None:
        """Record that this process works on the night no more; another may go on with it."""
        if self._view.ended is not None:
            return
        complete = not self._view.unfinished()
        await self._book.emit(NightEnded(self._book.epoch, complete, self._wall()))

    async def _begin_all(self, tasks: anyio.abc.TaskGroup) -> None:
        while True:
            self._changed = anyio.Event()
            await self._note_stop()
            while await self._begin_what_can(tasks):
                pass  # what was passed over may decide about what waits for it
            left = self._left()
            if not self._working and not any(one.standing == "resting" for one in left):
                for view in left:
                    await self._give_up(view, "blocked", "it waits for issues that wait for it")
                return
            with anyio.move_on_after(self._until_next()):
                await self._changed.wait()

    async def _note_stop(self) -> None:
        """Record that the night stops."""
        if self._stop is not None and not self._stop_is_noted:
            self._stop_is_noted = True
            await self._book.emit(NightStopping(self._book.epoch, self._stop, self._wall()))

    def _left(self) -> list[IssueView]:
        return [
            one
            for id_, one in self._view.issues.items()
            if one.standing in {"waiting", "resting"} and id_ not in self._working
        ]

    def _until_next(self) -> float | None:
        """Return the seconds until an issue that rests may be tried again."""
        now = self._wall()
        waits = [
            one.again_at - now
            for one in self._left()
            if one.standing == "resting" and one.again_at is not None
        ]
        return max(min(waits), 0.0) if waits else None

    async def _begin_what_can(self, tasks: anyio.abc.TaskGroup) -> bool:
        """Begin issues in the order of the plan; tell whether any was begun or passed over."""
        some = False
        for view in self._left():
            why, said = self._no_more(view)
            if why:
                await self._give_up(view, why, said)
                some = True
                continue
            if self._waits(view):
                continue
            if len(self._working) >= max(self._night.parallel, 1):
                return some
            if not self._cover().has(needs(view, self._night.per_issue)):
                if self._working:
                    return some  # none overtakes another for want of money
                await self._give_up(view, "ceiling", "the rest of the ceiling does not cover it")
            else:
                self._start(view, tasks)
            some = True
        return some

    # -- what may be begun -----------------------------------------------------------------

    def _no_more(self, view: IssueView) -> tuple[Why, str]:
        """Say why an issue is not begun any more in this process; empty where it may be."""
        if self._stop is not None:
            return self._stop, STOPPED[self._stop][1]
        blocker = self._blocker(view.planned)
        if blocker is not None and blocker.standing == "ended":
            return "blocked", f"it waits for {_of(blocker)}"
        if blocker is None and self._ends_too_late(view):
            return "until", "it is not expected to end before the night does"
        return "", ""

    def _waits(self, view: IssueView) -> bool:
        """Tell whether an issue cannot be begun just now."""
        return (
            self._blocker(view.planned) is not None
            or self._rests(view)
            or self._is_beside(view.planned)
        )

    def _blocker(self, planned: Planned) -> IssueView | None:
        """Return an issue of the night that has to be done first, and is not."""
        for key in planned.blocked_by:
            one = self._view.issues.get((planned.repo, key))
            if one is not None and not one.is_done:
                return one
        return None

    def _rests(self, view: IssueView) -> bool:
        return view.standing == "resting" and (view.again_at or 0.0) > self._wall()

    def _is_beside(self, planned: Planned) -> bool:
        """Tell whether one is worked on that must not be worked on beside it."""
        return any((planned.repo, key) in self._working for key in planned.apart_from)

    def _ends_too_late(self, view: IssueView) -> bool:
        until = self._night.until
        expected_s = view.planned.expected.minutes * 60
        return until is not None and self._wall() + expected_s > until

    def _cover(self) -> Cover:
        working = [
            (needs(one.view, self._night.per_issue), one.spent_usd)
            for one in self._working.values()
        ]
        return Cover(self._night.ceiling.usd, self._purse.spent_usd, working)

    async def _give_up(self, view: IssueView, why: Why, said: str) -> None:
        """Do not begin an issue in this process; one that rests keeps its last fate."""
        planned, now = view.planned, self._wall()
        if view.standing == "resting":
            fate = view.tries[-1]
            await self._book.emit(IssueEnded(*planned.id, view.attempt, fate, now))
            return
        if why == "ceiling" and not self._view.stopping:
            await self._book.emit(NightStopping(self._book.epoch, "ceiling", now))
        fate = Fate("parked" if view.run else "passed_over", why=why, said=said)
        await self._book.emit(IssuePassedOver(*planned.id, self._book.epoch, fate, now))

    # -- one issue -------------------------------------------------------------------------

    def _start(self, view: IssueView, tasks: anyio.abc.TaskGroup) -> None:
        one = Try(
            view,
            self._places[view.planned.repo],
            book=self._book,
            looks=self._looks,
            wall=self._wall,
        )
        self._working[view.planned.id] = one
        tasks.start_soon(self._worked, one)

    async def _worked(self, one: Try) -> None:
        """Work on an issue, and record what became of it."""
        try:
            await self._ended(one.view, await one.fate())
        finally:
            del self._working[one.view.planned.id]
            self._changed.set()

    async def _ended(self, view: IssueView, fate: Fate) -> None:
        """Record what became of a try; a fault that is nobody's is tried again, a few times."""
        id_, now = view.planned.id, self._wall()
        if fate.kind == "infrastructure" and self._stop is None:
            faults = self._faults[id_] = self._faults.get(id_, 0) + 1
            wait = self._rest(faults)
            until = self._night.until or math.inf
            if faults <= self._night.wanted.retries and now + wait < until:
                await self._book.emit(IssueTriedAgain(*id_, view.attempt, fate, wait, now))
                return
        await self._book.emit(IssueEnded(*id_, view.attempt, fate, now))

    def _rest(self, faults: int) -> float:
        longest: float = min(self._pace.backoff_s * 2 ** (faults - 1), self._pace.longest_s)
        return longest * (0.75 + 0.25 * self._dice.random())

    # -- time ------------------------------------------------------------------------------

    async def _keep_time(self) -> None:
        """Leave the half-price lane in time, and stop when the night is over."""
        until = self._night.until
        if until is None:
            return
        if self._lane is not None and self._night.lane == "auto":
            await self._until(lambda: until - self._margin())
            await self._lane.call_off()
        await self._until(lambda: until)
        self._ask_to_stop("until")

    def _margin(self) -> float:
        """Return the seconds before the end in which a batch may not come back in time."""
        longest = self._lane.longest_s if self._lane is not None else 0.0
        return max(self._pace.margin_s, 2 * longest)

    async def _until(self, moment: Clock) -> None:
        """Wait for a moment that may move; the clock of the wall may be set meanwhile."""
        while (left := moment() - self._wall()) > 0:  # noqa: ASYNC110 - a clock calls nobody
            await anyio.sleep(min(left, LOOK_S))


def _of(blocker: IssueView) -> str:
    """Say what became of a blocker."""
    fate = blocker.fate.kind.replace("_", " ") if blocker.fate is not None else "not begun"
    return f"{blocker.planned.issue}, which is {fate}"
