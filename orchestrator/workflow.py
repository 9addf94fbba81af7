"""The stages of a run, and the evidence for each: what the runtime saw, not what a model says.

A stage is never reached by being claimed. Each is read off the run's own events, for the very
tree that is to be delivered; a run that lacks what is required is not done.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator import prompts
from orchestrator.deliveryevents import BranchPushed, PullRequestSet
from orchestrator.events import (
    AUTHOR,
    BaseMerged,
    BranchSet,
    Collected,
    Event,
    GateJudged,
    ModelReplied,
    Prompted,
    Reviewed,
    RunStarted,
)
from orchestrator.records import Review, Verdict
from orchestrator.session import words_of
from orchestrator.stages import Evidence
from orchestrator.values import frozen

WORDS = 100
"""Characters of an agent's own words that are shown as its plan."""


@frozen
class Required:
    """What a run has to show before it is done, beside a change that follows from its issue.

    Attributes:
        gates: names of all gates that judge; each must have a verdict on the delivered tree.
        tests: whether a gate must have executed a test.
        review: whether a second agent must have passed the change.
    """

    gates: tuple[str, ...] = ()
    tests: bool = False
    review: bool = False


@frozen
class Work:
    """What is to be delivered: a commit, its tree, and the commit that it is a change of."""

    base: str = ""
    commit: str = ""
    tree: str = ""


def evidence_of(events: Sequence[Event], work: Work, required: Required) -> tuple[Evidence, ...]:
    """Return what there is to see of each stage, in order.

    Args:
        events: all events of the run.
        work: what is to be delivered; empty where nothing came out.
        required: what the settings ask for.
    """
    verdicts = [
        one.verdict
        for one in events
        if isinstance(one, GateJudged) and _is_on(one.verdict, one.base, work)
    ]
    return (
        _read(events),
        _plan(events),
        _implement(events, work),
        _test(verdicts, required),
        _gates(verdicts, required),
        _review(events, work, required),
        _deliver(events, work),
    )


def lacking(evidence: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """Return the required stages without evidence; delivery itself is what they are asked for."""
    return tuple(
        one for one in evidence if one.required and not one.seen and one.stage != "deliver"
    )


def _is_on(judged: Verdict | Review, base: str, work: Work) -> bool:
    return bool(work.tree) and (judged.tree, base) == (work.tree, work.base)


def _replies(events: Sequence[Event]) -> list[ModelReplied]:
    return [one for one in events if isinstance(one, ModelReplied) and one.session == AUTHOR]


def _read(events: Sequence[Event]) -> Evidence:
    started = next((one for one in events if isinstance(one, RunStarted)), None)
    given = any(
        isinstance(one, Prompted) and one.session == AUTHOR and one.cause == "issue"
        for one in events
    )
    if started is None or not given:
        return Evidence("read", seen=False, required=True, what="the agent was not given the issue")
    if not _replies(events):
        return Evidence("read", seen=False, required=True, what="no reply followed the issue")
    what = f"issue {started.run.issue.key} was the first message, and was answered"
    return Evidence("read", seen=True, required=True, what=what)


def _plan(events: Sequence[Event]) -> Evidence:
    first = next((words for one in _replies(events) if (words := words_of(one))), "")
    said = " ".join(prompts.cleaned(first).split())[:WORDS]
    what = f"its first words: {said}" if said else "it said nothing before it worked"
    return Evidence("plan", seen=bool(said), required=False, what=what)


def _implement(events: Sequence[Event], work: Work) -> Evidence:
    came_out = any(
        isinstance(one, Collected | BaseMerged)
        and (one.commit, one.tree) == (work.commit, work.tree)
        and one.changed
        for one in events
    )
    if not work.commit or not came_out or work.commit == work.base:
        what = "no commit that differs from the base came out of the workspace"
        return Evidence("implement", seen=False, required=True, what=what)
    what = f"commit {work.commit[:12]} came out, a change of {work.base[:12]}"
    return Evidence("implement", seen=True, required=True, what=what)


def _test(verdicts: Sequence[Verdict], required: Required) -> Evidence:
    ran = [one for one in verdicts if one.tests and one.state == "passed"]
    what = ", ".join(f"{one.gate} executed {one.tests} tests" for one in ran)
    if not ran:
        what = "nothing was tested: no gate executed a test"
    return Evidence("test", seen=bool(ran), required=required.tests, what=what)


def _gates(verdicts: Sequence[Verdict], required: Required) -> Evidence:
    if not required.gates:
        return Evidence("gates", seen=False, required=False, what="no gate is configured")
    found = {one.gate: one for one in verdicts}
    unjudged = [name for name in required.gates if name not in found]
    failed = [one.gate for one in found.values() if one.state == "failed"]
    if unjudged or failed:
        parts = [f"no verdict on this tree of {', '.join(unjudged)}"] if unjudged else []
        parts += [f"failed: {', '.join(failed)}"] if failed else []
        return Evidence("gates", seen=False, required=True, what="; ".join(parts))
    passed = sum(one.state == "passed" for one in found.values())
    what = f"{passed} passed"
    if passed < len(found):
        names = ", ".join(one.gate for one in found.values() if one.state != "passed")
        what += f", not executed: {names}"
    return Evidence("gates", seen=True, required=True, what=what)


def _review(events: Sequence[Event], work: Work, required: Required) -> Evidence:
    found = [
        one.review
        for one in events
        if isinstance(one, Reviewed) and _is_on(one.review, one.review.base, work)
    ]
    if not found:
        return Evidence("review", seen=False, required=required.review, what="not reviewed")
    last = found[-1]
    word = {"passed": "passed", "failed": "failed", "not_executed": "not executed"}[last.state]
    what = f"review {last.number} {word}: {last.reason}"
    return Evidence("review", seen=last.state == "passed", required=required.review, what=what)


def _deliver(events: Sequence[Event], work: Work) -> Evidence:
    for one in events:
        if isinstance(one, BranchSet) and work.commit and one.commit == work.commit:
            what = f"branch {one.branch} is set to that commit{_published(events, work.commit)}"
            return Evidence("deliver", seen=True, required=True, what=what)
    return Evidence("deliver", seen=False, required=True, what="not delivered")


def _published(events: Sequence[Event], commit: str) -> str:
    """Return what is to be seen of a delivery beyond this machine."""
    pushed = [e for e in events if isinstance(e, BranchPushed) and not e.rescue]
    told = [f", pushed to {one.remote}" for one in pushed if one.commit == commit]
    requests = [e for e in events if isinstance(e, PullRequestSet)]
    return "".join([*told, *(f", pull request {one.url}" for one in requests)])
