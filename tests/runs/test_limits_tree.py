"""Limits of one run and of all runs together, in whole runs."""

from __future__ import annotations

import re

import anyio
import anyio.lowlevel
import pytest

from orchestrator import Limits, Orchestrator
from orchestrator.accounts import Account
from orchestrator.events import ModelReplied, RunParked
from orchestrator.modelevents import RequestIntended
from orchestrator.records import ModelReply, ModelRequest, Usage
from orchestrator.testing import says
from tests.runs.conftest import CommandLine
from tests.runs.stage import MEND, NOTE, Stage, mended
from tests.runs.test_limits_in_runs import LOOK, Talkative


@pytest.mark.asyncio
async def test_tokens(stage: Stage) -> None:
    """A limit of tokens parks the run before it is passed, and a higher one goes on with the work."""
    outcome = await stage.play(client=Talkative(2000), limit_tokens=60_000)
    assert outcome.status == "limit_reached"
    assert outcome.usage.tokens <= 60_000
    assert any("of this run's tokens is used up" in one for one in stage.notices())
    higher = await stage.play(*mended(), limit_tokens=600_000)
    assert (higher.status, higher.run) == ("done", outcome.run)
    assert higher.usage.tokens > outcome.usage.tokens


@pytest.mark.asyncio
async def test_minutes_of_one_wish(stage: Stage) -> None:
    """A run's minutes can be named for this sitting."""
    outcome = await stage.play(*mended(), limit_minutes=0.0)
    assert outcome.status == "limit_reached"
    assert "0 minutes" in outcome.error
    assert (await stage.play(*mended(), limit_minutes=5)).status == "done"


@pytest.mark.asyncio
async def test_what_the_model_was_told_is_not_told_again(stage: Stage) -> None:
    """The notice on money stands once in the transcript, however often the run is taken up again."""
    part = Usage(input_tokens=10, output_tokens=21_000)
    script = [says(f"{n}", LOOK, usage=part) for n in range(2)]
    few = Usage(input_tokens=10, output_tokens=10)
    first = await stage.play(*script, says("", LOOK, usage=few), limit_usd=1.0, limit_turns=2)
    assert first.status == "limit_reached"
    again = await stage.play(
        says("", LOOK, usage=few), says("", MEND, usage=few), says("Mended.", usage=few),
        limit_turns=20,
    )  # fmt: skip
    assert again.status == "done"
    assert len([one for one in stage.notices() if "money is used up" in one]) == 1


class Chatty:
    """A model that looks around for ever; each conversation has a cache of its own."""

    def __init__(self, output_tokens: int) -> None:
        self._output_tokens = output_tokens
        self._sent: dict[bytes, int] = {}

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Say as much as it may, up to a number of tokens."""
        found = re.search(rb"Wish \d+", request.messages[0])
        assert found is not None
        before, all_of_it = self._sent.get(found[0], 0), request.size() // 4
        self._sent[found[0]] = all_of_it
        usage = Usage(
            output_tokens=min(self._output_tokens, request.max_tokens),
            cache_read_tokens=before,
            cache_write_tokens=all_of_it - before,
        )
        await anyio.lowlevel.checkpoint()  # others ask meanwhile
        return says("", (LOOK[0], {"pattern": f"{all_of_it}*.md"}), usage=usage)

    async def aclose(self) -> None:
        """Nothing to close."""


async def together(stage: Stage, limits: Limits | Account, *keys: str, turns: int = 60) -> float:
    """Run issues side by side under one account; return what all of them cost."""
    made = Orchestrator.from_config(
        stage.config,
        repo=stage.repo,
        state=stage.state,
        client=Chatty(3000),
        sinks=[stage.hear],
        together=limits,
    )
    costs: list[float] = []
    async with made as orchestrator, anyio.create_task_group() as tasks:

        async def one(key: str) -> None:
            outcome = await orchestrator.run_issue(key, agent="backend-engineer", limit_turns=turns)
            assert outcome.status == "limit_reached", outcome
            costs.append(outcome.cost_usd)

        for key in keys:
            tasks.start_soon(one, key)
    return sum(costs)


@pytest.mark.asyncio
async def test_runs_side_by_side_never_pass_what_they_have_together(stage: Stage) -> None:
    """Three runs that would each spend all of it spend no more than that together, and park."""
    for key in ("11", "12", "13"):
        stage.issue(key, title=f"Wish {key}")
    spent = await together(stage, Limits(usd=1.0), "11", "12", "13")
    assert 0.5 < spent <= 1.0
    parked = stage.all(RunParked)
    assert len(parked) == 3
    assert any("for all runs together" in one.outcome.error or "rest" in one.outcome.error
               for one in parked)  # fmt: skip
    assert len(stage.all(ModelReplied)) == len(stage.all(RequestIntended))


@pytest.mark.asyncio
async def test_turns_of_all_runs_together(stage: Stage) -> None:
    """Turns are counted over all runs, and what was used before can be booked by the caller."""
    account = Account(Limits(turns=6), whose="the night")
    account.book(0.0, 0, turns=2)
    for key in ("11", "12"):
        stage.issue(key, title=f"Wish {key}")
    await together(stage, account, "11", "12")
    assert 6 <= account.turns <= 7
    assert all("6 turns for the night" in one.outcome.error for one in stage.all(RunParked))


@pytest.mark.asyncio
async def test_one_place_for_commands_is_enough(stage: Stage) -> None:
    """With one place for commands, calls and gates come one after the other, to a good end."""
    stage.settings("limits: {tools: 1}\n")
    outcome = await stage.play(says("", NOTE, MEND, LOOK), says("Mended."))
    assert outcome.status == "done"


def test_flags_of_the_command_line(orchestrate: CommandLine) -> None:
    """A run that comes to its tokens ends with code 4, and goes on where the limit is higher."""
    done = orchestrate.run("issue", "1", "--limit-tokens", "1500", "--limit-minutes", "30")
    assert done.returncode == 4, done.stderr
    assert "limit_reached" in done.stdout
    assert "orchestrate issue 1" in done.stdout
    (run,) = [line.split()[0] for line in orchestrate.run("runs", "list").stdout.splitlines()
              if line.startswith("1-")]  # fmt: skip
    again = orchestrate.run("runs", "resume", run, "--limit-tokens", "9000000")
    assert again.returncode == 0, again.stdout + again.stderr
