"""What a person sees while a run goes on."""

from __future__ import annotations

import io
import re
import unicodedata
from dataclasses import replace

import pytest

from orchestrator.events import (
    BranchIntended,
    BranchSet,
    CallSummary,
    Collected,
    Event,
    GateJudged,
    Notice,
    RunFinished,
    RunParked,
    RunResumed,
    RunStarted,
    Signal,
    SnapshotTaken,
    ToolOutput,
    ToolsReturned,
    ToolStarted,
    TranscriptOpened,
    Waiting,
)
from orchestrator.modelevents import RequestFailed
from orchestrator.records import Route, Usage
from orchestrator.sinks.terminal import TerminalSink
from tests.builders import a_definition, a_reply_event, a_run, a_verdict, an_issue, an_outcome

STYLE = re.compile(r"\x1b\[[0-9]+m")


async def shown(*events: Event | Signal, colour: bool = False, live: bool = False) -> str:
    """Return what a terminal would get."""
    stream = io.StringIO()
    sink = TerminalSink(stream, colour=colour, live=live)
    for event in events:
        await sink(event)
    return stream.getvalue()


def returned(*calls: CallSummary) -> ToolsReturned:
    """Build the event of some calls having returned."""
    return ToolsReturned(session="author", turn=1, message=b"{}", calls=calls)


@pytest.mark.asyncio
async def test_a_run_is_told_from_start_to_branch() -> None:
    """A run is a few lines: who works, each turn with its cost, each tool, gates and the branch."""
    usage = Usage(input_tokens=10, cache_read_tokens=5, output_tokens=3)
    text = await shown(
        RunStarted(a_run(), a_definition()),
        a_reply_event("I look at it.", turn=2, usage=usage, cost_usd=0.0123),
        ToolStarted(turn=2, tool="Bash", about="make test"),
        Collected(round=0, commit="b" * 40, tree="c" * 40, changed=True),
        GateJudged(round=0, verdict=a_verdict()),
        BranchSet(branch="feature/7-x", commit="b" * 40),
    )
    assert text.splitlines() == [
        "issue 7 -> builder (default), claude-opus-5-5",
        "turn 2 I look at it. (15 in, 3 out, $0.0123)",
        "  Bash  make test",
        f"collected commit {'b' * 12}",
        "gate tests: passed (3 tests executed)",
        "branch feature/7-x",
    ]


@pytest.mark.asyncio
async def test_scripted_replies_are_said_to_be_scripted() -> None:
    """A run that asks no model says so at once."""
    text = await shown(RunStarted(a_run(scripted=True), a_definition()))
    assert "no model is asked" in text


@pytest.mark.asyncio
async def test_only_slow_and_failed_calls_get_a_line_of_their_own() -> None:
    """A tool that was quick and did well is not told of twice."""
    text = await shown(
        returned(
            CallSummary("Read", "a", is_error=False, duration_s=0.1),
            CallSummary("Edit", "b", is_error=True, duration_s=0.1),
            CallSummary("Bash", "c", is_error=False, duration_s=3.0),
        )
    )
    assert text.splitlines() == ["  Edit failed 0.1 s", "  Bash took 3.0 s"]


@pytest.mark.asyncio
async def test_waiting_failing_and_notices_are_told() -> None:
    """A person learns why nothing goes on."""
    text = await shown(
        RequestFailed("author", 1, 1, "overloaded", 0.0),
        Waiting("overloaded", 1.5),
        Notice("agent x: a is used"),
        RunResumed(epoch=2, run=a_run()),
        GateJudged(round=0, verdict=a_verdict(state="failed", reason="exit status 1")),
        GateJudged(round=0, verdict=a_verdict(state="not_executed", reason="no tests")),
    )
    assert text.splitlines() == [
        "no reply: overloaded",
        "trying again in 1.5 s",
        "agent x: a is used",
        "run 7-0a1b2c3d goes on",
        "gate tests: FAILED (exit status 1)",
        "gate tests: not executed (no tests)",
    ]


@pytest.mark.asyncio
async def test_what_is_for_the_journal_only_is_not_shown() -> None:
    """Events that say nothing to a person give no line."""
    text = await shown(
        TranscriptOpened("author", b"{}"),
        SnapshotTaken("author", 1, "s"),
        BranchIntended("b", "c"),
        RunParked(1, an_outcome(status="cancelled")),
        RunFinished(an_outcome()),
    )
    assert text == ""


@pytest.mark.asyncio
async def test_output_of_a_running_command_is_shown_by_its_last_lines() -> None:
    """On a terminal the latest lines appear, dimmed; where nobody looks on there are none."""
    event = ToolOutput(turn=1, tool="Bash", text="one\ntwo\rthree\n\nfour\n" + "x" * 500)
    text = await shown(event, live=True)
    assert text.splitlines()[:2] == ["    three", "    four"]
    assert len(text.splitlines()) == 3
    assert len(text.splitlines()[2]) <= 104
    styled = await shown(event, live=True, colour=True)
    assert [one.startswith("\x1b[2m") for one in styled.splitlines()] == [True] * 3
    assert await shown(event) == await shown(event, colour=True) == ""


@pytest.mark.asyncio
async def test_output_of_a_running_command_cannot_act_on_the_terminal() -> None:
    """Control sequences in what a command prints reach nobody's terminal."""
    text = await shown(ToolOutput(turn=1, tool="Bash", text=EVIL), live=True)
    plain = text.replace("\n", "")
    assert plain
    assert not [c for c in plain if unicodedata.category(c) in {"Cc", "Cf"}]


EVIL = "x\x1b[2J\x1b]0;owned\x07\r\u202e\nfake line"


def told_of_evil() -> list[Event | Signal]:
    """Build every event that shows text from a model, an issue, a file or a tool."""
    issue = an_issue(key=EVIL)
    run = a_run(run_id=EVIL, issue=issue, model=EVIL, route=Route(EVIL, EVIL, 1.0))
    return [
        RunStarted(run, a_definition(name=EVIL)),
        RunResumed(epoch=1, run=run),
        a_reply_event(EVIL),
        ToolStarted(turn=1, tool=EVIL, about=EVIL),
        returned(CallSummary(EVIL, EVIL, is_error=True, duration_s=3.0)),
        GateJudged(round=0, verdict=a_verdict(gate=EVIL, reason=EVIL)),
        BranchSet(branch=EVIL, commit=EVIL),
        RequestFailed("author", 1, 1, EVIL, 0.0),
        Waiting(EVIL, 1.0),
        Notice(EVIL),
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("event", told_of_evil(), ids=lambda event: type(event).__name__)
async def test_nothing_from_outside_acts_on_the_terminal(
    event: Event | Signal, colour: bool
) -> None:
    """No text of a model, tool, issue or file reaches the terminal as more than one plain line."""
    text = await shown(event, colour=colour)
    assert len(text.splitlines()) == 1
    plain = STYLE.sub("", text) if colour else text
    assert not [c for c in plain.rstrip("\n") if unicodedata.category(c) in {"Cc", "Cf"}]


@pytest.mark.asyncio
async def test_styles_only_where_they_may_be_used() -> None:
    """With colour the words are the same, with styles around them that are always closed."""
    event = GateJudged(round=0, verdict=replace(a_verdict(), state="failed"))
    plain, styled = await shown(event), await shown(event, colour=True)
    assert "\x1b" not in plain
    assert STYLE.sub("", styled) == plain
    assert styled.count("\x1b[31m") == styled.count("\x1b[0m") == 1
