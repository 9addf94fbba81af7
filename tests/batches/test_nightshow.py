"""What is shown while a night goes on: plain lines, heartbeats, the log."""

from __future__ import annotations

import io
import json

import anyio
import pytest

from orchestrator.batches.nights import Fate, IssueBegun, IssueEnded, NightBegun, NightEvent
from orchestrator.batches.views import NightView
from orchestrator.cli.nightshow import NightShow
from orchestrator.sinks.log import LogSink
from tests.batches.nights_of import BEGAN, HOSTILE, REPO, a_night, a_plan
from tests.builders import a_reply_event


class Lines(io.StringIO):
    """A stream that tells when enough lines are there."""

    def __init__(self, enough: int) -> None:
        super().__init__()
        self.full = anyio.Event()
        self._enough = enough

    def flush(self) -> None:
        if self.getvalue().count("\n") >= self._enough:
            self.full.set()


async def heard(show: NightShow, *events: NightEvent) -> None:
    """Have a show hear events of a night."""
    view = NightView(a_night(a_plan(3)))
    for event in (NightBegun(1, view.night, BEGAN), *events):
        view.apply(event)
        await show.hear(event, view)


@pytest.mark.asyncio
async def test_lines_tell_what_happens_and_the_heart_beats() -> None:
    """Events are lines with the time of day; between them a line tells that the night lives."""
    stream = Lines(5)
    show = NightShow(stream, heartbeat_s=0.01)
    fate = Fate("done", status="done", run="1-a", usd=1.0, turns=3)
    await heard(
        show, IssueBegun(REPO, "1", 1, "1-a", BEGAN), IssueEnded(REPO, "1", 1, fate, BEGAN + 5)
    )
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(show.keep_up)
            await stream.full.wait()
            tasks.cancel_scope.cancel()
    lines = stream.getvalue().splitlines()
    assert "batch n-20261129-01: 3 issues, 4 at once" in lines[0]
    assert "1 begins" in lines[1]
    assert "1 done ($1.00" in lines[2]
    assert "1 done, 2 not begun; $1.00 of $40.00" in lines[3]
    assert "last event" in lines[4]
    assert show.batch == "n-20261129-01"


class Gone(io.StringIO):
    """A stream whose reader has gone; tells when it was tried a few times."""

    def __init__(self) -> None:
        super().__init__()
        self.tries = 0
        self.enough = anyio.Event()

    def write(self, _: str) -> int:
        self.tries += 1
        if self.tries > 3:
            self.enough.set()
        raise BrokenPipeError


@pytest.mark.asyncio
async def test_a_night_goes_on_when_nobody_listens_any_more() -> None:
    """A pipe that was closed at its other end ends neither the show nor what it shows."""
    stream = Gone()
    show = NightShow(stream, heartbeat_s=0.001)
    await heard(show, IssueBegun(REPO, "1", 1, "1-a", BEGAN))
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(show.keep_up)
            await stream.enough.wait()
            tasks.cancel_scope.cancel()


@pytest.mark.asyncio
async def test_the_log_names_issue_and_run_of_each_event() -> None:
    """Events of many runs can be told apart in one log."""
    log = io.StringIO()
    show = NightShow(io.StringIO(), log=LogSink(log))
    await heard(show, IssueBegun(REPO, "1", 1, "1-a", BEGAN))
    await show.look((REPO, "1"), "1-a", a_reply_event())
    records = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [one["event"] for one in records] == ["NightBegun", "IssueBegun", "ModelReplied"]
    assert records[0]["batch"] == "n-20261129-01"
    assert (records[2]["issue_key"], records[2]["run_id"]) == ("1", "1-a")


@pytest.mark.parametrize("evil", HOSTILE)
@pytest.mark.asyncio
async def test_lines_are_safe_whatever_is_said(evil: str) -> None:
    """Text of issues and models moves nothing on a terminal, and stays on its line."""
    stream = io.StringIO()
    show = NightShow(stream)
    fate = Fate("not_done", status="failed", run="1-a", said=evil)
    await heard(
        show, IssueBegun(REPO, "1", 1, "1-a", BEGAN), IssueEnded(REPO, "1", 1, fate, BEGAN + 5)
    )
    text = stream.getvalue()
    assert len(text.splitlines()) == text.count("\n") == 3
    assert not any(char in text for char in "\x1b\x07\x00\u202e\u2066\u2028\udc80")
