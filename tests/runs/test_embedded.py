"""What programs do with one process: one issue twice, wishes that cannot be granted, parts of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import anyio
import pytest

from orchestrator import Issue, Nights, Orchestrator, OrchestratorError, Outcome, Usage
from orchestrator.errors import ConfigError, LeaseLost, TrackerError
from orchestrator.events import RunStarted
from orchestrator.records import ModelReply, ModelRequest
from orchestrator.testing import MemoryTracker, ScriptedModel, says
from tests.builders import an_issue
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


class Anybody(MemoryTracker):
    """A tracker of a program's own that gives whatever it was made with."""

    def __init__(self, given: object) -> None:
        super().__init__([])
        self.given: Any = given

    async def fetch(self, key: str) -> Issue:
        """Give it."""
        assert key
        return cast("Issue", self.given)


@pytest.mark.parametrize(
    "given",
    [
        None,
        {"key": "1", "title": "A wish", "body": "Do it."},
        an_issue(key="1", body=None),
        an_issue(key=1),
        an_issue(key="1", title="\udc80"),
        an_issue(key="1", blocked_by=None),
    ],
    ids=ascii,
)
async def test_a_tracker_that_gives_no_issue_begins_nothing(stage: Stage, given: object) -> None:
    """It is told so, and the runs of the state directory can still be listed."""
    stage.tracker = Anybody(given)
    with pytest.raises(TrackerError, match="what the tracker gave as issue 1 is none"):
        await stage.play(*mended())
    async with made(stage, ScriptedModel([])) as orchestrator:
        assert await orchestrator.runs() == []


async def test_an_issue_with_a_list_of_labels_is_one(stage: Stage) -> None:
    """What can be kept is taken as it will be read back."""
    stage.tracker = Anybody(an_issue(key="1", labels=["bug"], assignees=("backend-engineer",)))
    outcome = await stage.play(*mended())
    assert outcome.status == "done", outcome.error
    assert stage.only(RunStarted).run.issue.labels == ("bug",)


class Gives(ScriptedModel):
    """A client of a program's own that gives whatever it was made with."""

    def __init__(self, given: object) -> None:
        super().__init__([])
        self.given: Any = given

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Give it."""
        self.requests.append(request)
        return cast("ModelReply", self.given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "no reply but NoneType"),
        ({"content": []}, "no reply but dict"),
        (replace(says("Hm."), usage=cast("Usage", None)), "expected Usage, not NoneType"),
        (says("Hm.", usage=Usage(input_tokens=cast("int", 1.5))), "expected int, not float"),
        (says("Hm.", usage=Usage(input_tokens=-(10**9))), "less than nothing"),
    ],
    ids=ascii,
)
async def test_a_client_that_gives_no_reply_fails_the_run(
    stage: Stage, given: object, said: str
) -> None:
    """It is told so, what it counted is not, and how the run ended can be read again."""
    outcome = await stage.play(client=Gives(given))
    assert outcome.status == "failed" and said in outcome.error
    assert 0 <= outcome.cost_usd < 1
    async with made(stage, ScriptedModel([])) as orchestrator:
        assert await orchestrator.resume(outcome.run) == outcome


async def test_an_object_is_of_no_use_after_its_block(stage: Stage) -> None:
    """It says what is wrong, as before the block; it can be used in another one."""
    orchestrator = made(stage, ScriptedModel(mended()))
    nights = Nights(state=stage.state)
    async with orchestrator, nights:
        assert await nights.rows() == []
    for outside in (
        orchestrator.run_issue("1"),
        orchestrator.resume("1"),
        orchestrator.ready(),
        orchestrator.runs(),
        nights.rows(),
    ):
        with pytest.raises(OrchestratorError, match="inside its `async with` block"):
            await outside
    async with orchestrator:
        assert (await orchestrator.run_issue("1")).status == "done"


async def test_a_checkout_that_cannot_be_looked_at_is_no_matter_of_the_run(stage: Stage) -> None:
    """Somebody works in it, and has just broken it: a run has files of its own."""
    (stage.repo / ".git" / "index").write_bytes(b"broken")
    outcome = await stage.play(*mended())
    assert (outcome.status, outcome.error) == ("done", "")
    assert outcome.diff.files == 1
    assert not [one for one in outcome.notes if "uncommitted" in one]


async def test_what_goes_wrong_ahead_of_its_time_ends_no_run(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is loaded while the first reply is awaited is there to be quick, and no more."""

    def broken() -> None:
        raise ImportError("partially initialized module")

    monkeypatch.setattr("orchestrator.toolbox.warm_up", broken)
    outcome = await stage.play(*mended())
    assert (outcome.status, outcome.error) == ("done", "")
