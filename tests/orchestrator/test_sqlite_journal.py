"""The journal in one SQLite file: append-only, fenced by an epoch."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import anyio
import pytest

from orchestrator.errors import ConfigError, JournalError, LeaseLost, NoSuchRun
from orchestrator.events import BranchSet, Event, RunFinished, RunParked, RunStarted
from orchestrator.journals.owners import owner_of
from orchestrator.journals.sqlite import SqliteJournal, SqliteRunJournal
from orchestrator.lifeevents import RunTakenOver, taken_at
from orchestrator.records import Run
from tests.builders import a_definition, a_reply_event, a_run, an_issue, an_outcome

ME = owner_of(os.getpid())
Opener = Callable[..., SqliteJournal]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "journal.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Opener]:
    """Opens the journal for an owner; what is opened is closed afterwards."""
    with ExitStack() as stack:
        yield lambda owner=ME: stack.enter_context(closing(SqliteJournal(path, owner=owner)))


@contextmanager
def another_process() -> Iterator[str]:
    """Name an owner that is alive within the block and dead after it."""
    process = subprocess.Popen(["sleep", "600"])
    try:
        yield owner_of(process.pid)
    finally:
        process.kill()
        process.wait()


def numbered(number: int) -> Run:
    """Build a run of an issue of its own."""
    return a_run(run_id=f"{number}-run", issue=an_issue(key=str(number)))


@pytest.mark.asyncio
async def test_what_is_recorded_outlives_the_process(opened: Opener) -> None:
    """A run and its events are read back by whoever opens the file next."""
    first = opened()
    journal = await first.begin(a_run())
    events: list[Event] = [RunStarted(a_run(), a_definition()), a_reply_event("ü\x00\u2028")]
    await journal.append(*events)
    first.close()
    again = opened()
    row = await again.row("7-0a1b2c3d")
    assert (row.record, row.state, row.epoch, row.attempt) == (a_run(), "running", 1, 1)
    assert await again.events(row.run) == events


@pytest.mark.asyncio
async def test_every_commit_is_on_disk(opened: Opener, path: Path) -> None:
    """The file is written ahead and synchronised at every commit."""
    database = opened().database._connection
    assert database.execute("pragma synchronous").fetchone() == (2,)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("pragma journal_mode").fetchone() == ("wal",)


@pytest.mark.asyncio
async def test_a_run_begins_with_its_first_events_or_not_at_all(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No kill leaves a run behind that never began: both are in one transaction."""
    store = opened()
    started = RunStarted(a_run(), a_definition())

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as broken:
        broken.setattr("orchestrator.journals.sqlite._append", full)
        with pytest.raises(JournalError, match="full"):
            await store.begin(a_run(), started)
    assert await store.rows() == []
    journal = await store.begin(a_run(), started)
    assert await journal.events() == [started]
    with pytest.raises(ConfigError):
        await store.begin(a_run(run_id="7-other"), started)
    assert [row.run for row in await store.rows()] == [a_run().run_id]


@pytest.mark.asyncio
async def test_an_issue_has_one_unfinished_run(opened: Opener) -> None:
    """A second run of an issue begins only when the first is over; parked is not over."""
    store = opened()
    journal = await store.begin(a_run())
    other = a_run(run_id="7-other", attempt=2)
    with pytest.raises(ConfigError, match="already has an unfinished run") as caught:
        await store.begin(other)
    assert "orchestrate issue 7" in caught.value.hint
    await journal.append(RunParked(1, an_outcome(status="cancelled")))
    with pytest.raises(ConfigError):
        await store.begin(other)
    await store.begin(a_run(run_id="elsewhere", repo="/another/.git"))
    await journal.append(RunFinished(an_outcome()))
    await store.begin(other)
    assert await store.unfinished("/repo/.git", "7") == "7-other"
    assert await store.attempts("/repo/.git", "7") == 2


@pytest.mark.asyncio
async def test_a_run_that_is_given_up_makes_room(opened: Opener) -> None:
    """An abandoned run lets a new attempt begin, and its journal can no longer be written."""
    store = opened()
    journal = await store.begin(a_run())
    await store.abandon(journal.run)
    assert await store.unfinished("/repo/.git", "7") is None
    with pytest.raises(LeaseLost):
        await journal.append(a_reply_event())
    await store.begin(a_run(run_id="7-new"))


@pytest.mark.asyncio
async def test_states_follow_the_events(opened: Opener) -> None:
    """A run is running, parked or what its outcome says, and its last outcome is known."""
    store = opened()
    journal = await store.begin(a_run())
    seen = [((await store.row(journal.run)).state, await store.outcome(journal.run))]
    parked, done = an_outcome(status="limit_reached"), an_outcome(status="needs_human")
    for event in (RunParked(1, parked), RunFinished(done)):
        await journal.append(event)
        seen.append(((await store.row(journal.run)).state, await store.outcome(journal.run)))
    assert seen == [("running", None), ("parked", parked), ("needs_human", done)]


