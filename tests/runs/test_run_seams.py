"""Whole runs where parts meet: forks and models, words after a resume, work that is given up."""

from __future__ import annotations

import pytest

from orchestrator import Orchestrator, Outcome
from orchestrator.errors import ModelError
from orchestrator.events import RunStarted
from orchestrator.modelevents import ModelSwitched
from orchestrator.planning import Wish
from orchestrator.prices import table
from orchestrator.records import ModelReply
from orchestrator.testing import ScriptedModel, says
from tests.runs.conftest import git
from tests.runs.stage import MEND, NOTE, Stage, mended
from tests.runs.test_fallback import BUSY, OPUS, SONNET, on, thinks

pytestmark = pytest.mark.asyncio


async def forked(
    stage: Stage, run: str, at: int, *script: ModelReply | ModelError, model: str | None = None
) -> Outcome:
    """Fork a run."""
    stage.model = ScriptedModel(script)
    made = Orchestrator.from_config(
        stage.config, repo=stage.repo, state=stage.state, client=stage.model, sinks=[stage.hear]
    )
    async with made as orchestrator:
        return await orchestrator.history().fork(run, at, Wish(model=model))


async def test_another_model_gets_no_thoughts_of_the_parent_s(stage: Stage) -> None:
    """A fork with another model is told so in its journal, and thoughts are left out."""
    parent = await stage.play(thinks(mended()[0]), says("Mended."))
    outcome = await forked(stage, parent.run, 1, says("Mended."), model="haiku")
    assert outcome.status == "done", outcome.error
    (asked,) = stage.model.requests
    assert asked.model == table()["haiku"].id == outcome.model
    assert b"I think of it" not in b"".join(asked.messages)
    switched = stage.only(ModelSwitched)
    assert (switched.before, switched.model) == (OPUS, asked.model)


async def test_the_same_model_keeps_its_thoughts(stage: Stage) -> None:
    """A fork that goes on with the parent's model sends what the parent sent."""
    parent = await stage.play(thinks(mended()[0]), says("Mended."))
    sent = stage.model.requests[1].messages
    outcome = await forked(stage, parent.run, 1, says("Mended."))
    assert outcome.status == "done", outcome.error
    assert stage.model.requests[0].messages == sent
    assert not stage.all(ModelSwitched)


async def test_after_a_switch_the_fallback_goes_on_unless_another_is_named(stage: Stage) -> None:
    """What answered the parent answers the fork; a model that is named wins."""
    on(stage)
    parent = await stage.play(thinks(says("", MEND)), BUSY, says("", NOTE), says("Mended."))
    assert parent.status == "done"
    outcome = await forked(stage, parent.run, 2, says("Mended."))
    assert outcome.status == "done", outcome.error
    assert [one.model for one in stage.model.requests] == [SONNET]
    outcome = await forked(stage, parent.run, 2, says("Mended."), model="haiku")
    assert outcome.status == "done", outcome.error
    assert [one.model for one in stage.model.requests] == [table()["haiku"].id]
    assert len(stage.all(RunStarted)) == 1, "the events of a parent are not told again"


async def test_a_fork_of_a_run_that_was_stuck_begins_anew(stage: Stage) -> None:
    """What ended the parent does not end the fork before it has done anything."""
    same = says("Again.", ("Bash", {"command": "echo no; exit 3"}))
    parent = await stage.play(*[same] * 9)
    assert parent.status == "needs_human" and parent.turns == 5
    outcome = await forked(stage, parent.run, 5, *mended())
    assert outcome.status == "done", outcome.error


@pytest.mark.parametrize("stopped", [3, 4])
async def test_a_word_on_idle_turns_is_the_same_after_a_resume(stage: Stage, stopped: int) -> None:
    """Since when nothing has changed is told from the journal as from memory."""
    stage.settings("stuck: {idle_turns: 6}\n")
    write = ("Bash", {"command": "echo 1 >>NOTES.md"})
    looks = [says("", ("Read", {"file_path": "README.md", "offset": n})) for n in range(1, 4)]
    rest = says("", ("Bash", {"command": "true"}))
    script = [rest, says("", write), rest, *looks, *mended()]
    whole = await stage.play(*script)
    assert whole.status == "done", whole.error
    (word,) = [one for one in stage.notices() if "no file has changed" in one.lower()]
    stage.heard.clear()
    parked = await stage.play(*script, new=True, limit_turns=stopped)
    assert parked.status == "limit_reached"
    again = await stage.play(*script[stopped:], limit_turns=50)
    assert (again.status, again.run) == ("done", parked.run)
    assert [one for one in stage.notices() if "no file has changed" in one.lower()] == [word]


async def test_work_of_a_run_that_is_given_up_by_itself_is_kept(stage: Stage) -> None:
    """Where an issue is closed while its run is parked, what was not committed yet is kept."""
    parked = await stage.play(says("", NOTE), limit_turns=1)
    assert parked.status == "limit_reached"
    made = Orchestrator.from_config(
        stage.config, repo=stage.repo, state=stage.state, client=stage.model
    )
    async with made as orchestrator:
        await orchestrator.give_up("1")
    ref = f"refs/orchestrate/rescue/{parked.run}"
    assert git(stage.repo, "show", f"{ref}:NOTES.md").strip() == "a note"
    left = git(stage.repo, "for-each-ref", "--format=%(refname)", "refs/orchestrate/")
    assert left == ref
