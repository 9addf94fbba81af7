"""Watching a tracker: what is begun, stopped, tried again, and left alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from orchestrator.errors import (
    DefinitionError,
    IssueNotFound,
    IssueNotReady,
    RemoteUnavailable,
    TrackerBusy,
    TrackerError,
)
from orchestrator.records import Issue, Outcome
from orchestrator.trackers.markdown import MarkdownTracker
from orchestrator.watching import Pace, Watcher
from tests.builders import an_issue, an_outcome

pytestmark = pytest.mark.asyncio

EVERY_S = 0.001


async def turns(holds: Callable[[], object]) -> None:
    """Let others have their turn until something holds."""
    with anyio.fail_after(20):
        while not holds():
            await anyio.lowlevel.checkpoint()


@dataclass
class Naps:
    """Waits that are noted, and end at once."""

    taken: list[float] = field(default_factory=list)

    async def __call__(self, seconds: float) -> None:
        """Note how long it would have been."""
        self.taken.append(seconds)
        await anyio.lowlevel.checkpoint()


@dataclass
class Desk:
    """A tracker, a clock, and work that ends when it is let.

    Attributes:
        held: issues whose work does not end by itself.
        fails: errors that work on an issue ends with, one after the other.
        unread: errors that looking at an issue ends with.
        begun: keys, each time that work was begun.
        parked: keys whose work was cancelled.
        cleaned: keys whose run was given up.
    """

    issues: dict[str, Issue] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    fails: dict[str, list[Exception | Outcome]] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)
    parked: list[str] = field(default_factory=list)
    cleaned: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    now: float = 0.0
    most: int = 0
    running: int = 0
    looks: int = 0
    broken: Exception | None = None
    unread: dict[str, Exception] = field(default_factory=dict)

    def put(self, *keys: str, **changes: object) -> None:
        """Have open issues with the label."""
        for key in keys:
            made = an_issue(key=key, labels=("Agent",))
            self.issues[key] = replace(made, **changes)  # type: ignore[arg-type]

    async def fetch(self, key: str) -> Issue:
        """Return an issue."""
        if key in self.unread:
            raise self.unread[key]
        if key not in self.issues:
            raise IssueNotFound(f"no issue {key}")
        return self.issues[key]

    async def candidates(self, labels: Sequence[str], most: int) -> Sequence[Issue]:
        """Return the open issues with the label."""
        self.looks += 1
        if self.broken:
            raise self.broken
        wanted = {one.lower() for one in labels}
        return [
            one
            for one in self.issues.values()
            if one.state == "open" and wanted <= {label.lower() for label in one.labels}
        ][:most]

    async def work(self, key: str) -> Outcome | None:
        """Work on an issue."""
        self.begun.append(key)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await anyio.lowlevel.checkpoint()
            if key in self.held:
                await anyio.sleep_forever()
            said = self.fails.get(key, [])
            end = said.pop(0) if said else an_outcome(issue=key)
        except anyio.get_cancelled_exc_class():
            self.parked.append(key)
            raise
        finally:
            self.running -= 1
        if isinstance(end, Exception):
            raise end
        return end

    async def give_up(self, key: str) -> None:
        """Give up a run."""
        self.cleaned.append(key)

    def watcher(self, *, parallel: int = 2, attempts: int = 3, every_s: float = EVERY_S) -> Watcher:
        """Return what watches."""
        pace = Pace(("agent",), every_s=every_s, parallel=parallel, attempts=attempts)
        return Watcher(
            self,
            self.work,
            self.give_up,
            pace=pace,
            tell=self.said.append,
            clock=lambda: self.now,
        )

    async def until(self, watcher: Watcher, holds: Callable[[], object]) -> None:
        """Watch until something holds."""
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watcher.watch)
                await turns(holds)
                tasks.cancel_scope.cancel()


async def test_once_works_on_all_that_waits() -> None:
    """Every labelled open issue is worked on, a bounded number at once, and then it ends."""
    desk = Desk()
    desk.put("1", "2", "3", "4", "5")
    desk.put("6", state="closed")
    desk.put("7", labels=())
    ended = await desk.watcher(parallel=2).once()
    assert sorted(ended) == sorted(desk.begun) == ["1", "2", "3", "4", "5"]
    assert desk.most == 2


async def test_a_closed_issue_is_given_up() -> None:
    """Closed while it is worked on: stopped, and what it left is removed."""
    desk = Desk(held={"1", "2"})
    desk.put("1", "2")

    async def closes() -> None:
        await turns(lambda: len(desk.begun) == 2)
        desk.put("1", state="closed")
        del desk.issues["2"]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(closes)
        await desk.until(desk.watcher(), lambda: len(desk.cleaned) == 2)
    assert sorted(desk.parked) == sorted(desk.cleaned) == ["1", "2"]
    assert sorted(desk.begun) == ["1", "2"]


async def test_an_issue_that_lost_its_label_is_kept() -> None:
    """Without its label it is stopped and not given up; with it again it goes on."""
    desk = Desk(held={"1"})
    desk.put("1")

    async def relabels() -> None:
        await turns(lambda: desk.begun)
        desk.put("1", labels=())
        await turns(lambda: desk.parked)
        desk.held.clear()
        desk.put("1")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(relabels)
        await desk.until(desk.watcher(), lambda: len(desk.begun) > 1)
    assert desk.cleaned == []
    assert any("lost its label" in one for one in desk.said)


async def test_a_passing_failure_is_tried_again_ever_later() -> None:
    """It is tried again when its time has come, and left alone after so many times."""
    desk = Desk()
    desk.put("1")
    parked = an_outcome(issue="1", status="unavailable", error="no network")
    desk.fails["1"] = [RemoteUnavailable("down"), parked, RemoteUnavailable("down")]
    watcher = desk.watcher(attempts=3, every_s=100)
    begun = []
    for now in (0, 99, 100, 299, 300, 10_000, 20_000):
        desk.now = now
        await watcher.once()
        begun.append(len(desk.begun))
    assert begun == [1, 1, 2, 2, 3, 3, 3]
    assert "not tried again" in desk.said[-1]


async def test_a_success_forgets_failures() -> None:
    """After an end that counts, failures are counted anew."""
    desk = Desk()
    desk.put("1")
    down = RemoteUnavailable("down")
    desk.fails["1"] = [down, an_outcome(issue="1"), down, an_outcome(issue="1")]
    watcher = desk.watcher(attempts=2, every_s=1)
    for now in range(0, 400, 100):
        desk.now = now
        await watcher.once()
    assert len(desk.begun) == 4


async def test_what_is_a_persons_is_said_once() -> None:
    """An issue that waits for a person is looked at ever more rarely, and told once."""
    desk = Desk()
    desk.put("1")
    desk.fails["1"] = [IssueNotReady("blocked by 2") for _ in range(3)]
    watcher = desk.watcher(every_s=100)
    begun = []
    for now in (0, 99, 100, 299, 300):
        desk.now = now
        await watcher.once()
        begun.append(len(desk.begun))
    assert begun == [1, 1, 2, 2, 3]
    assert desk.said == ["issue 1: blocked by 2"]


async def test_a_tracker_that_is_down_ends_nothing() -> None:
    """What runs goes on, and the tracker is asked again."""
    desk = Desk(held={"1"})
    desk.put("1")

    async def breaks() -> None:
        await turns(lambda: desk.begun)
        desk.broken = TrackerError("502")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(breaks)
        await desk.until(desk.watcher(), lambda: desk.broken and desk.looks > 3 and desk.said)
    assert desk.begun == ["1"]
    assert [one for one in desk.said if "502" in one] == ["the tracker cannot be asked: 502"]


async def test_a_tracker_that_is_down_is_asked_ever_more_rarely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Waits double up to a bound, and are never shorter than what the service asks for."""
    naps = Naps()
    monkeypatch.setattr("orchestrator.watching.anyio.sleep", naps)
    desk = Desk(broken=TrackerError("502"))
    await desk.until(desk.watcher(every_s=600), lambda: len(naps.taken) >= 5)
    assert naps.taken[:5] == [600, 1200, 2400, 3600, 3600]
    naps.taken.clear()
    desk.broken = TrackerBusy("rate limit", wait_s=5000)
    await desk.until(desk.watcher(every_s=60), lambda: len(naps.taken) >= 2)
    assert naps.taken[:2] == [5000, 5000]
    naps.taken.clear()
    desk.broken = None
    await desk.until(desk.watcher(every_s=60), lambda: len(naps.taken) >= 2)
    assert naps.taken[:2] == [60, 60]


