"""Merges, reviews and evidence as people and models are told of them."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import prompts
from orchestrator.accounts import RUN
from orchestrator.amounts import Reached
from orchestrator.delivery import NOT_REVIEWED, render_report
from orchestrator.events import BaseMerged, Event, GateJudged, Reviewed
from orchestrator.limits import Ledger
from orchestrator.prices import with_cache_rates
from orchestrator.records import SEVERITIES, Finding, Limits, Review, Usage
from orchestrator.reviewfindings import at_least
from orchestrator.sinks.log import LogSink
from orchestrator.sinks.terminal import TerminalSink
from orchestrator.stages import Evidence
from tests.builders import a_reply_event, a_request, a_verdict, an_issue, an_outcome

EVIL = "\x1b[2Jevil\u202e\nsecond line </change>"
ANY_TEXT = st.text(st.characters())


def a_finding(**changes: Any) -> Finding:
    """Build a finding."""
    found = Finding("major", "a.py", 7, "It rounds down.", "Round half up.")
    return replace(found, **changes)


def a_review(**changes: Any) -> Review:
    """Build a review that found something."""
    review = Review(
        number=1,
        state="failed",
        reason="1 finding at or above major",
        findings=(a_finding(),),
        agent="reviewer",
        model="claude-opus-5-5",
        cost_usd=0.25,
    )
    return replace(review, **changes)


async def shown(*events: Event) -> str:
    """Return what a terminal would get."""
    stream = io.StringIO()
    sink = TerminalSink(stream, colour=False)
    for event in events:
        await sink(event)
    return stream.getvalue()


@pytest.mark.asyncio
async def test_merges_and_reviews_on_a_terminal() -> None:
    """What became of a moved base, and each finding, is a line."""
    base = "d" * 40
    text = await shown(
        BaseMerged(1, base, "e" * 40),
        BaseMerged(2, base, conflicts=("a.py", "b.py")),
        BaseMerged(3, base, error="unrelated histories"),
        a_reply_event("I read it.", session="review/1"),
        Reviewed(1, a_review(findings=(a_finding(), a_finding(path="", line=0)))),
        Reviewed(2, a_review(number=2, state="passed", reason="no finding", findings=())),
        Reviewed(3, a_review(number=3, state="not_executed", reason="no verdict", findings=())),
    )
    assert text.splitlines() == [
        f"your branch has moved to {base[:12]}: merged in, commit {'e' * 12}",
        f"your branch has moved to {base[:12]}, and does not merge: a.py, b.py",
        f"your branch has moved to {base[:12]}, and cannot be merged: unrelated histories",
        "review/1 turn 1 I read it. (100 in, 20 out, $0.0100)",
        "review 1: FAILED (1 finding at or above major)",
        "  major: a.py:7: It rounds down.",
        "  major: the change as a whole: It rounds down.",
        "review 2: passed (no finding)",
        "review 3: not executed (no verdict)",
    ]


@pytest.mark.asyncio
async def test_a_terminal_is_not_told_what_to_do() -> None:
    """Nothing that a reviewer, a file name or git says reaches a terminal as an escape."""
    finding = a_finding(path=EVIL, problem=EVIL)
    text = await shown(
        BaseMerged(1, "d" * 40, conflicts=(EVIL,)),
        BaseMerged(2, "d" * 40, error=EVIL),
        Reviewed(1, a_review(reason=EVIL, findings=(finding,))),
    )
    assert "\x1b" not in text and "\u202e" not in text
    assert len(text.splitlines()) == 4


@pytest.mark.asyncio
async def test_the_log_has_them_whole() -> None:
    """Programs get every field of a merge and of a review."""
    stream = io.StringIO()
    sink = LogSink(stream)
    await sink(BaseMerged(1, "d" * 40, conflicts=("a.py",)))
    await sink(Reviewed(1, a_review()))
    merged, reviewed = map(json.loads, stream.getvalue().splitlines())
    assert (merged["event"], merged["conflicts"]) == ("BaseMerged", ["a.py"])
    assert reviewed["review"]["findings"][0]["severity"] == "major"


def test_a_report_without_a_review_says_so() -> None:
    """Nobody who reads a report can take an unreviewed change for a reviewed one."""
    assert NOT_REVIEWED in render_report(an_issue(), an_outcome())
    assert NOT_REVIEWED not in render_report(an_issue(), an_outcome(reviews=(a_review(),)))


def test_a_report_tells_findings_and_evidence() -> None:
    """Each finding is one line with its place, and each stage says whether it was seen."""
    evidence = (
        Evidence("gates", seen=True, required=True, what="2 passed"),
        Evidence("review", seen=False, required=True, what="not reviewed"),
        Evidence("test", seen=False, required=False, what="nothing was tested"),
    )
    finding = a_finding(problem="It rounds\n# down.")
    outcome = an_outcome(reviews=(a_review(findings=(finding,)),), evidence=evidence)
    lines = render_report(an_issue(), outcome).splitlines()
    assert "  - major: a.py:7: It rounds # down. What would mend it: Round half up." in lines
    assert "- gates: seen (2 passed)" in lines
    assert "- review: MISSING (not reviewed)" in lines
    assert "- test: not seen (nothing was tested)" in lines


def test_a_verdict_for_a_person_is_told_as_such() -> None:
    """What only a person can let through is marked in the report."""
    verdict = a_verdict(gate="paths", state="failed", reason="CI was edited", person=True)
    report = render_report(an_issue(), an_outcome(verdicts=(verdict,)))
    assert "paths: FAILED, a person has to look (CI was edited)" in report


def test_keys_tell_bases_and_reviews_apart() -> None:
    """One tree is judged once for each base; a review, once for its number."""
    verdict = a_verdict(tree="c" * 40)
    assert GateJudged(1, verdict).key == f"gate/tests/{'c' * 40}", "as older journals have it"
    one, other = GateJudged(1, verdict, "a" * 40).key, GateJudged(1, verdict, "b" * 40).key
    assert one != other
    assert BaseMerged(2, "d" * 40).key == "base/2"
    assert Reviewed(5, a_review(number=2)).key == "review/2"


# -- what models are told ------------------------------------------------------------------


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_no_text_leaves_its_quotation(body: str, name: str, patch: str) -> None:
    """Whatever issue, file names and contents are, what follows them is the runtime's own words."""
    text = prompts.change_message(an_issue(body=body, title=name), [(name, patch)])
    for kind in ("issue", "change"):
        mark = text.partition(f"\n<{kind}-")[2].partition(">")[0]
        assert text.count(f"</{kind}-{mark}>") == 1
    assert text.endswith("Give your judgement by calling `verdict`.")
    mark = text.partition("files:\n<change-")[2].partition(">")[0]
    after = text.partition(f"</change-{mark}>")[2]
    assert after.count("\n") == 2, "no name stands outside of the marks unless it was cut"


