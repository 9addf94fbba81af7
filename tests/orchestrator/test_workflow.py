"""The stages of a run: what counts as evidence, and every way to be done without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.events import (
    BaseMerged,
    BranchSet,
    Collected,
    Event,
    GateJudged,
    Prompted,
    Reviewed,
    RunStarted,
)
from orchestrator.records import Review, Verdict
from orchestrator.stages import Evidence
from orchestrator.transcript import encode_message
from orchestrator.workflow import Required, Work, evidence_of, lacking
from tests.builders import a_definition, a_reply_event, a_run, a_text, a_verdict

BASE, COMMIT, TREE, OTHER = "a" * 40, "b" * 40, "c" * 40, "d" * 40
WORK = Work(BASE, COMMIT, TREE)
ALL = Required(("branch-name", "tests"), tests=True, review=True)


def prompted(**changes: Any) -> Prompted:
    """Build the event of the issue being given to the author."""
    event = Prompted("author", 1, encode_message("user", [a_text("issue")]), "issue")
    return replace(event, **changes)


def judged(base: str = BASE, **changes: Any) -> GateJudged:
    """Build a verdict on the work."""
    return GateJudged(1, a_verdict(**{"commit": COMMIT, "tree": TREE, **changes}), base)


def reviewed(**changes: Any) -> Reviewed:
    """Build a review of the work that has passed."""
    review = Review(1, "passed", "no finding", commit=COMMIT, tree=TREE, base=BASE)
    return Reviewed(1, replace(review, **changes))


def a_done_run() -> list[Event]:
    """Return the events of a run that may be delivered."""
    return [
        RunStarted(a_run(base_commit=BASE), a_definition()),
        prompted(),
        a_reply_event("I look at it."),
        Collected(1, COMMIT, TREE, changed=True),
        judged(gate="branch-name"),
        judged(gate="tests", tests=3),
        reviewed(),
    ]


def seen(
    events: Sequence[Event], work: Work = WORK, required: Required = ALL
) -> dict[str, Evidence]:
    """Return the evidence by stage."""
    return {one.stage: one for one in evidence_of(events, work, required)}


def missing(events: Sequence[Event], work: Work = WORK, required: Required = ALL) -> list[str]:
    """Return the stages that keep a run from being done."""
    return [one.stage for one in lacking(evidence_of(events, work, required))]


def test_a_run_that_may_be_delivered() -> None:
    """Where everything is there, all stages but the delivery are seen, and nothing is missing."""
    found = seen(a_done_run())
    assert [name for name, one in found.items() if not one.seen] == ["deliver"]
    assert missing(a_done_run()) == []
    assert "2 passed" in found["gates"].what
    assert found["test"].what == "tests executed 3 tests"
    delivered = [*a_done_run(), BranchSet("feature/7-x", COMMIT)]
    assert seen(delivered)["deliver"].seen
    assert not seen([*a_done_run(), BranchSet("feature/7-x", OTHER)])["deliver"].seen


@pytest.mark.parametrize(
    ("index", "stages"),
    [
        (0, ["read"]),
        (1, ["read"]),
        (2, ["read"]),
        (3, ["implement"]),
        (4, ["gates"]),
        (5, ["test", "gates"]),
        (6, ["review"]),
    ],
)
def test_each_event_is_needed(index: int, stages: list[str]) -> None:
    """Without any one of its events a run is not done, and the stage without evidence is named."""
    events = a_done_run()
    del events[index]
    assert missing(events) == stages


@pytest.mark.parametrize(
    ("index", "instead", "stages"),
    [
        (1, prompted(session="review/1"), ["read"]),
        (1, prompted(cause="gates"), ["read"]),
        (2, a_reply_event("Hm.", session="review/1"), ["read"]),
        (3, Collected(1, COMMIT, TREE, changed=False), ["implement"]),
        (3, Collected(1, OTHER, TREE, changed=True), ["implement"]),
        (3, Collected(1, COMMIT, OTHER, changed=True), ["implement"]),
        (3, BaseMerged(1, BASE, COMMIT, TREE, changed=False), ["implement"]),
        (5, judged(gate="tests", tests=3, tree=OTHER), ["test", "gates"]),
        (5, judged(OTHER, gate="tests", tests=3), ["test", "gates"]),
        (5, judged("", gate="tests", tests=3), ["test", "gates"]),
        (5, judged(gate="tests", tests=3, state="failed"), ["test", "gates"]),
        (5, judged(gate="tests", tests=3, state="not_executed"), ["test"]),
        (5, judged(gate="tests", tests=0), ["test"]),
        (5, judged(gate="tests"), ["test"]),
        (5, judged(gate="Tests", tests=3), ["gates"]),
        (6, reviewed(state="failed"), ["review"]),
        (6, reviewed(state="not_executed"), ["review"]),
        (6, reviewed(tree=OTHER), ["review"]),
        (6, reviewed(base=OTHER), ["review"]),
    ],
)
def test_what_is_no_evidence(index: int, instead: Event, stages: list[str]) -> None:
    """Another session, tree, base, commit, gate or state proves nothing of what is delivered."""
    events = a_done_run()
    events[index] = instead
    assert missing(events) == stages


def test_a_verdict_that_failed_is_not_outvoted() -> None:
    """A gate that nobody asked for and that failed on the tree keeps it from being done."""
    assert missing([*a_done_run(), judged(gate="more", state="failed")]) == ["gates"]
    assert missing([*a_done_run(), reviewed(number=2, state="failed")]) == ["review"]


def test_nothing_that_came_out() -> None:
    """Without a commit there is no evidence of work, however many verdicts there are."""
    assert missing(a_done_run(), Work()) == ["implement", "test", "gates", "review"]
    same = Work(COMMIT, COMMIT, TREE)
    events = [*a_done_run(), judged(COMMIT, gate="tests", tests=1)]
    assert "implement" in missing(events, same)
    assert missing([]) == ["read", "implement", "test", "gates", "review"]


def test_what_is_not_asked_for() -> None:
    """Tests and review are missed only where the settings ask for them; they are told all the same."""
    events = [one for one in a_done_run() if not isinstance(one, Reviewed)]
    events[5] = judged(gate="tests", state="not_executed")
    required = Required(("branch-name", "tests"))
    assert missing(events, required=required) == []
    found = seen(events, required=required)
    assert found["review"].what == "not reviewed" and not found["review"].seen
    assert found["test"].what == "nothing was tested: no gate executed a test"
    assert found["gates"].what == "1 passed, not executed: tests"


def test_no_gates_at_all() -> None:
    """A repository whose settings have no gate is told so; nothing is said to have passed."""
    found = seen(a_done_run(), required=Required())["gates"]
    assert (found.seen, found.required, found.what) == (False, False, "no gate is configured")


def test_a_merged_base_counts_as_the_work() -> None:
    """Where the user's branch was merged in, the merge is what came out."""
    merged = Work(OTHER, "e" * 40, "f" * 40)
    events = [
        *a_done_run()[:4],
        BaseMerged(1, OTHER, merged.commit, merged.tree),
        GateJudged(1, Verdict("tests", "passed", "", tests=2, tree=merged.tree), OTHER),
    ]
    assert missing(events, merged, Required(("tests",), tests=True)) == []
    assert missing(events, WORK, Required(("tests",), tests=True)) == ["test", "gates"]