@pytest.mark.asyncio
async def test_an_earlier_owner_is_refused(opened: Opener) -> None:
    """After a take-over the process that had the run before can record nothing more."""
    with another_process() as owner:
        old = await opened(owner).begin(a_run())
        await old.append(a_reply_event())
    new = await opened().take_over(old.run)
    assert new.epoch == old.epoch + 1
    with pytest.raises(LeaseLost):
        await old.append(BranchSet("b", "c"))
    await new.append(BranchSet("b", "d"))
    assert await new.events() == [a_reply_event(), BranchSet("b", "d")]


@pytest.mark.asyncio
async def test_a_run_is_not_taken_from_a_living_process(opened: Opener) -> None:
    """While its owner lives a running run stays its own; once it is dead the run can be taken."""
    mine = opened()
    with another_process() as owner:
        journal = await opened(owner).begin(a_run())
        with pytest.raises(LeaseLost, match="another process") as caught:
            await mine.take_over(journal.run)
        assert caught.value.hint
        await journal.append(a_reply_event())
    taken = await mine.take_over(journal.run)
    assert await taken.events() == [a_reply_event()]


@pytest.mark.asyncio
async def test_a_parked_run_can_be_taken_from_a_living_process(opened: Opener) -> None:
    """A run that is parked is nobody's, though the process that parked it lives."""
    with another_process() as owner:
        journal = await opened(owner).begin(a_run())
        await journal.append(RunParked(1, an_outcome(status="cancelled")))
        taken = await opened().take_over(journal.run)
    assert (await opened().row(taken.run)).state == "running"


@pytest.mark.asyncio
async def test_of_two_that_take_over_the_last_holds(opened: Opener) -> None:
    """Every take-over fences off all earlier ones, also those of the same process."""
    store = opened()
    journals = [await store.begin(a_run())]
    for _ in range(3):
        journals[-1].leave()
        journals.append(await store.take_over(journals[0].run))
    assert [one.epoch for one in journals] == [1, 2, 3, 4]
    for fenced in journals[:-1]:
        with pytest.raises(LeaseLost):
            await fenced.append(a_reply_event())
    await journals[-1].append(a_reply_event())


@pytest.mark.asyncio
async def test_a_run_that_is_worked_on_here_is_not_taken_again(opened: Opener) -> None:
    """Whichever object of this process asks: it is refused until the run is left."""
    journal = await opened().begin(a_run())
    for _ in range(2):
        with pytest.raises(LeaseLost, match="worked on by this process already"):
            await opened().take_over(journal.run)
        await journal.append(a_reply_event(turn=journal.epoch))
        journal.leave()
        journal = await opened().take_over(journal.run)
    assert journal.epoch == 3


def test_a_run_whose_loop_was_closed_can_be_gone_on_with(opened: Opener) -> None:
    """What nobody can ever wake up again holds no run, though something still knows of it."""
    cut_off = anyio.run(opened().begin, a_run())
    taken = anyio.run(opened().take_over, cut_off.run)
    assert taken.epoch == cut_off.epoch + 1


@pytest.mark.asyncio
async def test_of_two_that_take_a_parked_run_at_once_one_has_it(opened: Opener) -> None:
    """The other is refused, and the one that has it is still known to work on it."""
    journal = await opened().begin(a_run())
    await journal.append(RunParked(1, an_outcome(status="cancelled")))
    journal.leave()
    taken, refused = [], []

    async def take() -> None:
        try:
            taken.append(await opened().take_over(journal.run))
        except LeaseLost as error:
            refused.append(error)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(take)
    assert (len(taken), len(refused)) == (1, 4)
    with pytest.raises(LeaseLost, match="this process already"):
        await opened().take_over(journal.run)


@pytest.mark.asyncio
async def test_a_finished_run_stays_finished(opened: Opener) -> None:
    """Asking for a run that has ended does not make its issue's next attempt impossible."""
    store = opened()
    journal = await store.begin(a_run())
    await journal.append(RunFinished(an_outcome()))
    with suppress(JournalError, ConfigError, NoSuchRun):
        await store.take_over(journal.run)
    assert (await store.row(journal.run)).state == "done"
    assert await store.unfinished("/repo/.git", "7") is None


