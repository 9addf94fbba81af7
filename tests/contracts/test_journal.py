"""The contract of RunJournal: what every journal of one run does."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
import pytest

from orchestrator.errors import JournalError
from orchestrator.events import (
    BranchSet,
    Event,
    Notice,
    RunFinished,
    RunStarted,
)
from orchestrator.journals.owners import owner_of
from orchestrator.journals.sqlite import SqliteJournal
from orchestrator.modelevents import RequestFailed
from orchestrator.ports import RunJournal
from orchestrator.testing import MemoryJournal
from tests.builders import a_definition, a_reply_event, a_run, an_outcome


@asynccontextmanager
async def a_journal(kind: str, folder: Path) -> AsyncIterator[RunJournal]:
    """Open an empty journal of a kind."""
    if kind == "memory":
        yield MemoryJournal()
        return
    with closing(SqliteJournal(folder / "journal.db", owner=owner_of(os.getpid()))) as store:
        yield await store.begin(a_run())


pytestmark = [pytest.mark.asyncio, pytest.mark.parametrize("kind", ["memory", "sqlite"])]


async def test_events_come_back_in_order(kind: str, tmp_path: Path) -> None:
    """What was appended, alone or together, comes back equal and in order."""
    events: list[Event] = [
        RunStarted(a_run(), a_definition()),
        *[a_reply_event(f"ü {turn}", turn=turn) for turn in range(1, 13)],
        RunFinished(an_outcome()),
    ]
    async with a_journal(kind, tmp_path) as journal:
        assert await journal.events() == []
        await journal.append(events[0])
        await journal.append(*events[1:9])
        await journal.append(*events[9:])
        assert await journal.events() == events


async def test_nothing_is_recorded_twice(kind: str, tmp_path: Path) -> None:
    """A key that is there is refused, though the event's data is other."""
    async with a_journal(kind, tmp_path) as journal:
        await journal.append(a_reply_event("first"))
        with pytest.raises(JournalError):
            await journal.append(a_reply_event("second"))
        assert await journal.events() == [a_reply_event("first")]


async def test_together_means_all_or_none(kind: str, tmp_path: Path) -> None:
    """Events that are appended together are recorded together or not at all."""
    async with a_journal(kind, tmp_path) as journal:
        await journal.append(a_reply_event(turn=1))
        for group in (
            (a_reply_event(turn=2), a_reply_event(turn=1)),
            (a_reply_event(turn=3), a_reply_event("again", turn=3)),
        ):
            with pytest.raises(JournalError):
                await journal.append(*group)
        assert await journal.events() == [a_reply_event(turn=1)]
        await journal.append(a_reply_event(turn=2), a_reply_event(turn=3))
        assert len(await journal.events()) == 3


async def test_an_append_of_nothing_is_nothing(kind: str, tmp_path: Path) -> None:
    """Appending no event changes nothing."""
    async with a_journal(kind, tmp_path) as journal:
        await journal.append()
        assert await journal.events() == []


async def test_the_list_is_the_callers_own(kind: str, tmp_path: Path) -> None:
    """Changing what was returned does not change the journal."""
    async with a_journal(kind, tmp_path) as journal:
        await journal.append(BranchSet("b", "c"))
        (await journal.events()).clear()
        assert await journal.events() == [BranchSet("b", "c")]


async def test_appends_at_once_all_arrive(kind: str, tmp_path: Path) -> None:
    """Events that several tasks append at once are all there, each once."""
    async with a_journal(kind, tmp_path) as journal:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for turn in range(20):
                    tasks.start_soon(journal.append, a_reply_event(turn=turn))
        keys = {event.key for event in await journal.events()}
        assert keys == {a_reply_event(turn=turn).key for turn in range(20)}


async def test_what_cannot_be_recorded_is_a_journal_error(kind: str, tmp_path: Path) -> None:
    """An event that cannot be encoded is refused as every other that cannot be kept."""
    async with a_journal(kind, tmp_path) as journal:
        broken = a_reply_event(message=b"\xff")
        with pytest.raises(JournalError):
            await journal.append(BranchSet("b", "c"), broken)
        assert await journal.events() == []


async def test_signals_are_not_for_the_journal(kind: str, tmp_path: Path) -> None:
    """Only durable events can be recorded; a signal is refused before anything is written."""
    async with a_journal(kind, tmp_path) as journal:
        with pytest.raises((AttributeError, TypeError)):
            await journal.append(RequestFailed("author", 1, 1, "x", 0.0), Notice("x"))  # type: ignore[arg-type]
        assert await journal.events() == []