async def test_one_look_tells_that_the_tracker_is_down() -> None:
    """Where nobody can tell what waits, one look does not end as if nothing did."""
    desk = Desk(broken=TrackerError("502"))
    with pytest.raises(TrackerError, match="502"):
        await desk.watcher().once()


async def test_what_is_done_is_looked_at_ever_more_rarely() -> None:
    """A run that was told already is no work; a change of the issue ends the waiting."""
    desk = Desk()
    desk.put("1")
    watcher = desk.watcher(every_s=100)
    begun = []
    for now in (0, 1, 2, 100, 101, 250, 301):
        desk.now = now
        await watcher.once()
        begun.append(len(desk.begun))
    assert begun == [1, 2, 2, 2, 3, 3, 4]
    desk.put("1", body="More is wanted.")
    await watcher.once()
    assert len(desk.begun) == 5


async def test_a_fault_of_the_machine_ends_no_watch() -> None:
    """A full disk under one issue is a passing failure of that issue."""
    desk = Desk()
    desk.put("1", "2")
    desk.fails["1"] = [OSError(28, "No space left on device")]
    watcher = desk.watcher()
    ended = await watcher.once()
    assert (list(ended), watcher.has_failed) == (["2"], True)


async def test_issues_that_are_gone_are_forgotten() -> None:
    """What no longer waits leaves nothing behind, so that a long watch does not grow."""
    desk = Desk()
    desk.put("1", "2")
    desk.fails["2"] = [RemoteUnavailable("down")]
    watcher = desk.watcher()
    await watcher.once()
    desk.issues.clear()
    await watcher.once()
    assert (watcher.ended, watcher.has_failed) == ({}, False)


