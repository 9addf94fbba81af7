"""Runs that go round in circles: a word first, then a person, with the work kept."""

from __future__ import annotations

import pytest

from orchestrator.events import Notice, Prompted
from orchestrator.testing import says
from tests.runs.stage import MEND, NOTE, Stage, mended, texts

pytestmark = pytest.mark.asyncio

SAME = says("Again.", ("Bash", {"command": "echo no; exit 3"}))


async def test_the_same_call_again_and_again(stage: Stage) -> None:
    """The model is told at the third time; at the fifth the run is left to a person."""
    outcome = await stage.play(says("", NOTE), *[SAME] * 9)
    assert outcome.status == "needs_human"
    assert outcome.error == (
        "stuck: the same call gave the same result 5 times since turn 2 (Bash: echo no; exit 3)"
    )
    assert outcome.turns == 6 and "--new" in outcome.hint
    told = [one for one in stage.notices() if "same result" in one]
    assert len(told) == 1 and "3 times since turn 2" in told[0]
    assert told[0].encode() in stage.model.requests[4].messages[-1]
    assert any("5 times" in one.text for one in stage.all(Notice))
    assert outcome.commit, "what was done is kept under a ref"


async def test_a_word_is_enough(stage: Stage) -> None:
    """An agent that takes the hint ends as any other."""
    outcome = await stage.play(*[SAME] * 3, *mended())
    assert outcome.status == "done", outcome.error


async def test_who_only_talks_is_asked_to_act(stage: Stage) -> None:
    """An agent that ends without a call is asked once, in the journal first, and may then work."""
    outcome = await stage.play(says("I would change the sign."), *mended())
    assert outcome.status == "done"
    (asked,) = [one for one in stage.all(Prompted) if one.cause == "stuck"]
    assert "without using a tool" in texts(asked.message)[0]
    assert stage.model.requests[1].messages[-1] != stage.model.requests[0].messages[-1]


async def test_replies_that_are_cut_for_ever(stage: Stage) -> None:
    """Talk that is cut at its length limit again and again does not go on to the limit of turns."""
    outcome = await stage.play(*[says("Well,", stop_reason="max_tokens")] * 30)
    assert outcome.status == "needs_human" and outcome.turns == 4
    assert "2 replies in a row used no tool" in stage.prompts("continue")[1]
    assert outcome.error == "stuck: 4 replies in a row used no tool, since turn 1"


async def test_a_test_run_after_each_edit_is_work(stage: Stage) -> None:
    """Tests that fail the same way after each edit end no run."""
    turns = [
        says(
            "",
            ("Bash", {"command": f"echo {n} >>NOTES.md"}),
            ("Bash", {"command": "echo 1 failed; exit 1"}),
        )
        for n in range(9)
    ]
    outcome = await stage.play(*turns, says("", MEND), says("Mended."))
    assert outcome.status == "done", outcome.error
    assert not [one for one in stage.notices() if "same" in one]


async def test_it_can_be_switched_off(stage: Stage) -> None:
    """A user who wants no such ends says so."""
    stage.settings("stuck: {same: 0, errors: 0, cycles: 0, idle_turns: 0, talk: 0}\n")
    outcome = await stage.play(*[SAME] * 12, *mended())
    assert outcome.status == "done", outcome.error
