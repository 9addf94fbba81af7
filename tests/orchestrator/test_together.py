"""Changes of several runs in one transaction, on a real file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from orchestrator.errors import JournalError
from orchestrator.journals.database import Database
from orchestrator.journals.together import Change, make_together


class RefusedError(Exception):
    """What a piece of work raises on purpose."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "journal.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    """The journal's file with a table to write into."""
    with closing(Database(path)) as made:
        with closing(sqlite3.connect(path)) as file:
            file.execute("create table notes (name text primary key)")
            file.commit()
        yield made


@pytest.fixture
def file(path: Path, database: Database) -> Iterator[sqlite3.Connection]:
    """A connection of its own to the same file."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as opened:
        yield opened


def noting(name: str, *, refused: bool = False) -> Callable[[sqlite3.Connection], str]:
    """Return work that writes a name and returns it, or raises afterwards."""

    def work(file: sqlite3.Connection) -> str:
        file.execute("insert into notes values (?)", (name,))
        if refused:
            raise RefusedError(name)
        return name

    return work


def notes(path: Path) -> list[str]:
    """Read what another process would see."""
    with closing(sqlite3.connect(path)) as file:
        return [name for (name,) in file.execute("select name from notes order by rowid")]


def test_all_are_committed_at_once(file: sqlite3.Connection, path: Path) -> None:
    """Every change has its own result, and there is one commit for all of them."""
    said: list[str] = []
    file.set_trace_callback(said.append)
    changes = [Change(noting(name)) for name in "abc"]
    make_together(file, changes)
    assert [one.result() for one in changes] == ["a", "b", "c"]
    assert notes(path) == ["a", "b", "c"]
    assert said.count("commit") == 1


def test_one_that_fails_takes_no_other_with_it(file: sqlite3.Connection, path: Path) -> None:
    """A run that was taken over hears it, and its neighbours' events are kept."""
    changes = [Change(noting("a")), Change(noting("b", refused=True)), Change(noting("c"))]
    make_together(file, changes)
    assert changes[0].result() == "a"
    with pytest.raises(RefusedError, match="b"):
        changes[1].result()
    assert changes[2].result() == "c"
    assert notes(path) == ["a", "c"]
    assert not file.in_transaction


def test_a_file_that_is_held_is_waited_for_once(file: sqlite3.Connection, path: Path) -> None:
    """All of them hear that another process has it; none begins to wait anew."""
    changes = [Change(noting(name)) for name in "ab"]
    said: list[str] = []
    file.set_trace_callback(said.append)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        make_together(file, changes)
    for one in changes:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            one.result()
    assert len(said) <= 1
    assert notes(path) == []


@pytest.mark.asyncio
async def test_on_a_slow_disk_waiting_changes_share_a_commit(
    database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes while the disk is busy is on disk when it returns, with fewer commits."""
    monkeypatch.setattr("orchestrator.journals.database.SLOW_S", -1.0)
    await database.change(noting("first"))  # it was slow, so the next ones go to a thread
    said: list[str] = []
    database._connection.set_trace_callback(said.append)
    names = [f"n{number:02}" for number in range(20)]
    returned: list[str] = []

    async def one(name: str) -> None:
        assert await database.change(noting(name)) == name
        assert name in notes(path), "it returned before it was on disk"
        returned.append(name)

    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(one, name)
    assert sorted(returned) == names
    assert notes(path) == ["first", *names], "in the order in which they were asked for"
    assert said.count("commit") < len(names) / 2
    with pytest.raises(JournalError, match="UNIQUE"):
        await database.change(noting("first"))


@pytest.mark.asyncio
async def test_a_change_that_waits_is_made_though_its_run_is_stopped(
    database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that was handed over is lost, and whoever waits behind it goes on."""
    monkeypatch.setattr("orchestrator.journals.database.SLOW_S", -1.0)
    await database.change(noting("first"))
    async with anyio.create_task_group() as tasks:
        stopped = anyio.CancelScope()

        async def stop() -> None:
            with stopped:
                await database.change(noting("stopped"))

        tasks.start_soon(database.change, noting("before"))
        tasks.start_soon(stop)
        tasks.start_soon(database.change, noting("after"))
        await anyio.lowlevel.checkpoint()
        stopped.cancel()
    assert notes(path) == ["first", "before", "stopped", "after"]
