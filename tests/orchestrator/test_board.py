"""The board: processes of one state directory share a model's places, pauses and minutes."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from orchestrator.amounts import RateNews, Usage
from orchestrator.errors import ModelOverloaded
from orchestrator.governor import Governor
from orchestrator.journals.board import Board
from orchestrator.journals.database import Database
from orchestrator.journals.owners import owner_of
from orchestrator.lanes import Lane

MODEL = "claude-opus-5-5"
ALONE = (False, 0.0)
NEEDS = {"requests": 1.0, "tokens": 100.0}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A journal's file of this version."""
    path = tmp_path / "journal.db"
    Database(path).close()
    return path


def a_board(file: Path, pid: int | None = None) -> Board:
    """Stand on the board as a process."""
    return Board(file, owner=owner_of(pid or os.getpid()))


def test_whoever_is_alone_writes_only_that_it_is_there(file: Path) -> None:
    """A process that nobody shares with leaves one row, and takes it away at its end."""
    board = a_board(file)
    for _ in range(100):
        assert board.glance(MODEL, 3) == ALONE
    with sqlite3.connect(file) as database:
        rows = database.execute("select model, in_flight from lane_slots").fetchall()
        assert rows == [(MODEL, 3)]
    board.close()
    with sqlite3.connect(file) as database:
        assert database.execute("select count(*) from lane_slots").fetchone() == (0,)
    database.close()


def test_a_pause_is_seen_by_all(file: Path) -> None:
    """What one process was told to wait, the others wait; the longest counts."""
    one, other = a_board(file), a_board(file)
    one.cut(MODEL, 4, 30.0)
    one.cut(MODEL, 4, 5.0)
    beside, pause = other.glance(MODEL, 0)
    assert not beside
    assert 25.0 < pause <= 30.0
    assert other.glance("another-model", 0) == ALONE


def test_places_are_shared(file: Path) -> None:
    """Two processes together have no more under way than the setting, or than was learnt."""
    one, other = a_board(file), a_board(file)
    one.glance(MODEL, 0)
    assert other.glance(MODEL, 0) == (True, 0.0)
    assert one.glance(MODEL, 0) == (True, 0.0)
    assert one.take(MODEL, 0, 2, NEEDS) == 0.0
    assert other.take(MODEL, 0, 2, NEEDS) == 0.0
    assert other.take(MODEL, 1, 2, NEEDS) > 0.0
    one.leave(MODEL, 0, 0.1)
    assert other.take(MODEL, 1, 2, NEEDS) == 0.0
    one.cut(MODEL, 0, 0.0)
    assert other.take(MODEL, 2, 0, NEEDS) > 0.0, "two are under way, and one is learnt"
    assert one.take(MODEL, 0, 0, NEEDS) == 0.0, "whoever has none is not shut out"


def test_minutes_are_shared(file: Path) -> None:
    """Tokens that one process takes are not there for the other until they have come back."""
    one, other = a_board(file), a_board(file)
    one.glance(MODEL, 0)
    other.glance(MODEL, 0)
    one.news(MODEL, [("tokens", 1000.0, 150.0, 0.001), ("requests", 50.0, 50.0, 1.0)])
    assert one.take(MODEL, 0, 0, NEEDS) == 0.0
    assert other.take(MODEL, 0, 0, NEEDS) > 1000.0
    assert other.take(MODEL, 0, 0, {"tokens": 10.0}) == 0.0


