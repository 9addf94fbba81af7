"""Limits in whole runs: none is passed, the model is told before, and a higher one goes on."""

from __future__ import annotations

import anyio
import pytest

from orchestrator.accounts import RUN
from orchestrator.amounts import Reached
from orchestrator.errors import ConfigError
from orchestrator.events import (
    ModelReplied,
    RunParked,
    RunResumed,
    RunStarted,
)
from orchestrator.modelevents import RequestIntended
from orchestrator.prices import table
from orchestrator.records import ModelReply, ModelRequest, Usage
from orchestrator.testing import says
from tests.runs.conftest import git
from tests.runs.stage import MEND, NOTE, Stage, mended
from tests.walls.outside import eventually, processes_with

pytestmark = pytest.mark.asyncio

LOOK = ("Glob", {"pattern": "*.md"})


class Talkative:
    """A model that looks around for ever, and says all that it may up to a number of tokens."""

    def __init__(self, output_tokens: int) -> None:
        self._output_tokens = output_tokens
        self.requests: list[ModelRequest] = []

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Use up what the request allows; input is counted and cached as a service would."""
        before = self.requests[-1].size() // 4 if self.requests else 0
        self.requests.append(request)
        spent = min(self._output_tokens, request.max_tokens)
        new = request.size() // 4 - before
        usage = Usage(output_tokens=spent, cache_read_tokens=before, cache_write_tokens=new)
        return says("", (LOOK[0], {"pattern": f"{len(self.requests)}*.md"}), usage=usage)

    async def aclose(self) -> None:
        """Nothing to close."""


class Silent:
    """A model that never answers."""

    def __init__(self) -> None:
        self.asked = 0

    async def reply(self, _: ModelRequest) -> ModelReply:
        """Wait for ever."""
        self.asked += 1
        await anyio.sleep_forever()
        raise AssertionError("for ever has ended")

    async def aclose(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("output_tokens", [200, 5000, 30_000, 10**9])
@pytest.mark.parametrize("cap", [0.05, 0.5])
async def test_dollars_are_never_passed(stage: Stage, cap: float, output_tokens: int) -> None:
    """A model that obeys max_tokens, however much it says, never costs more than the cap."""
    model = Talkative(output_tokens)
    outcome = await stage.play(client=model, limit_usd=cap, limit_turns=60)
    assert outcome.cost_usd <= cap
    price = table()["opus"].price
    assert price is not None
    if outcome.turns < 60:
        assert outcome.status == "limit_reached"
        assert "money" in outcome.error or "$" in outcome.error
        assert outcome.cost_usd > cap / 2 or cap - outcome.cost_usd < 6000 * price.output / 1e6
    for asked, replied in zip(
        stage.all(RequestIntended), stage.all(ModelReplied), strict=outcome.turns < 60
    ):
        assert replied.usage.output_tokens <= asked.max_tokens
    parked = stage.only(RunParked).outcome
    assert parked == outcome


async def test_money_that_pays_no_reply(stage: Stage) -> None:
    """With a cap that pays for no reply at all, the run parks before any request."""
    outcome = await stage.play(says("never"), limit_usd=0.001)
    assert outcome.status == "limit_reached"
    assert not stage.model.requests
    assert (outcome.cost_usd, outcome.turns) == (0.0, 0)
    assert outcome.limit == Reached("usd", RUN, "the rest of the money")
    assert outcome.hint == "go on with: orchestrate issue 1 --limit-usd 1"


async def test_a_reply_dearer_than_was_asked_for(stage: Stage) -> None:
    """A reply beyond its max_tokens may pass the cap once; nothing is asked after it."""
    dear = Usage(input_tokens=10, output_tokens=200_000)
    outcome = await stage.play(says("", LOOK, usage=dear), says("never"), limit_usd=1.0)
    assert outcome.status == "limit_reached"
    assert outcome.cost_usd == pytest.approx(4.0, rel=0.01)
    assert len(stage.model.requests) == 1
    again = await stage.play(says("never"))
    assert again.status == "limit_reached" and not stage.model.requests
    assert again.cost_usd == outcome.cost_usd
    higher = await stage.play(*mended(), limit_usd=10.0)
    assert (higher.status, higher.run) == ("done", outcome.run)
    assert higher.cost_usd > outcome.cost_usd


async def test_turns(stage: Stage) -> None:
    """The model is told at three and one turns left, then the run parks; a higher limit goes on."""
    looks = [says("", ("Glob", {"pattern": f"*.{kind}"})) for kind in "abcdefghi"]
    outcome = await stage.play(*looks, limit_turns=4)
    assert (outcome.status, outcome.turns) == ("limit_reached", 4)
    assert outcome.limit == Reached("turns", RUN, "the limit of 4 turns")
    assert outcome.error == "the limit of 4 turns was reached"
    assert outcome.hint == "go on with: orchestrate issue 1 --limit-turns 8"
    assert len(stage.model.requests) == 4
    told = stage.notices()
    assert [text.split(" are left")[0] for text in told] == ["3 of 4 turns", "1 of 4 turns"]
    assert b"3 of 4 turns are left" in stage.model.requests[1].messages[-1]
    assert git(stage.repo, "branch", "--list", "feature/*") == ""
    again = await stage.play(*mended(), limit_turns=10)
    assert (again.status, again.run, again.turns) == ("done", outcome.run, 6)
    assert stage.only(RunResumed).run.limits.turns == 10
    assert len(stage.all(RunStarted)) == 1


async def test_the_last_turn_counts(stage: Stage) -> None:
    """Work that is finished in the very last turn is judged and delivered."""
    outcome = await stage.play(*mended(), limit_turns=2)
    assert (outcome.status, outcome.turns) == ("done", 2)


async def test_money_is_announced(stage: Stage) -> None:
    """At four fifths of the money the model is told once to bring the work to an end."""
    part = Usage(input_tokens=10, output_tokens=21_000)
    script = [says(f"{n}", LOOK, usage=part) for n in range(2)]
    end = says("x", MEND, usage=Usage(10, 10)), says("Mended.", usage=Usage(10, 10))
    outcome = await stage.play(*script, *end, limit_usd=1.0)
    assert outcome.status == "done"
    (told,) = stage.notices()
    assert told.startswith("84% of this run's money is used up.")


async def test_time(stage: Stage) -> None:
    """A model that never answers is given up at the wall time, and the run can go on."""
    stage.settings("limits: {minutes: 0.01}\n")
    silent = Silent()
    outcome = await stage.play(client=silent)
    assert silent.asked == 1
    assert outcome.status == "limit_reached"
    assert "minutes" in outcome.error
    assert stage.kinds()[-1] == "RunParked"


async def test_time_ends_a_command(stage: Stage) -> None:
    """At the wall time a command that runs is ended with everything it started."""
    stage.settings("limits: {minutes: 0.02}\n")
    slow = ("Bash", {"command": "sleep 4323 & sleep 4323"})
    outcome = await stage.play(says("", NOTE, slow))
    assert outcome.status == "limit_reached"
    await eventually(lambda: not processes_with("sleep\x004323"), "the command has ended")
    assert stage.kinds()[-2:] == ["ModelReplied", "RunParked"]


async def test_a_model_without_a_price(stage: Stage) -> None:
    """A model whose price is unknown is refused before a run begins, while dollars are limited."""
    with pytest.raises(ConfigError, match="no known price"):
        await stage.play(says("never"), model="claude-new-9")
    assert not stage.model.requests
    assert "RunStarted" not in stage.kinds(), "the refusal leaves no unfinished run behind"


@pytest.mark.parametrize(
    "settings",
    ["limits: {usd: null}\n", "models:\n  claude-new-9: {input: 1, output: 5}\n"],
)
async def test_a_model_without_a_price_works_as_the_hint_says(stage: Stage, settings: str) -> None:
    """Once the user has done what the hint says, the same command works."""
    with pytest.raises(ConfigError) as caught:
        await stage.play(says("never"), model="claude-new-9")
    assert "models:" in caught.value.hint and "limits.usd: null" in caught.value.hint
    stage.settings(settings)
    outcome = await stage.play(*mended(), model="claude-new-9")
    assert (outcome.status, outcome.model) == ("done", "claude-new-9")


async def test_limits_of_the_repository_only_tighten(stage: Stage) -> None:
    """A repository's file can lower a limit of the user, never raise it."""
    own = stage.repo / "config.yaml"
    own.write_text("orchestrate: 1\nlimits: {turns: 1}\n", encoding="utf-8")
    outcome = await stage.play(says("", LOOK), says("never"))
    assert (outcome.status, outcome.turns) == ("limit_reached", 1)
    own.write_text("orchestrate: 1\nlimits: {turns: 1000}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config\.yaml:2:1: limits\.turns"):
        await stage.play(says("never"))
