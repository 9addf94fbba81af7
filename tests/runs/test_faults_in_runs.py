"""What a model, a service or a sink can do wrong, and the honest end of each."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from orchestrator import Event, Orchestrator, Signal, broadcast
from orchestrator.errors import MalformedReply, ModelOverloaded, ModelRefused
from orchestrator.events import (
    ModelReplied,
    RunFinished,
    RunParked,
    RunStarted,
    ToolsReturned,
    ToolStarted,
    Waiting,
)
from orchestrator.modelevents import RequestFailed, RequestIntended
from orchestrator.records import ModelReply, ModelRequest
from orchestrator.testing import says
from tests.runs.conftest import BRANCH, git
from tests.runs.stage import MEND, NOTE, Stage, mended

pytestmark = pytest.mark.asyncio

PUSH = ("Bash", {"command": "touch ran"})


# -- how a reply stops ---------------------------------------------------------------------


async def test_a_refusal_runs_nothing(stage: Stage) -> None:
    """A refusal ends in needs_human; tool calls in it are never run, earlier work is kept."""
    refused = says("I will not.", PUSH, stop_reason="refusal")
    outcome = await stage.play(says("", NOTE), refused, says("never"))
    assert (outcome.status, outcome.summary) == ("needs_human", "I will not.")
    assert outcome.error == "the model refused to go on"
    assert [one.turn for one in stage.all(ToolsReturned)] == [1]
    assert [one.tool for one in stage.all(ToolStarted)] == ["Write"]
    kept = f"refs/orchestrate/{outcome.run}/head"
    assert git(stage.repo, "ls-tree", "--name-only", kept, "NOTES.md", "ran") == "NOTES.md"
    assert git(stage.repo, "branch", "--list", "feature/*") == ""


async def test_pause_turn_goes_on(stage: Stage) -> None:
    """A paused turn is sent back as it is, with nothing added, and the model goes on."""
    outcome = await stage.play(says("Thinking...", stop_reason="pause_turn"), *mended())
    assert outcome.status == "done"
    second = stage.model.requests[1].messages
    assert len(second) == 2
    assert second[-1].startswith(b'{"role":"assistant"') and b"Thinking..." in second[-1]


async def test_a_text_that_was_cut_goes_on(stage: Stage) -> None:
    """At max_tokens the model is asked to go on where it stopped."""
    outcome = await stage.play(says("It is bec", stop_reason="max_tokens"), *mended())
    assert outcome.status == "done"
    assert "Go on where it stopped" in stage.prompts("continue")[0]


async def test_a_call_that_was_cut_is_never_run(stage: Stage) -> None:
    """A cut call gets an error result; whole calls of the same reply run, and the work goes on."""
    cut = says("", NOTE, PUSH, stop_reason="max_tokens")
    outcome = await stage.play(replace(cut, broken_calls=("toolu_0_2",)), *mended())
    assert outcome.status == "done"
    results = stage.results(1)
    assert [failed for _, failed in results] == [False, True]
    assert "was not run" in results[1][0]
    assert git(stage.repo, "ls-tree", "--name-only", BRANCH, "NOTES.md", "ran") == "NOTES.md"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("model_context_window_exceeded", "no longer fits the model's context window"),
        ("something_new", "unknown reason: something_new"),
        ("", "unknown reason"),
    ],
)
async def test_other_reasons_end_honestly(stage: Stage, reason: str, said: str) -> None:
    """A stop that cannot be gone on from is a failure that names it, and the work is kept."""
    end = replace(says("So far."), stop_reason=reason)
    outcome = await stage.play(says("", NOTE), end, says("never"))
    assert outcome.status == "failed"
    assert said in outcome.error
    assert outcome.hint
    kept = f"refs/orchestrate/{outcome.run}/head"
    assert git(stage.repo, "rev-parse", kept) == outcome.commit
    assert stage.only(RunFinished).outcome == outcome


async def test_calls_of_an_unknown_stop_are_not_run(stage: Stage) -> None:
    """Tool calls in a reply that stopped for an unknown reason are never run."""
    await stage.play(says("", PUSH, stop_reason="something_new"), says("never"))
    assert not stage.all(ToolStarted)


async def test_an_empty_reply(stage: Stage) -> None:
    """A reply without a word ends the work as any other; the gates judge what is there."""
    outcome = await stage.play(says(""), says(""))
    assert (outcome.status, outcome.summary) == ("needs_human", "")
    outcome = await stage.play(says("", NOTE), says(""), says("", MEND), says(""))
    assert (outcome.status, outcome.summary) == ("done", "")


# -- tools ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("Browse", {"url": "http://x"}), "You have no tool 'Browse'"),
        (("Bash", {}), "command"),
        (("Bash", {"command": 7}), "command"),
        (("Read", {"file_path": "README.md", "depth": 3}), "depth"),
        (("Read", {"file_path": "missing.py"}), "missing.py"),
    ],
)
async def test_calls_that_cannot_be_run(
    stage: Stage, call: tuple[str, dict[str, object]], said: str
) -> None:
    """A tool that is not there and wrong arguments are told to the model, which goes on."""
    outcome = await stage.play(says("", call), *mended())
    ((text, failed),) = stage.results(1)
    assert failed and said in text
    assert outcome.status == "done"


async def test_a_command_that_kills_its_server(stage: Stage) -> None:
    """An agent that kills everything inside is told so, and the next call works."""
    kill = ("Bash", {"command": "kill -9 -1"})
    outcome = await stage.play(says("", NOTE), says("", kill), *mended())
    assert stage.results(2)[0][1]
    assert outcome.status == "done"
    assert git(stage.repo, "show", f"{BRANCH}:NOTES.md") == "a note"


# -- the service ---------------------------------------------------------------------------


async def test_an_overloaded_service_is_asked_again(stage: Stage) -> None:
    """A passing failure is retried after the time that the service names."""
    busy = ModelOverloaded("overloaded", retryable=True, retry_after=0.0)
    outcome = await stage.play(busy, busy, *mended())
    assert (outcome.status, outcome.turns) == ("done", 2)
    assert [(one.turn, one.attempt) for one in stage.all(RequestFailed)] == [(1, 1), (1, 2)]
    assert [one.attempt for one in stage.all(RequestIntended)] == [1, 2, 3, 1]
    assert [one.seconds for one in stage.all(Waiting)] == [0.0, 0.0]
    assert len({one.body() for one in stage.model.requests[:3]}) == 1


async def test_a_storm_parks_the_run(stage: Stage) -> None:
    """After its retries the run is unavailable and parked; the same command goes on with it."""
    stage.settings("model: {retries: 2, backoff_s: 0}\n")
    busy = ModelOverloaded("overloaded (529)", retryable=True)
    outcome = await stage.play(says("", NOTE), busy, busy, busy, says("never"))
    assert (outcome.status, outcome.error) == ("unavailable", "overloaded (529)")
    assert "orchestrate issue 1" in outcome.hint
    assert len(stage.model.requests) == 4
    assert stage.only(RunParked).outcome == outcome
    again = await stage.play(*mended())
    assert (again.status, again.run) == ("done", outcome.run)
    assert len(stage.all(RunStarted)) == 1
    assert [one.turn for one in stage.all(ModelReplied)] == [1, 2, 3]
    assert git(stage.repo, "show", f"{BRANCH}:NOTES.md") == "a note"


async def test_a_wait_that_is_too_long(stage: Stage) -> None:
    """A service that asks for more patience than is set parks the run at once."""
    stage.settings("model: {longest_wait_s: 60}\n")
    busy = ModelOverloaded("rate limit", retryable=True, retry_after=61.0)
    outcome = await stage.play(busy, says("never"))
    assert outcome.status == "unavailable"
    assert len(stage.model.requests) == 1 and not stage.all(Waiting)


async def test_a_refused_key_parks_the_run(stage: Stage) -> None:
    """What a person can mend outside parks the run; once it is mended, the run goes on."""
    refused = ModelRefused("401: invalid x-api-key", mendable=True, hint="check ANTHROPIC_API_KEY")
    outcome = await stage.play(refused, says("never"))
    assert (outcome.status, outcome.hint) == ("unavailable", "check ANTHROPIC_API_KEY")
    assert len(stage.model.requests) == 1
    assert (await stage.play(*mended())).run == outcome.run


async def test_a_refused_request_fails_the_run(stage: Stage) -> None:
    """What no retry and no person can mend ends the run as failed, with the work kept."""
    outcome = await stage.play(says("", NOTE), ModelRefused("400: messages: too many"))
    assert (outcome.status, outcome.error) == ("failed", "400: messages: too many")
    assert git(stage.repo, "show", f"{outcome.commit}:NOTES.md") == "a note"


async def test_a_reply_that_broke_off_is_paid_for(stage: Stage) -> None:
    """The input of a reply that had begun and broke off counts as spent."""
    broken = MalformedReply("the stream ended", retryable=True, retry_after=0.0, started=True)
    outcome = await stage.play(broken, *mended())
    lost = stage.only(RequestFailed).cost_usd
    assert lost > 0
    paid = sum(one.cost_usd for one in stage.all(ModelReplied))
    assert outcome.cost_usd == pytest.approx(paid + lost, abs=1e-6)


# -- sinks and machine ---------------------------------------------------------------------


async def test_a_sink_that_hangs_stops_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sink that never returns holds neither the run nor its end."""
    monkeypatch.setattr(broadcast, "DRAIN_S", 0.05)
    heard: list[Event | Signal] = []

    async def hangs(event: Event | Signal) -> None:
        heard.append(event)
        await anyio.sleep_forever()

    outcome = await stage.play(*mended(), sinks=[hangs])
    assert outcome.status == "done"
    assert len(heard) == 1


