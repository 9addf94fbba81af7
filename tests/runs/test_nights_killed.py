"""The process of a night is killed for real, again and again; nothing is repeated."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import anyio
import pytest

from orchestrator.batches.book import encode_night
from orchestrator.batches.nights import Expected, Night
from orchestrator.batches.views import NightView
from orchestrator.records import Limits
from tests.runs.conftest import PROJECT, git
from tests.runs.night_fixture import nights
from tests.runs.night_stage import NightStage, fates

__all__ = ["nights"]

DEADLINE_S = 90
CEILING = 3.0


def start(stage: NightStage, night: Night | None) -> subprocess.Popen[bytes]:
    """Start a process that begins the night, or goes on with it."""
    argv = [sys.executable, "-m", "tests.runs.night_process", str(stage.state)]
    if night is not None:
        file = stage.state.parent / "night.json"
        file.write_bytes(encode_night(night))
        argv.append(str(file))
    return subprocess.Popen(
        argv, cwd=PROJECT, env=dict(os.environ), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def rows(stage: NightStage, query: str) -> list[tuple[str, ...]]:
    """Ask the journal, while others write in it."""
    path = stage.state / "journal.db"
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
        try:
            return database.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []


def events(stage: NightStage) -> int:
    """Count what is journaled, of runs and of the night."""
    count = "select (select count(*) from events) + (select count(*) from night_events)"
    found = rows(stage, count)
    return int(found[0][0]) if found else 0


def replied(stage: NightStage) -> set[tuple[str, int]]:
    """Return issue and turn of each reply that is journaled."""
    query = "select issue, data from events join runs using (run) where kind = 'ModelReplied'"
    return {(issue, int(json.loads(data)["turn"])) for issue, data in rows(stage, query)}


def lived(stage: NightStage, night: Night | None, count: int | None) -> bool:
    """Let a process work until so many events are journaled, then kill it; tell whether it ended."""
    before = events(stage)
    process = start(stage, night)
    deadline = time.monotonic() + DEADLINE_S
    while process.poll() is None and time.monotonic() < deadline:
        if count is not None and events(stage) >= before + count:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.005)
    _, errors = process.communicate(timeout=30)
    assert time.monotonic() < deadline, errors.decode()
    assert process.returncode in {0, -signal.SIGKILL}, errors.decode()
    return process.returncode == 0


def killed_again_and_again(stage: NightStage, lane: str, kills: int, seed: int) -> None:
    """Kill the process of a night so many times, and let the last one end."""
    dice = random.Random(seed)
    stage.script.turns = 3
    stage.issues(5)
    stage.script.fates = {"2": "gate_failed", "3": "refusal"}
    night = stage.night(
        lane=lane, ceiling=Limits(usd=CEILING), expected=Expected(usd=0.2), parallel=3
    )
    to_begin: Night | None = night
    for life in range(kills + 1):
        known = replied(stage)
        stage.script.counted.clear()
        sent = len(stage.service.batches)
        ended = lived(stage, to_begin, dice.randint(1, 22) if life < kills else None)
        again = known & set(stage.script.counted)
        assert not again, f"replies that were journaled were asked for again: {again}"
        if lane == "batches":
            assert all(count == 1 for count in stage.script.counted.values()), sent
        to_begin = None if rows(stage, "select night from nights") else night
        if ended:
            break
    assert ended
    view = anyio.run(_view, stage)
    assert fates(view) == {"1": "done", "2": "not_done", "3": "not_done", "4": "done", "5": "done"}
    assert view.settled_usd <= CEILING
    # One that was killed before its first event is given up: nothing of it was paid for.
    query = "select issue, count(*) from runs where state <> 'abandoned' group by issue"
    runs = [f"{issue} {count}" for issue, count in rows(stage, query)]
    assert sorted(runs) == [f"{number} 1" for number in range(1, 6)], "one run an issue"
    orphans = "select run from events join runs using (run) where state = 'abandoned'"
    assert not rows(stage, orphans)
    names = git(stage.repo, "for-each-ref", "--format=%(refname:short)", "refs/heads/feature")
    assert len(names.split()) == 3
    if lane == "batches":
        whole = [json.dumps(body["messages"]) for body, _ in stage.service.asked]
        assert len(set(whole)) == len(whole), "a request was paid for twice"


async def _view(stage: NightStage) -> NightView:
    async with stage.nights() as nights:
        return await nights.view()


@pytest.mark.parametrize("lane", ["now", "batches"])
def test_killed_a_few_times(nights: NightStage, lane: str) -> None:
    """What ended is not begun again, no journaled reply is asked for again, the ceiling holds."""
    killed_again_and_again(nights, lane, kills=2, seed=5)


@pytest.mark.heavy
@pytest.mark.parametrize("lane", ["now", "batches"])
def test_killed_twenty_times(nights: NightStage, lane: str) -> None:
    """The same, with ten kills in a night of each lane."""
    killed_again_and_again(nights, lane, kills=10, seed=1)


def test_a_reply_that_a_killed_process_asked_for_costs_what_it_cost(nights: NightStage) -> None:
    """Its batch is read by the next process; what the kill had booked for it is given back."""
    nights.script.turns = 3
    nights.issues(3)
    nights.service.ends_at = None
    night = nights.night(lane="batches", ceiling=Limits(usd=CEILING), expected=Expected(usd=0.2))
    process = start(nights, night)
    sent = "select 1 from night_events where kind = 'TurnsSent'"
    deadline = time.monotonic() + DEADLINE_S
    while not rows(nights, sent) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.communicate(timeout=30)
    nights.service.ends_at = 1
    assert lived(nights, None, None)
    view = anyio.run(_view, nights)
    assert set(fates(view).values()) == {"done"}
    taken = "select data from events where kind = 'ModelReplied'"
    replies = [json.loads(data) for (data,) in rows(nights, taken)]
    assert len(nights.service.asked) == len(replies)
    assert sum(one["regained_usd"] > 0 for one in replies) == 3
    assert view.settled_usd == pytest.approx(sum(one["cost_usd"] for one in replies))
