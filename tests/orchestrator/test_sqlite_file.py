"""The journal's file and the owners of runs: what cannot be used is refused, whoever lives is known."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.errors import JournalError
from orchestrator.journals.database import FORM
from orchestrator.journals.owners import is_alive, owner_of
from orchestrator.journals.sqlite import SqliteJournal
from tests.builders import a_reply_event, a_run

ME = owner_of(os.getpid())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "journal.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteJournal]:
    """An open journal."""
    with closing(SqliteJournal(path, owner=ME)) as opened:
        yield opened


@pytest.mark.asyncio
async def test_events_of_a_newer_version_are_refused(store: SqliteJournal, path: Path) -> None:
    """An event that this version cannot read stops it, naming the run."""
    journal = await store.begin(a_run())
    with closing(sqlite3.connect(path)) as other:
        row = (journal.run, 1, 1, "novel", "Novel", b"{}", 0.0)
        other.execute("insert into events values (?,?,?,?,?,?,?)", row)
        other.commit()
    with pytest.raises(JournalError, match=r"7-0a1b2c3d.*newer version"):
        await journal.events()


def test_a_file_of_a_newer_form_is_refused_untouched(path: Path) -> None:
    """A journal that a newer version wrote is left byte for byte as it is."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("create table novel (a)")
        other.execute(f"pragma user_version={FORM + 1}")
    before = path.read_bytes()
    with pytest.raises(JournalError, match="newer version") as caught:
        SqliteJournal(path, owner=ME)
    assert caught.value.hint
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.glob("journal.db*")] == ["journal.db"]


@pytest.mark.parametrize("kind", ["garbage", "folder", "nowhere"])
def test_a_file_that_cannot_be_used_is_refused_with_a_hint(path: Path, kind: str) -> None:
    """What is no journal, or cannot be written, is refused by name, and is not overwritten."""
    if kind == "garbage":
        path.write_bytes(b"garbage " * 1000)
    elif kind == "folder":
        path.mkdir()
    where = path / "deeper" / "journal.db" if kind == "nowhere" else path
    with pytest.raises(JournalError, match=r"journal\.db") as caught:
        SqliteJournal(where, owner=ME)
    assert "--state" in caught.value.hint
    assert caught.value.exit_code == 5
    if kind == "garbage":
        assert path.read_bytes() == b"garbage " * 1000


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("pragma", "hint"), [("max_page_count=1", "free some disk space"), ("query_only=1", "writable")]
)
async def test_a_file_that_takes_no_more_is_an_error_with_a_hint(
    store: SqliteJournal, pragma: str, hint: str
) -> None:
    """A full disk and a file that became read-only stop the run, keep what was there, and say what to do."""
    journal = await store.begin(a_run())
    await journal.append(a_reply_event())
    store.database._connection.execute(f"pragma {pragma}")
    with pytest.raises(JournalError) as caught:
        await journal.append(a_reply_event("x" * 100_000, turn=2))
    assert hint in caught.value.hint
    assert await journal.events() == [a_reply_event()]


def test_many_processes_may_open_a_new_file_at_once(path: Path) -> None:
    """Whoever comes first makes the file; nobody is refused."""
    barrier = threading.Barrier(6)
    problems: list[Exception] = []

    def open_it() -> None:
        barrier.wait(timeout=60)
        try:
            SqliteJournal(path, owner=ME).close()
        except JournalError as error:
            problems.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert problems == []


def test_an_owner_is_alive_as_long_as_its_process() -> None:
    """A process is known by boot, number and start: a later one with its number is another."""
    host, boot, pid, started = ME.split(":")
    assert is_alive(ME)
    assert not is_alive(f"{host}:{boot}:{pid}:{int(started) + 1}")
    assert not is_alive(f"{host}:00000000:{pid}:{started}")
    assert not is_alive(f"{host}:nonsense")
    assert is_alive(f"elsewhere:{boot}:{pid}:{started}")
    process = subprocess.Popen(["sleep", "600"])
    owner = owner_of(process.pid)
    try:
        assert is_alive(owner)
    finally:
        process.kill()
        process.wait()
    assert not is_alive(owner)


def test_a_process_that_has_ended_is_not_alive_though_nobody_has_fetched_it() -> None:
    """A zombie, as containers without an init keep them for ever, does not hold its runs."""
    process = subprocess.Popen(["true"])
    owner = owner_of(process.pid)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert not is_alive(owner)
    finally:
        process.wait()