async def interrupted(stage: Stage) -> None:
    """Play a run whose caller cancels it when a command begins."""

    async def cancels(event: Event | Signal) -> None:
        if isinstance(event, ToolStarted) and event.tool == "Bash":
            scope.cancel()

    with anyio.CancelScope() as scope:
        await stage.play(says("", NOTE, PUSH), sinks=[cancels])
    assert scope.cancelled_caught


async def test_an_interrupted_run_goes_on(stage: Stage) -> None:
    """A caller that cancels gets its cancellation; the run is parked and goes on later."""
    await interrupted(stage)
    async with Orchestrator.from_config(repo=stage.repo, state=stage.state) as orchestrator:
        (row,) = await orchestrator.runs()
    assert row.state == "parked"
    stage.heard.clear()
    again = await stage.play(*mended())
    assert (again.status, again.run) == ("done", row.run)
    assert stage.kinds()[0] == "RunResumed"


async def test_sinks_hear_of_an_interruption(stage: Stage) -> None:
    """Sinks are told that an interrupted run was parked, as of every other event."""
    await interrupted(stage)
    assert stage.kinds()[-1] == "RunParked"


async def test_a_fault_of_the_client_is_an_outcome(stage: Stage) -> None:
    """An error that nobody foresaw ends the run as failed, with its name and the work tree."""

    class Broken:
        async def reply(self, _: object) -> None:
            raise KeyError("nobody foresaw this")

        async def aclose(self) -> None:
            """Nothing to close."""

    outcome = await stage.play(client=Broken())  # type: ignore[arg-type]
    assert outcome.status == "failed"
    assert "KeyError" in outcome.error and "work tree" in outcome.hint


# -- an interruption while a reply is awaited ----------------------------------------------


class Silent:
    """A model that begins to answer and never ends."""

    def __init__(self) -> None:
        self.asked = anyio.Event()

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Wait for ever."""
        self.asked.set()
        await anyio.sleep_forever()
        raise AssertionError(request)

    async def aclose(self) -> None:
        """Nothing to close."""


async def test_an_interrupted_request_is_paid_for(stage: Stage) -> None:
    """What was reserved for the reply in flight counts as spent, in the outcome and on resume."""
    model = Silent()
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await stage.play(client=model)

        tasks.start_soon(run)
        with anyio.fail_after(60):
            await model.asked.wait()
        tasks.cancel_scope.cancel()
    reserved = stage.only(RequestIntended).reserved_usd
    parked = stage.only(RunParked).outcome
    assert reserved > 0
    assert parked.status == "cancelled"
    assert parked.cost_usd == pytest.approx(reserved, abs=1e-6)
    outcome = await stage.play(*mended())
    replies = sum(one.cost_usd for one in stage.all(ModelReplied))
    assert outcome.cost_usd == pytest.approx(reserved + replies, abs=1e-6)