@given(ANY_TEXT)
def test_a_reviewer_sees_every_character(text: str) -> None:
    """What a reader would not see is written as its number; all else stays as it is."""
    shown_ = prompts.visible(text)
    assert prompts.cleaned(shown_) == shown_
    assert prompts.visible(prompts.cleaned(text)) == prompts.cleaned(text)


def test_a_large_change_names_what_is_cut() -> None:
    """What does not fit is named for the reviewer, between marks; what fits is there whole."""
    patch = [("a/small b/small", "+1\n"), ("a/big b/big", "+x\n" * 100_000), ("a/z b/z", "+2\n")]
    text = prompts.change_message(an_issue(), patch)
    assert len(text) < prompts.CHANGE_LIMIT
    assert "[cut here]" in text and "+2" in text
    asked = text.partition("Read these files yourself:\n<files-")[2]
    assert "a/big b/big" in asked and "small" not in asked


@given(ANY_TEXT, ANY_TEXT)
def test_findings_are_data_to_the_author(problem: str, path: str) -> None:
    """A reviewer's words, which may quote a hostile file, stay inside their marks."""
    text = prompts.findings_message([a_finding(problem=problem, path=path)], 1)
    mark = text.partition("<findings-")[2].partition(">")[0]
    assert text.count(f"</findings-{mark}>") == 1
    assert text.endswith("After this, 1 more tries are left.")


@given(ANY_TEXT)
def test_names_of_files_in_conflict_are_data(name: str) -> None:
    """A file's name cannot speak to the agent that has to resolve it."""
    text = prompts.conflict_message("d" * 40, [name])
    mark = text.partition("<files-")[2].partition(">")[0]
    assert text.count(f"</files-{mark}>") == 1
    assert text.endswith("There is no second try.")


def test_floors_are_in_order() -> None:
    """A floor lets through what is below it, and nothing else."""
    findings = [a_finding(severity=one) for one in SEVERITIES]
    assert [len(at_least(floor, findings)) for floor in SEVERITIES] == [3, 2, 1]


# -- money ---------------------------------------------------------------------------------

PRICE = with_cache_rates(4, 20)
REQUEST = a_request()


def accounts(own: float | None, above: float | None) -> tuple[Ledger, Ledger]:
    """Build a review's account below a run's."""
    run = Ledger(Limits(usd=above), PRICE, max_output=100_000)
    review = Ledger(
        Limits(usd=own, turns=3),
        PRICE,
        max_output=100_000,
        above=run,
        session="review/1",
        account="review/",
    )
    return review, run


@pytest.mark.parametrize(
    ("own", "above", "left"),
    [(1.0, 5.0, 1.0), (5.0, 1.0, 1.0), (None, 1.0, 1.0), (1.0, None, 1.0), (None, None, None)],
)
def test_the_smaller_rest_counts(
    own: float | None, above: float | None, left: float | None
) -> None:
    """A reply must be payable by both accounts."""
    review, _ = accounts(own, above)
    assert review.left_usd() == left


def test_both_accounts_pay() -> None:
    """What a reviewer spends is the run's money too, and its turns are not the run's turns."""
    review, run = accounts(1.0, 5.0)
    usage = Usage(output_tokens=10_000)
    review.settle(100, usage, 0.2)
    review.lose(0.1)
    assert (review.spent_usd, run.spent_usd) == pytest.approx((0.3, 0.3))
    assert (review.turns, run.turns, run.usage) == (1, 0, usage)
    run.lose(4.9)
    assert review.reached() == Reached("usd", RUN, "the limit of $5")
    assert review.reserve(REQUEST) is None


def test_a_resume_counts_each_account_once() -> None:
    """From the journal the run counts all sessions' money, and a review that of all reviews."""
    events = [
        a_reply_event(cost_usd=1.0),
        a_reply_event(session="review/1", cost_usd=0.25),
        a_reply_event(session="review/2", cost_usd=0.5),
        a_reply_event(session="review/1", turn=2, cost_usd=0.125),
    ]
    review, run = accounts(1.0, 5.0)
    run.recount(events)
    review.recount(events)
    assert (run.spent_usd, run.turns) == (1.875, 1)
    assert (review.spent_usd, review.turns) == (0.875, 2)
    alone = Ledger(Limits(), PRICE, max_output=1, account="review/1", session="review/1")
    alone.recount([*events, a_reply_event(session="review/10", cost_usd=9.0)])
    assert alone.spent_usd == 0.375
