"""What a fork begins with: its parent's events up to a turn, at no cost, and nothing that is the parent's alone."""

from __future__ import annotations

import dataclasses

import pytest

from orchestrator.errors import ConfigError
from orchestrator.events import (
    AUTHOR,
    Collected,
    Event,
    ModelReplied,
    RunFinished,
    RunResumed,
    RunStarted,
    SnapshotTaken,
    ToolsReturned,
    TranscriptOpened,
)
from orchestrator.forking import forked, kept_state, whole_turns
from orchestrator.limits import Ledger
from orchestrator.modelevents import RequestIntended
from orchestrator.records import Limits, Usage
from orchestrator.session import Session, asked_models
from orchestrator.transcript import encode_message, text_block
from orchestrator.wayoutevents import EgressDecided
from tests.builders import a_definition, a_run, an_outcome

CALL = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}}
USED = Usage(input_tokens=1000, output_tokens=50)


def turn(number: int, *, calls: bool = True, ran: bool = True, kept: bool = True) -> list[Event]:
    """Build the events of one turn."""
    content = [text_block(f"turn {number}"), *([CALL] if calls else [])]
    reason = "tool_use" if calls else "end_turn"
    message = encode_message("assistant", content)
    found: list[Event] = [
        RequestIntended(AUTHOR, number, 1, 0.5, 1000),
        ModelReplied(AUTHOR, number, message, reason, USED, 0.25),
    ]
    if calls:
        results = encode_message("user", [text_block(f"result {number}")])
        found.append(ToolsReturned(AUTHOR, number, results, (), ran=ran))
    if calls and kept:
        found.append(SnapshotTaken(AUTHOR, number, f"{number}:{'a' * 40}"))
    return found


def a_journal() -> list[Event]:
    """Build the journal of a run of four turns."""
    return [
        RunStarted(a_run(), a_definition()),
        TranscriptOpened(AUTHOR, b'"system":[],"tools":[]'),
        *turn(1),
        EgressDecided("1", "example.org", 443, allowed=True),
        *turn(2, kept=False),
        *turn(3, ran=False, kept=False),
        *turn(4),
        *turn(5, calls=False),
        Collected(1, "b" * 40, "c" * 40, changed=True),
        RunFinished(an_outcome()),
    ]


FORK = dataclasses.replace(a_run(), run_id="7-fork", forked_from=a_run().run_id, forked_at=4)


def test_turns_whose_files_were_not_kept_are_no_place_to_fork() -> None:
    """After turn 2 ran something its state was not kept, so 2 and 3 cannot be gone back to."""
    assert whole_turns(a_journal()) == [1, 4, 5]
    assert whole_turns(a_journal()[:-9]) == [1]
    with pytest.raises(ConfigError, match="at turn 2") as refused:
        forked(a_journal(), 2, FORK)
    assert refused.value.hint == "turns that can be: 1, 4-5"


def test_a_fork_has_the_transcript_and_no_costs() -> None:
    """The same messages; nothing is spent; judging, connections and ends stay with the parent."""
    events = forked(a_journal(), 4, FORK)
    parent = Session.rebuilt(AUTHOR, [*a_journal()[:-5]], "/workspace")
    fork = Session.rebuilt(AUTHOR, events, "/workspace")
    assert parent is not None and fork is not None
    requests = [one.transcript.request(model="m", max_tokens=1).body() for one in (parent, fork)]
    assert requests[0] == requests[1]
    assert fork.turn == 5
    ledger = Ledger(Limits(usd=5), None, max_output=1000)
    ledger.recount(events)
    assert (ledger.spent_usd, ledger.usage, ledger.turns) == (0.0, Usage(), 4)
    kinds = {type(one) for one in events}
    assert not kinds & {EgressDecided, Collected, RunFinished}
    assert events[0] == RunStarted(FORK, a_definition())
    assert kept_state(events) == f"4:{'a' * 40}"
    keys = [one.key for one in events]
    assert len(keys) == len(set(keys))


def test_a_fork_at_the_last_reply_is_judged_anew() -> None:
    """It has that reply, and nothing that was said of the work."""
    events = forked(a_journal(), 5, FORK)
    session = Session.rebuilt(AUTHOR, events, "/workspace")
    assert session is not None and session.final is not None
    assert not any(isinstance(one, Collected) for one in events)


def test_a_state_that_was_kept_later_in_the_journal_goes_along() -> None:
    """A workspace is kept beside the next request, whose intent may be recorded first."""
    events = a_journal()
    kept = events.pop(5)
    assert isinstance(kept, SnapshotTaken)
    events.insert(8, kept)
    assert kept_state(forked(events, 1, FORK)) == kept.snapshot


def test_a_fork_knows_whom_its_parent_talked_to() -> None:
    """A fork that asks another model begins as its parent did: what that thought is left out."""
    other = dataclasses.replace(FORK, model="claude-sonnet-5-5")
    events = [*forked(a_journal(), 4, other), RunResumed(1, other)]
    assert asked_models(AUTHOR, events) == (a_run().model, other.model)
