"""The governor in whole runs: pauses of other processes, and what has no place in a lane."""

from __future__ import annotations

import os
from collections.abc import Iterator

import anyio
import pytest

from orchestrator.errors import ModelOverloaded
from orchestrator.events import Waiting
from orchestrator.journals.board import Board
from orchestrator.journals.database import Database
from orchestrator.journals.owners import owner_of
from orchestrator.modelevents import RequestFailed
from orchestrator.records import ModelReply, ModelRequest
from orchestrator.testing import ScriptedModel
from tests.runs.conftest import CommandLine
from tests.runs.model_server import ModelServer
from tests.runs.stage import Stage, mended

MODEL = "claude-opus-5-5"


@pytest.fixture
def board(orchestrate: CommandLine) -> Iterator[Board]:
    """The board of the state directory, as another process stands on it."""
    path = orchestrate.state / "journal.db"
    Database(path).close()
    other = Board(path, owner=owner_of(os.getpid()))
    yield other
    other.close()


def test_a_long_pause_in_one_process_parks_runs_of_others(
    orchestrate: CommandLine, server: ModelServer, board: Board
) -> None:
    """What one process was told to wait, another does not ask meanwhile; the run goes on later."""
    board.cut(MODEL, 1, 900.0)
    parked = orchestrate.run("issue", "1")
    assert parked.returncode == 5, parked.stdout + parked.stderr
    assert "asks to wait" in parked.stdout
    assert server.played == []
    with board._open() as database:
        database.execute("update lanes set paused_until=0")
    assert orchestrate.run("issue", "1").returncode == 0


def test_a_short_pause_in_one_process_is_waited_for(
    orchestrate: CommandLine, server: ModelServer, board: Board
) -> None:
    """A pause that is short is waited for, and told."""
    board.cut(MODEL, 1, 5.0)
    done = orchestrate.run("issue", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(server.played) > 1
    with board._open() as database:
        rows = database.execute("select count(*) from lane_slots").fetchone()
    assert rows == (0,), "a process that has ended is off the board"


class Slow:
    """A model whose replies take their time."""

    def __init__(self, *, ungoverned: bool) -> None:
        self.ungoverned = ungoverned
        self._script = ScriptedModel(mended())

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Answer after a while."""
        await anyio.sleep(0.3)
        return await self._script.reply(request)

    async def aclose(self) -> None:
        """Nothing to close."""


@pytest.mark.asyncio
@pytest.mark.parametrize("ungoverned", [True, False])
async def test_a_client_that_waits_long_by_design(stage: Stage, ungoverned: bool) -> None:
    """A client that says that it is ungoverned has no limit of time; another one has."""
    stage.settings("model: {reply_s: 0.1, retries: 0}\n")
    outcome = await stage.play(client=Slow(ungoverned=ungoverned))
    assert outcome.status == ("done" if ungoverned else "unavailable")
    assert bool(stage.all(RequestFailed)) is not ungoverned


@pytest.mark.asyncio
async def test_a_refusal_pauses_all_runs_of_a_process(stage: Stage) -> None:
    """A 429 with retry-after in one run is waited for once, by all, and shown."""
    stage.settings("model: {backoff_s: 0.01}\n")
    busy = ModelOverloaded("answered 429", retryable=True, retry_after=0.5)
    outcome = await stage.play(busy, *mended())
    assert outcome.status == "done"
    assert next(one.seconds for one in stage.all(Waiting)) == 0.5
