"""What programs do with one process: one issue asked for twice, wishes that cannot be granted."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from orchestrator import Orchestrator, Outcome
from orchestrator.errors import ConfigError, LeaseLost
from orchestrator.records import ModelReply, ModelRequest
from orchestrator.testing import ScriptedModel
from tests.runs.stage import Stage, mended

pytestmark = pytest.mark.asyncio
DEADLINE_S = 60


class Held(ScriptedModel):
    """A model whose first reply waits until it is let go."""

    def __init__(self) -> None:
        super().__init__(mended())
        self.asked = anyio.Event()
        self.let_go = anyio.Event()

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Answer once that is allowed."""
        self.asked.set()
        await self.let_go.wait()
        return await super().reply(request)


def made(stage: Stage, client: ScriptedModel) -> Orchestrator:
    """Make an object over the stage's repository and state directory."""
    return Orchestrator.from_config(repo=stage.repo, state=stage.state, client=client)


@pytest.mark.parametrize("shared", [True, False])
async def test_an_issue_asked_for_twice_at_once_is_worked_on_once(
    stage: Stage, shared: bool
) -> None:
    """The second is refused as another process would be, also through an object of its own."""
    client, ended = Held(), list[Outcome]()
    async with made(stage, client) as first, made(stage, client) as another:
        second = first if shared else another

        async def work() -> None:
            ended.append(await first.run_issue("1"))

        with anyio.fail_after(DEADLINE_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(work)
                await client.asked.wait()
                (row,) = await second.runs()
                for refused in (
                    second.run_issue("1"),
                    second.resume(row.run),
                    second.run_issue("1", new=True),
                    second.give_up("1"),
                ):
                    with pytest.raises(LeaseLost, match="this process already"):
                        await refused
                client.let_go.set()
    assert [one.status for one in ended] == ["done"]
    assert len(client.requests) == len(mended()), "no reply was asked for twice"


async def test_a_run_that_was_cancelled_goes_on_in_the_same_process(stage: Stage) -> None:
    """What was left is nobody's: the same object takes it up again."""
    client = Held()
    async with made(stage, client) as orchestrator:
        with anyio.fail_after(DEADLINE_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(orchestrator.run_issue, "1")
                await client.asked.wait()
                tasks.cancel_scope.cancel()
            client.let_go.set()
            outcome = await orchestrator.run_issue("1")
    assert outcome.status == "done", outcome.error


@pytest.mark.parametrize("wish", [{"agent": "docs-writer"}, {"model": "x"}, {"limit_usd": -1.0}])
async def test_a_wish_that_cannot_be_granted_leaves_a_run_parked(
    stage: Stage, wish: dict[str, Any]
) -> None:
    """It is refused, and the run stands as it stood: any process can go on with it."""
    parked = await stage.play(*mended(), limit_turns=1)
    with pytest.raises(ConfigError):
        await stage.play(*mended(), **wish)
    async with made(stage, ScriptedModel([])) as orchestrator:
        (row,) = await orchestrator.runs()
        assert (row.state, await orchestrator.parked("1")) == ("parked", parked)
    assert parked.status == "limit_reached"
