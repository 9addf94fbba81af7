"""A journal that an older version wrote is brought to this version's form, whole or not at all."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from orchestrator.errors import ConfigError, JournalError
from orchestrator.events import RunStarted, encode
from orchestrator.journals import database
from orchestrator.journals.database import FORM, Database
from orchestrator.journals.owners import owner_of
from orchestrator.journals.sqlite import SqliteJournal
from tests.builders import a_definition, a_reply_event, a_run

ME = owner_of(os.getpid())
FORM_1 = """
create table if not exists runs (
  run text primary key, repo text not null, issue text not null, state text not null,
  epoch integer not null, owner text not null, record text not null,
  started real not null, changed real not null, attempt integer not null);
create unique index if not exists one_unfinished on runs (repo, issue)
  where state in ('running', 'parked');
create table if not exists events (
  run text not null, seq integer not null, epoch integer not null, key text not null,
  kind text not null, data blob not null, at real not null,
  primary key (run, seq), unique (run, key)) without rowid;
pragma user_version=1;
"""
"""What the first version made, as it stands in files that people have."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A journal of form 1 with one parked run."""
    path = tmp_path / "journal.db"
    run = a_run()
    event = RunStarted(run, a_definition())
    with closing(sqlite3.connect(path)) as file:
        file.execute("pragma journal_mode=wal")
        file.executescript(FORM_1)
        record = orjson.dumps(run).decode()
        row = (run.run_id, run.repo, run.issue.key, "parked", 3, "gone", record, 1.0, 2.0, 1)
        file.execute("insert into runs values (?,?,?,?,?,?,?,?,?,?)", row)
        file.execute(
            "insert into events values (?,?,?,?,?,?,?)",
            (run.run_id, 1, 1, event.key, "RunStarted", encode(event), 1.0),
        )
        file.commit()
    return path


def form_of(path: Path) -> int:
    """Return a file's form."""
    with closing(sqlite3.connect(path)) as file:
        return int(file.execute("pragma user_version").fetchone()[0])


@pytest.mark.asyncio
async def test_a_file_of_form_1_is_opened_and_used(old: Path) -> None:
    """Its runs go on: they are listed, taken over, appended to, and one an issue as before."""
    with closing(SqliteJournal(old, owner=ME)) as store:
        assert form_of(old) == FORM
        row = await store.row("7-0a1b2c3d")
        assert (row.state, row.epoch, row.beat, row.parent) == ("parked", 3, 0.0, "")
        journal = await store.take_over(row.run)
        await journal.append(a_reply_event())
        assert await journal.events() == [RunStarted(a_run(), a_definition()), a_reply_event()]
        with pytest.raises(ConfigError, match="unfinished"):
            await store.begin(a_run(run_id="7-other"))


def test_a_step_that_fails_leaves_the_file_as_it_was(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All steps are one transaction: a version whose step fails has changed nothing."""
    broken = (*database.STEPS[:2], ("create table fine (a)", "create table runs (a)"))
    monkeypatch.setattr(database, "STEPS", broken)
    monkeypatch.setattr(database, "FORM", len(broken))
    with pytest.raises(JournalError, match="already exists"):
        Database(old)
    assert form_of(old) == 1
    monkeypatch.undo()
    with closing(Database(old)):
        assert form_of(old) == FORM


def test_old_and_new_files_come_to_the_same_tables(old: Path, tmp_path: Path) -> None:
    """A file that was brought up has the tables and indexes of one that was made now."""

    def tables(path: Path) -> list[tuple[str, str]]:
        with closing(Database(path)), closing(sqlite3.connect(path)) as file:
            rows = file.execute("select name, type from sqlite_schema order by name")
            names = [(str(name), str(kind)) for name, kind in rows]
            columns = file.execute("select name from pragma_table_info('runs')").fetchall()
            return [*names, *(("column", str(name)) for (name,) in columns)]

    assert tables(old) == tables(tmp_path / "new.db")
