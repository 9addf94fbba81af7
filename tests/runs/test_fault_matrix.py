"""Faults of the model's service, each at each place of a run: the right outcome, in bounded time."""

from __future__ import annotations

import anyio
import pytest

from orchestrator.events import Reviewed
from orchestrator.modelevents import ModelSwitched, RequestFailed
from orchestrator.models.messages import MessagesClient
from orchestrator.records import Outcome
from tests.contracts.test_model_client_llmock import llmock
from tests.runs.faults import ALWAYS, BROKEN, KINDS, ODD, PHASES, STATUSES, Faulty, Phase, faulty
from tests.runs.stage import Stage

pytestmark = pytest.mark.asyncio

SETTINGS = """
model: {retries: 2, backoff_s: 0.01, reply_s: 1.5, longest_wait_s: 5}
review: {enabled: true}
routing: {model: haiku, margin: 1}
"""
OPEN = "The button of the page is cut off, and its endpoint answers 500."
"""Two agents fit it as well, so that a model is asked."""

BOUND_S = 120
"""Far more than any of these runs takes; what hangs is seen by it."""

PASSING = {"429 with retry-after", "429", "500", "529", *BROKEN}
KEYS = {"401", "403"}
FULL = {"400 too long", "context exceeded"}


async def worked(stage: Stage, service: Faulty, more: str = "") -> Outcome:
    """Run the issue against a service that fails."""
    stage.settings(SETTINGS + more)
    stage.issue("2", OPEN)
    key = "2" if service.phase == "routing" else "1"
    client = MessagesClient(key="k", base_url=service.url, silence_s=0.5)
    with anyio.fail_after(BOUND_S):
        try:
            return await stage.play(client=client, key=key, limit_turns=9)
        finally:
            await client.aclose()


def expected(  # noqa: PLR0911 - one way out for each group
    kind: str, phase: Phase, *, always: bool
) -> set[str]:
    """Return how a run may end."""
    if phase == "routing":
        return {"done"}  # the words choose where no answer counts
    if kind in PASSING:
        return {"unavailable"} if always else {"done"}
    if kind in KEYS:
        return {"unavailable"}
    if kind == "refusal":
        return {"needs_human"}
    if kind in FULL:
        # There is nothing to leave out of so short a transcript.
        return {"needs_human"} if phase == "review" else {"failed"}
    if kind == "empty" and phase in {"after tools", "last"}:
        return {"done"}  # the work was done before the words failed
    return {"needs_human", "limit_reached"} if always else {"done"}


EVERY = [(kind, phase, always) for kind in KINDS for phase in PHASES for always in (False, True)]
SAMPLE = [
    ("429 with retry-after", "first", False),
    ("529", "after tools", True),
    ("drop", "last", False),
    ("trickle", "first", False),
    ("stall", "review", False),
    ("truncated input", "after tools", False),
    ("refusal", "routing", True),
    ("401", "review", True),
]


async def judged(stage: Stage, kind: str, phase: Phase, *, always: bool) -> None:
    """Run it, and look at how it ended and what it is said to have cost."""
    with faulty(kind, phase, ALWAYS if always else 1) as service:
        outcome = await worked(stage, service)
    assert service.failed, "the fault was met"
    assert outcome.status in expected(kind, phase, always=always), outcome
    if outcome.status == "unavailable":
        assert outcome.error and outcome.hint
    failures = stage.all(RequestFailed)
    if phase != "routing":
        assert bool(failures) == (kind in STATUSES or kind in BROKEN)
    for failure in failures:
        assert (failure.cost_usd > 0, failure.tokens > 0) == (kind in BROKEN, kind in BROKEN)
    if kind in KEYS and phase != "routing":
        assert service.failed == 1, "a key that is refused is not tried again"
    if kind in PASSING and always and phase != "routing":
        assert service.failed == 3, "as often as patience says"
    if phase == "review" and outcome.status == "done":
        assert stage.all(Reviewed)[-1].review.state == "passed"
    elif phase == "review":
        assert not any(one.review.state == "passed" for one in stage.all(Reviewed))


