"""Whole nights: real repositories, sandboxes and journals, and a service over HTTP."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from typing import Any, cast

import pytest

from orchestrator import Event, Issue, NightView, Signal, run_batch
from orchestrator.batches import shift
from orchestrator.batches.nights import Expected, NightEvent
from orchestrator.batches.shift import Shift, ShiftPace
from orchestrator.errors import ConfigError
from orchestrator.journals.owners import owner_of
from orchestrator.journals.sqlite import SqliteJournal
from orchestrator.records import Limits
from orchestrator.repository import locate
from orchestrator.testing import MemoryTracker
from tests.batch_server import Batch
from tests.builders import a_run, an_issue
from tests.runs.conftest import git
from tests.runs.night_fixture import nights
from tests.runs.night_stage import NightStage, fates

__all__ = ["nights"]

pytestmark = pytest.mark.asyncio


async def mixed(stage: NightStage, count: int, *, lane: str, parallel: int) -> None:
    """Work through a night in which things go wrong in every way, and check each fate."""
    stage.issues(count)
    stage.script.fates = {
        "2": "gate_failed",
        "3": "refusal",
        "4": "stuck",
        "5": "storm",
        "6": "vanishes",
    }
    stage.script.storms = {"5": 4}
    night = stage.night(lane=lane, parallel=parallel)
    stage.forget("6")
    view = await stage.work(night)
    found = fates(view)
    assert found == {
        **{str(number): "done" for number in range(1, count + 1) if number not in {2, 3, 4, 6}},
        "2": "not_done",
        "3": "not_done",
        "4": "not_done",
        "6": "vanished",
    }
    by_key = {key: one for (_, key), one in view.issues.items()}
    status = {key: one.fate.status for key, one in by_key.items() if one.fate is not None}
    assert [status[key] for key in "234"] == ["gate_failed", "needs_human", "needs_human"]
    if lane == "now":
        assert [fate.kind for fate in by_key["5"].tries], "the storm was told as what it was"
    done = [key for key, fate in found.items() if fate == "done"]
    assert len(stage.branches()) == len(done)
    assert view.complete
    total = sum(one.usd for one in view.issues.values())
    assert total == pytest.approx(view.settled_usd)


async def test_a_night_of_mixed_fates(nights: NightStage) -> None:
    """Each issue gets the outcome that is its own; none stops another."""
    await mixed(nights, 8, lane="now", parallel=4)


async def test_a_night_of_mixed_fates_in_batches(nights: NightStage) -> None:
    """The half-price lane changes nothing of what becomes of each issue."""
    await mixed(nights, 8, lane="batches", parallel=8)
    assert nights.service.batches
    assert {batch for _, batch in nights.service.asked} == {True}
    marks = [marks_of(body) for body, _ in nights.service.asked]
    assert all(marks)
    assert {life for found in marks for life in found} == {"1h"}


def marks_of(value: object) -> list[str]:
    """Return how long each cache mark of a request is to last."""
    if isinstance(value, list):
        return [one for part in value for one in marks_of(part)]
    if not isinstance(value, dict):
        return []
    own = value.get("cache_control")
    found = [own.get("ttl", "5m")] if isinstance(own, dict) else []
    return found + [one for part in value.values() for one in marks_of(part)]


@pytest.mark.heavy
@pytest.mark.parametrize("lane", ["now", "batches"])
async def test_forty_issues_of_mixed_fates(nights: NightStage, lane: str) -> None:
    """The same with forty issues, forty at once."""
    await mixed(nights, 40, lane=lane, parallel=40)


async def test_batches_cost_half(nights: NightStage) -> None:
    """The same work costs no more than 0.52 of what it costs in the usual way."""
    nights.script.turns = 3
    nights.issues(8)
    whole = nights.night()
    spent, counted = {}, {}
    for lane, plan in (("now", whole.plan[:4]), ("batches", whole.plan[4:])):
        before = nights.service.usd
        view = await nights.work(nights.night(lane=lane, plan=plan))
        assert set(fates(view).values()) == {"done"}
        spent[lane] = nights.service.usd - before
        counted[lane] = view.settled_usd
    assert spent["batches"] <= 0.52 * spent["now"]
    assert 0 < counted["batches"] <= 0.52 * counted["now"]


@pytest.mark.parametrize("usd", [0.042, 0.05])
async def test_a_ceiling_is_never_passed(nights: NightStage, usd: float) -> None:
    """Whatever is planned, a night costs no more than it may; a higher ceiling lets it go on."""
    nights.script.turns = 4
    nights.issues(6)
    night = nights.night(ceiling=Limits(usd=usd), expected=Expected(usd=0.01), parallel=3)
    view = await nights.work(night)
    kinds = fates(view)
    assert 0 < view.settled_usd <= usd
    assert view.hit_ceiling, kinds
    assert not view.complete
    assert {fate for fate in kinds.values() if fate.endswith("ceiling")}
    view = await nights.resume(ceiling=Limits(usd=1.0))
    assert set(fates(view).values()) == {"done"}
    assert view.complete
    assert set(nights.script.counted.values()) == {1}, "no reply was asked for twice"


async def test_what_was_stopped_goes_on(nights: NightStage) -> None:
    """A stop finishes turns; a resume does the rest, and repeats nothing."""
    nights.script.turns = 3
    nights.issues(5)
    shifts: list[Shift] = []
    calls = asyncio.get_running_loop().call_soon_threadsafe

    def stop(_: str, turn: int) -> None:
        if turn == 2:
            calls(shifts[0].stop)

    nights.script.on_answer = stop
    view = await nights.work(nights.night(parallel=2), shifts.append)
    assert "parked stopped" in fates(view).values()
    assert "passed_over stopped" in fates(view).values()
    assert view.stopping == "stopped"
    nights.script.on_answer = lambda *_: None
    view = await nights.resume()
    assert set(fates(view).values()) == {"done"}
    assert set(nights.script.counted.values()) == {1}


async def test_what_waits_in_a_batch_is_left_there_by_a_stop(nights: NightStage) -> None:
    """Nobody waits hours for a stop: the batch is there when the night goes on, and is paid once."""
    nights.service.ends_at = None
    nights.issues(3)
    shifts: list[Shift] = []
    calls = asyncio.get_running_loop().call_soon_threadsafe

    def stop(_: Batch) -> None:
        calls(shifts[0].stop)

    nights.service.after_send = stop
    view = await nights.work(nights.night(parallel=3, lane="batches"), shifts.append)
    assert set(fates(view).values()) == {"parked stopped"}
    nights.service.after_send = lambda _: None
    nights.service.ends_at = 1
    view = await nights.resume()
    assert set(fates(view).values()) == {"done"}
    assert set(nights.script.counted.values()) == {1}


async def test_an_issue_whose_blocker_was_done_tonight_is_begun(nights: NightStage) -> None:
    """The tracker still has the blocker open; what was done tonight counts."""
    nights.issues(2)
    path = nights.repo / "issues" / "2-wish.md"
    path.write_text(path.read_text().replace("title:", "blocked_by: [1]\ntitle:"), encoding="utf-8")
    night = nights.night()
    plan = (night.plan[0], replace(night.plan[1], blocked_by=("1",)))
    view = await nights.work(replace(night, plan=plan))
    assert fates(view) == {"1": "done", "2": "done"}
    first, second = (f"feature/{key}-wish-{key}" for key in "12")
    assert git(nights.repo, "merge-base", first, second) == git(nights.repo, "rev-parse", first)
    names = git(nights.repo, "diff", "--name-only", first, second)
    assert names == "work/2-1.txt", "what is judged and told is the second issue's own change"


async def test_a_batch_in_one_call(nights: NightStage) -> None:
    """A program plans and works through a batch in one call, over any tracker, watched live."""
    heard: list[str] = []
    seen: set[tuple[str, str]] = set()

    async def hear(event: NightEvent, _: NightView) -> None:
        heard.append(type(event).__name__)

    async def look(issue: tuple[str, str], run: str, _: Event | Signal) -> None:
        seen.add((issue[1], run))

    wishes = [
        Issue(
            str(number), f"Wish {number}", f"Please fulfil wish number {number}.", labels=("now",)
        )
        for number in (1, 2)
    ]
    tracker = MemoryTracker(wishes)
    view = await run_batch(
        nights.repo,
        labels=["now"],
        agent="backend-engineer",
        limit_usd=20.0,
        state=nights.state,
        config=nights.config,
        trackers={locate(nights.repo).id: tracker},
        heard=hear,
        looks=look,
    )
    assert fates(view) == {"1": "done", "2": "done"}
    assert view.complete
    assert heard[0] == "NightBegun"
    assert heard[-1] == "NightEnded"
    assert {key for key, _ in seen} == {"1", "2"}
    assert set(tracker.reports) == {"1", "2"}


async def test_as_the_end_comes_near_runs_change_lane(
    nights: NightStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``auto`` a batch that is not back in time is called off, and its turns are asked for."""
    monkeypatch.setattr(shift, "LOOK_S", 0.02)
    nights.service.ends_at = None
    nights.service.cancels = True
    nights.issues(2)

    class Pace:
        """The end is near once a batch is out, however long the start took."""

        backoff_s, longest_s = 0.05, 900.0

        @property
        def margin_s(self) -> float:
            """Return how long before the end the lane is left."""
            return 600.0 if nights.service.batches else 0.0

    until = time.time() + 600
    pace = cast("ShiftPace", Pace())
    view = await nights.work(nights.night(lane="auto", until=until), pace=pace)
    assert set(fates(view).values()) == {"done"}
    assert False in {batch for _, batch in nights.service.asked}
    assert nights.service.batches


async def test_a_run_that_was_killed_before_its_first_event_is_no_fault(nights: NightStage) -> None:
    """Its issue is begun with a new run at once, and nobody is told of a fault of the machine."""
    nights.issues(1)
    async with nights.nights() as opened, opened.begun(nights.night()):
        pass
    repo = locate(nights.repo).id
    dead = f"{owner_of(os.getpid()).rpartition(':')[0]}:1"
    journal = SqliteJournal(nights.state / "journal.db", owner=dead)
    await journal.begin(a_run(run_id="1-dead", repo=repo, issue=an_issue(key="1")))
    journal.close()
    view = await nights.resume()
    (one,) = view.issues.values()
    assert one.is_done
    assert (one.run != "1-dead", one.attempt, one.tries) == (True, 1, [])


@pytest.mark.parametrize("wrong", [{"issues": "12"}, {"labels": "ready"}])
async def test_a_text_is_no_list_of_issues(nights: NightStage, wrong: dict[str, Any]) -> None:
    """Its letters are not taken for keys; nothing is begun."""
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} is a list"):
        await run_batch(nights.repo, state=nights.state, **wrong)