@pytest.mark.asyncio
async def test_runs_are_found_by_a_prefix_that_is_unique(opened: Opener) -> None:
    """A run is named by its id or the beginning of it; none or several are refused."""
    store = opened()
    for number in (1, 12, 2):
        await store.begin(numbered(number))
    assert (await store.row("12")).run == "12-run"
    assert (await store.row("1-run")).run == "1-run"
    assert [one.run for one in await store.rows()] == ["2-run", "12-run", "1-run"]
    with pytest.raises(NoSuchRun, match="more than one"):
        await store.row("1")
    for name in ("3", "%", "1-run-"):
        with pytest.raises(NoSuchRun, match="no run"):
            await store.row(name)


@pytest.mark.asyncio
async def test_several_events_are_recorded_together_or_not_at_all(opened: Opener) -> None:
    """One event that cannot be recorded takes those beside it with it, and the state too."""
    store = opened()
    journal = await store.begin(a_run())
    await journal.append(a_reply_event(turn=1))
    with pytest.raises(JournalError):
        await journal.append(
            a_reply_event(turn=2), RunFinished(an_outcome()), a_reply_event("again", turn=1)
        )
    assert await journal.events() == [a_reply_event(turn=1)]
    assert (await store.row(journal.run)).state == "running"
    await journal.append(a_reply_event(turn=2), a_reply_event(turn=3))
    assert len(await journal.events()) == 3


async def write(journal: SqliteRunJournal, turns: Iterable[int]) -> None:
    """Append a reply for each of some turns, one after the other."""
    for turn in turns:
        await journal.append(a_reply_event(journal.run, turn=turn))


@pytest.mark.asyncio
async def test_two_runs_write_at_once(opened: Opener) -> None:
    """Two runs, in two connections to one file, both keep all events in their own order."""
    journals = [await opened().begin(numbered(number)) for number in (1, 2)]
    turns = range(1, 31)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for journal in journals:
                for part in (turns[:15], turns[15:]):
                    tasks.start_soon(write, journal, part)
    for journal in journals:
        keys = [event.key for event in await journal.events()]
        assert sorted(keys) == sorted(a_reply_event(turn=turn).key for turn in turns)
        first = [key for key in keys if int(key.split("/")[2]) <= 15]
        assert first == [a_reply_event(turn=turn).key for turn in turns[:15]]


@pytest.mark.asyncio
async def test_an_append_is_not_cut_off_by_cancellation(opened: Opener) -> None:
    """An append that has begun is finished, though its task is cancelled."""
    journal = await opened().begin(a_run())
    with anyio.CancelScope() as scope:
        scope.cancel()
        await journal.append(a_reply_event())
    assert await journal.events() == [a_reply_event()]


async def aged(path: Path, seconds: float) -> None:
    """Have the journal say that nothing was heard of any owner for so long."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("update runs set changed=changed-?, beat=beat-?", (seconds, seconds))
        other.commit()


@pytest.mark.asyncio
@pytest.mark.parametrize("seconds", [100.0, -100.0])
async def test_a_silent_owner_loses_its_run_only_where_that_is_asked_for(
    opened: Opener, path: Path, seconds: float
) -> None:
    """A live owner keeps it; after its lease it is told how; then it is refused, by append and beat."""
    parent = owner_of(os.getppid())
    frozen = await opened(parent).begin(a_run())
    store = opened()
    with pytest.raises(LeaseLost, match=f"process {os.getppid()} on .*last heard of 0 s") as beats:
        await store.take_over(frozen.run, silent=True)
    assert "--take-over" not in beats.value.hint
    await aged(path, seconds)
    with pytest.raises(LeaseLost) as silent:
        await store.take_over(frozen.run)
    assert f"orchestrate runs resume {frozen.run} --take-over" in silent.value.hint
    journal = await store.take_over(frozen.run, silent=True)
    (event,) = await journal.events()
    assert isinstance(event, RunTakenOver)
    assert (event.epoch, event.owner) == (2, parent)
    assert abs(event.silent_s - 100) < 30
    for refused in (frozen.append(a_reply_event()), frozen.beat()):
        with pytest.raises(LeaseLost, match="taken over"):
            await refused
    assert taken_at(await journal.events()) == 2


@pytest.mark.asyncio
async def test_a_beat_is_written_only_after_silence(opened: Opener, path: Path) -> None:
    """What was recorded just now says that its owner lives; later a beat does."""
    store = opened()
    journal = await store.begin(a_run())
    before = (await store.row(journal.run)).beat
    await journal.beat()
    assert (await store.row(journal.run)).beat == before
    await aged(path, 100)
    await journal.beat()
    assert (await store.row(journal.run)).beat >= before
    with pytest.raises(LeaseLost):
        await opened(owner_of(os.getppid())).take_over(journal.run, silent=True)