async def test_once_promises_no_second_time() -> None:
    """What fails in the one look is not said to be tried again in some seconds."""
    desk = Desk()
    desk.put("1")
    desk.fails["1"] = [RemoteUnavailable("down")]
    watcher = desk.watcher()
    await watcher.once()
    assert watcher.has_failed
    assert desk.said == ["issue 1: down; not tried again until this is started anew"]


async def test_an_issue_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """It may wait for work: why it cannot be read is said once, and mended it is worked on."""
    desk = Desk()
    broken = tmp_path / "7-a-wish.md"
    broken.write_text("---\nlabels: [agent\n---\n", encoding="utf-8")
    watcher = Watcher(
        MarkdownTracker(tmp_path),
        desk.work,
        desk.give_up,
        pace=Pace(("agent",)),
        tell=desk.said.append,
        clock=lambda: desk.now,
    )
    await watcher.once()
    await watcher.once()
    (said,) = desk.said
    assert said.startswith("issue 7: ") and f"{broken}:3:1: not valid YAML" in said
    assert (desk.begun, watcher.has_failed) == ([], False)
    broken.write_text("---\nlabels: [agent]\n---\n", encoding="utf-8")
    await watcher.once()
    assert desk.begun == ["7"]


async def test_an_issue_that_breaks_while_it_is_worked_on_stops_no_other() -> None:
    """Somebody is writing it: its run goes on, and what else waits is begun."""
    desk = Desk(held={"1"})
    desk.put("1")

    async def writes() -> None:
        await turns(lambda: desk.begun)
        desk.unread["1"] = DefinitionError("1.md:3:1: not valid YAML")
        desk.put("2")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writes)
        await desk.until(desk.watcher(), lambda: "2" in desk.begun)
    assert [one for one in desk.said if "YAML" in one] == ["issue 1: 1.md:3:1: not valid YAML"]
    assert not any("cannot be asked" in one for one in desk.said)
    assert desk.begun == ["1", "2"] and desk.cleaned == []


async def test_stopping_parks_what_runs() -> None:
    """When watching is cancelled every run is cancelled, and none is given up."""
    desk = Desk(held={"1", "2"})
    desk.put("1", "2", "3")
    await desk.until(desk.watcher(parallel=2), lambda: len(desk.begun) == 2)
    assert sorted(desk.parked) == ["1", "2"]
    assert (desk.cleaned, desk.running) == ([], 0)