def test_a_process_that_was_killed_holds_nothing(file: Path) -> None:
    """Rows of a process that is gone are taken away by the others."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        dead, one = a_board(file, process.pid), a_board(file)
        dead.glance(MODEL, 0)
        dead.take(MODEL, 7, 0, NEEDS)
        assert one.glance(MODEL, 0) == (True, 0.0)
        process.kill()
        process.wait()
        late = a_board(file)
        assert late.glance(MODEL, 0) == (True, 0.0), "the one that lives is still there"
        one.close()
        later = a_board(file)
        late.close()
        assert later.glance(MODEL, 0) == ALONE


@pytest.mark.parametrize("broken", ["no file", "no tables", "not a database"])
def test_without_a_board_a_process_goes_on_alone(tmp_path: Path, broken: str) -> None:
    """What cannot be read or written stops nobody."""
    path = tmp_path / "journal.db"
    if broken == "no file":
        path = tmp_path / "none" / "journal.db"
    if broken == "no tables":
        sqlite3.connect(path).close()
    if broken == "not a database":
        path.write_bytes(b"nothing of the kind" * 1000)
    board = a_board(path)
    assert board.glance(MODEL, 1) == ALONE
    assert board.take(MODEL, 1, 1, NEEDS) == 0.0
    board.leave(MODEL, 0, 0.1)
    board.cut(MODEL, 1, 1.0)
    board.news(MODEL, [("tokens", 10.0, 5.0, 1.0)])
    board.close()


@pytest.mark.asyncio
async def test_lanes_of_two_processes(file: Path) -> None:
    """A refusal in one process pauses the other; with one place they take turns."""
    boards = [a_board(file), a_board(file)]
    lanes: list[Lane] = [Governor(concurrency=1, board=one).lane(MODEL) for one in boards]
    waiting = anyio.Event()

    def told(_: object) -> None:
        waiting.set()

    first = await lanes[0].enter("a", 10, told, 300.0)
    order: list[str] = []
    boards[1].glance(MODEL, 0)
    boards[0].leave(MODEL, 1, 0.0)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:

            async def other() -> None:
                place = await lanes[1].enter("b", 10, told, 300.0)
                order.append("b")
                place.replied((RateNews("requests", 50, 40, 12.0),), Usage())

            tasks.start_soon(other)
            await waiting.wait()
            order.append("a")
            boards[0].glance(MODEL, 1)
            first.replied((), Usage())
            boards[0].leave(MODEL, 0, 0.0)
    assert order == ["a", "b"]
    place = await lanes[0].enter("a", 10, told, 300.0)
    place.failed(ModelOverloaded("wait", retryable=True, retry_after=900.0))
    with pytest.raises(ModelOverloaded, match="asks to wait"):
        await lanes[1].enter("b", 10, told, 300.0)
    for board in boards:
        board.close()


WORKER = """
import os, sys, time, asyncio
from pathlib import Path
from orchestrator.amounts import Usage
from orchestrator.governor import Governor
from orchestrator.journals.board import Board
from orchestrator.journals.owners import owner_of

async def main(file, log, run):
    board = Board(Path(file), owner=owner_of(os.getpid()))
    lane = Governor(concurrency=2, board=board).lane("claude-opus-5-5")

    async def one():
        for _ in range(4):
            place = await lane.enter(run, 10, lambda _: None, 300.0)
            with open(log, "a") as out:
                out.write("+")
            await asyncio.sleep(0.02)
            with open(log, "a") as out:
                out.write("-")
            place.replied((), Usage(output_tokens=1))

    await asyncio.gather(one(), one(), one())
    board.close()

asyncio.run(main(*sys.argv[1:]))
"""


def test_processes_keep_to_the_setting_together(file: Path, tmp_path: Path) -> None:
    """Three processes with three runs each never have more under way than the setting says."""
    log = tmp_path / "log"
    argv = [sys.executable, "-c", WORKER, str(file), str(log)]
    started = [subprocess.Popen([*argv, str(number)]) for number in range(3)]
    assert [one.wait(120) for one in started] == [0, 0, 0]
    under_way, most = 0, 0
    for mark in log.read_text(encoding="ascii"):
        under_way += 1 if mark == "+" else -1
        most = max(most, under_way)
    assert log.stat().st_size == 3 * 3 * 4 * 2
    assert (most, under_way) == (2, 0)