@pytest.mark.parametrize(("kind", "phase", "always"), SAMPLE)
async def test_some_faults(stage: Stage, kind: str, phase: Phase, always: bool) -> None:
    """A sample of the matrix ends as it should."""
    await judged(stage, kind, phase, always=always)


@pytest.mark.heavy
@pytest.mark.parametrize(("kind", "phase", "always"), EVERY)
async def test_every_fault(stage: Stage, kind: str, phase: Phase, always: bool) -> None:
    """Every kind of fault at every phase, once and always, ends as it should."""
    await judged(stage, kind, phase, always=always)


async def test_the_sample_is_of_the_matrix() -> None:
    """What is sampled is in the matrix, and each group of kinds is."""
    assert set(SAMPLE) <= set(EVERY)
    for group in (STATUSES, BROKEN, ODD):
        assert any(kind in group for kind, _, _ in SAMPLE)


# -- the fallback --------------------------------------------------------------------------


async def test_an_overloaded_model_is_gone_on_without(stage: Stage) -> None:
    """Where a run's model stays overloaded the configured one goes on, at its own price, and it is told."""
    with faulty("529", "after tools", ALWAYS, model="claude-opus-5-5") as service:
        outcome = await worked(stage, service, "")
        assert outcome.status == "unavailable"
        stage.settings(SETTINGS.replace("retries: 2", "retries: 2, fallback: sonnet"))
        client = MessagesClient(key="k", base_url=service.url, silence_s=0.5)
        again = await stage.play(client=client)
        await client.aclose()
    assert (again.status, again.run) == ("done", outcome.run)
    switched = stage.all(ModelSwitched)
    assert [(one.session, one.before, one.model) for one in switched] == [
        ("author", "claude-opus-5-5", "claude-sonnet-5-5")
    ]
    assert any("claude-sonnet-5-5 goes on for claude-opus-5-5" in one for one in again.notes)
    models = [model for phase, model in service.asked if phase == "last"]
    assert models == ["claude-sonnet-5-5"]


@pytest.mark.parametrize("kind", ["401", "refusal", "400 too long"])
async def test_what_another_model_would_not_mend(stage: Stage, kind: str) -> None:
    """A wrong key, a refusal and a request that is too long are no reason to ask another model."""
    with faulty(kind, "after tools", ALWAYS) as service:
        stage.settings(SETTINGS.replace("retries: 2", "retries: 2, fallback: sonnet"))
        client = MessagesClient(key="k", base_url=service.url, silence_s=0.5)
        await stage.play(client=client, limit_turns=6)
        await client.aclose()
    assert not stage.all(ModelSwitched)
    assert {model for phase, model in service.asked if phase != "routing"} == {"claude-opus-5-5"}


async def test_no_connection_is_no_reason_for_another_model(stage: Stage) -> None:
    """Where nothing answers at all the run parks, whatever is configured."""
    with faulty("529", "first") as service:
        url = service.url
    stage.settings(SETTINGS.replace("retries: 2", "retries: 1, fallback: sonnet"))
    client = MessagesClient(key="k", base_url=url, silence_s=0.5)
    outcome = await stage.play(client=client)
    await client.aclose()
    assert outcome.status == "unavailable"
    assert not stage.all(ModelSwitched)


# -- a service that others wrote -----------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ("--error-rate", "429=0.4", "--error-rate", "529=0.2"),
        ("--stream-fault", "truncate=0.4"),
    ],
    ids=["refusals", "streams"],
)
async def test_a_run_against_llmock(stage: Stage, options: tuple[str, ...]) -> None:
    """Against a service that nobody here wrote, which fails often, a run ends in an outcome in time."""
    stage.settings("model: {retries: 20, backoff_s: 0.01, longest_wait_s: 5}\n")
    with llmock(*options) as url:
        client = MessagesClient(key="k", base_url=url, silence_s=5)
        with anyio.fail_after(BOUND_S):
            outcome = await stage.play(client=client, limit_turns=4)
        await client.aclose()
    assert outcome.status in {"needs_human", "limit_reached", "gate_failed", "done"}, outcome
    assert outcome.turns >= 1
