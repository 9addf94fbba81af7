"""What reviews cost, how their limits end, and what stands in their way."""

from __future__ import annotations

import pytest

from orchestrator.errors import ConfigError, ModelOverloaded, ModelRefused
from orchestrator.events import (
    ModelReplied,
    Prompted,
    Reviewed,
)
from orchestrator.prices import table
from orchestrator.records import ModelReply, Usage
from orchestrator.testing import says
from tests.runs.conftest import git
from tests.runs.meddling import Meddling, commits
from tests.runs.review_scene import ON, finding, judges, no_verdict, review
from tests.runs.stage import NOTE, Stage, mended

pytestmark = pytest.mark.asyncio


USED = Usage(input_tokens=1000, output_tokens=1000)


def paid(reply: ModelReply) -> ModelReply:
    """Return a reply that costs something."""
    return ModelReply(reply.blocks, reply.stop_reason, USED)


async def test_what_a_review_costs(stage: Stage) -> None:
    """Dollars and tokens of a review are told with it, and are in the run's own; its turns are not."""
    stage.settings(ON)
    read = says("", ("Read", {"file_path": "README.md"}))
    outcome = await stage.play(*map(paid, (*mended(), read, judges())), model="sonnet")
    costs = {e.session: 0.0 for e in stage.all(ModelReplied)}
    for event in stage.all(ModelReplied):
        costs[event.session] += event.cost_usd
    assert review(stage).cost_usd == pytest.approx(costs["review/1"], abs=1e-6)
    assert outcome.cost_usd == pytest.approx(sum(costs.values()), abs=1e-6)
    assert costs["review/1"] > costs["author"] > 0, "the reviewer's model costs more"
    assert outcome.usage == stage.used()
    assert outcome.turns == 2


async def test_a_model_of_its_own(stage: Stage) -> None:
    """The reviewer is asked as the model that the settings name, at that model's price."""
    stage.settings("review: {enabled: true, model: haiku}\n")
    await stage.play(*mended(), judges(), model="opus")
    models = [one.model for one in stage.model.requests]
    assert "haiku" in models[2] and "opus" in models[0]
    assert "haiku" in review(stage).model


async def test_the_ceiling_of_reviews(stage: Stage) -> None:
    """Reviews that would cost more than review.usd are not executed, and so nothing passes."""
    stage.settings("review: {enabled: true, usd: 0.01}\n")
    await no_verdict(stage, judges(), said="the rest of the money for the review does not pay")
    assert len(stage.model.requests) == 2


async def test_the_ceiling_is_for_all_reviews(stage: Stage) -> None:
    """What the first review has spent is missing to the second."""
    stage.settings("review: {enabled: true, usd: 0.2}\n")
    first = judges(finding())
    costly = ModelReply(
        first.blocks, first.stop_reason, Usage(input_tokens=100, output_tokens=9000)
    )
    outcome = await stage.play(*mended(), costly, says("", NOTE), says("Mended."), judges())
    assert [one.state for one in outcome.reviews] == ["failed", "not_executed"]
    assert outcome.status == "needs_human"


async def test_the_turns_of_a_review(stage: Stage) -> None:
    """A reviewer that reads for ever is stopped, and has given no verdict."""
    stage.settings("review: {enabled: true, turns: 3}\n")
    read = [says("", ("Read", {"file_path": "README.md"}))] * 3
    await no_verdict(stage, *read, judges(), said="the limit of 3 turns for the review was reached")


async def test_the_run_s_own_limit_parks(stage: Stage) -> None:
    """Where it is the run's money that is used up, the run parks and its review can go on."""
    stage.settings(ON)
    price = table()["opus"].price
    assert price is not None
    nearly = Usage(output_tokens=int(0.48 / price.output * 1e6))
    last = ModelReply(says("Mended.").blocks, "end_turn", nearly)
    parked = await stage.play(mended()[0], last, judges(), limit_usd=0.5)
    assert parked.status == "limit_reached", parked.error
    assert not stage.all(Reviewed)
    outcome = await stage.play(judges(), limit_usd=5)
    assert outcome.status == "done"
    assert len(stage.model.requests) == 1


async def test_the_run_s_own_limit_of_tokens_parks(stage: Stage) -> None:
    """Tokens that a review lacks are the run's: it parks, and the review can go on."""
    stage.settings(ON)
    nearly = ModelReply(says("Mended.").blocks, "end_turn", Usage(output_tokens=55_000))
    parked = await stage.play(mended()[0], nearly, judges(), limit_tokens=56_000)
    assert parked.status == "limit_reached", parked.error
    assert not stage.all(Reviewed)
    outcome = await stage.play(judges(), limit_tokens=600_000)
    assert outcome.status == "done"
    assert len(stage.model.requests) == 1


async def test_a_storm_parks_a_review(stage: Stage) -> None:
    """A service that is out of reach parks the run; what the reviewer had read is not read again."""
    stage.settings("review: {enabled: true}\nmodel: {retries: 0}\n")
    read = says("", ("Read", {"file_path": "shop/pricing.py"}))
    parked = await stage.play(*mended(), read, ModelOverloaded("529", retryable=True))
    assert parked.status == "unavailable"
    outcome = await stage.play(judges())
    assert outcome.status == "done"
    assert len(stage.model.requests) == 1
    assert len(stage.model.requests[0].messages) == 3, "the session goes on where it was"


async def test_a_refused_request_is_no_verdict(stage: Stage) -> None:
    """A request that the service refuses leaves the change unreviewed."""
    stage.settings(ON)
    outcome = await stage.play(*mended(), ModelRefused("the prompt is too long"))
    assert (outcome.status, review(stage).state) == ("needs_human", "not_executed")


async def test_a_reviewer_that_is_not_there(stage: Stage) -> None:
    """A reviewer that no file defines is refused before anything is paid for."""
    stage.settings("review: {enabled: true, agent: reviewr}\n")
    with pytest.raises(ConfigError, match="reviewr") as caught:
        await stage.play(*mended())
    assert "reviewer" in caught.value.hint and not stage.heard


async def test_a_moved_base_is_reviewed_as_merged(stage: Stage) -> None:
    """The reviewer judges the merge against the branch as it is now: the user's part is not shown."""
    stage.settings(ON)
    move = commits(stage.repo, "MOVED.md", "moved\n")
    outcome = await stage.play(client=Meddling([*mended(), judges()], {2: move}))
    assert outcome.status == "done", outcome.error
    assert review(stage).base == git(stage.repo, "rev-parse", "main")
    (asked,) = [e for e in stage.all(Prompted) if e.session == "review/1"]
    assert b"MOVED.md" not in asked.message and b"pricing.py" in asked.message


async def test_a_review_that_was_begun_on_another_tree(stage: Stage) -> None:
    """A review that a moved base has overtaken is not taken up: another one begins."""
    stage.settings("review: {enabled: true}\nmodel: {retries: 0}\n")
    parked = await stage.play(*mended(), ModelOverloaded("529", retryable=True))
    assert parked.status == "unavailable"
    commits(stage.repo, "shop/__init__.py", '"""Moved."""\n')()
    outcome = await stage.play(judges())
    assert outcome.status == "done", outcome.error
    assert review(stage).number == 2
    assert [len(one.messages) for one in stage.model.requests] == [1]
    assert review(stage).base == git(stage.repo, "rev-parse", "main")
