"""The branch and the report: once, whatever happens."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from orchestrator.delivery import deliver_branch, gate_line, render_report
from orchestrator.errors import DeliveryRefused, WorkspaceError
from orchestrator.events import BranchIntended, BranchSet, Event
from orchestrator.records import DiffStat, Usage
from orchestrator.repository import Repository, locate
from tests.builders import a_commit, a_repository, a_verdict, an_issue, an_outcome, git

BRANCH = "feature/7-totals"


class Given:
    """A user's repository, a commit of an agent's in it, and the events of delivering it."""

    def __init__(self, path: Path) -> None:
        self.path = a_repository(path)
        self.base = git(path, "rev-parse", "HEAD")
        git(path, "switch", "--quiet", "--detach")
        self.work = a_commit(path, {"a.py": "1\n"}, "Work")
        git(path, "switch", "--quiet", "main")
        self.repository: Repository = locate(path)
        self.events: list[Event] = []

    async def emit(self, event: Event) -> None:
        """Keep an event."""
        self.events.append(event)

    async def deliver(self) -> None:
        """Deliver the commit."""
        self.events.append(await deliver_branch(self.repository, BRANCH, self.work, self.emit))

    def state(self) -> str:
        """Return all refs, what is checked out, and the status."""
        return "\n".join(
            git(self.path, *words)
            for words in (("for-each-ref",), ("symbolic-ref", "HEAD"), ("status", "--porcelain"))
        )

    def reflog(self) -> int:
        """Return how often the branch was set."""
        return len(git(self.path, "reflog", "show", BRANCH).splitlines())


@pytest.fixture
def given(tmp_path: Path) -> Given:
    """A repository with a commit to deliver."""
    return Given(tmp_path / "repo")


@pytest.mark.asyncio
async def test_a_new_branch_is_set_to_the_judged_commit(given: Given) -> None:
    """The branch is that very commit; checkout, index and other refs stay; the intent comes first."""
    before = given.state()
    await given.deliver()
    assert git(given.path, "rev-parse", BRANCH) == given.work
    git(given.path, "branch", "--quiet", "-D", BRANCH)
    assert given.state() == before
    assert given.events == [BranchIntended(BRANCH, given.work), BranchSet(BRANCH, given.work)]


@pytest.mark.asyncio
async def test_delivering_twice_changes_nothing(given: Given) -> None:
    """The second delivery finds the branch as it must be and writes nothing."""
    await given.deliver()
    before, reflog = given.state(), given.reflog()
    given.events.clear()
    await given.deliver()
    assert (given.state(), given.reflog()) == (before, reflog)
    assert given.events == [BranchSet(BRANCH, given.work)]


@pytest.mark.asyncio
async def test_a_branch_is_moved_forward(given: Given) -> None:
    """A branch that the commit continues is moved to it."""
    git(given.path, "branch", BRANCH, given.base)
    await given.deliver()
    assert git(given.path, "rev-parse", BRANCH) == given.work


@pytest.mark.asyncio
async def test_a_branch_that_became_something_else_is_refused(given: Given) -> None:
    """A branch with commits that the work does not have stays, and the hint says where the work is."""
    other = a_commit(given.path, {"b.py": "2\n"}, "Someone else's")
    git(given.path, "branch", BRANCH, other)
    before = given.state()
    with pytest.raises(WorkspaceError, match="has become something else") as caught:
        await given.deliver()
    assert given.work in caught.value.hint
    assert given.state() == before
    assert given.events == []


@pytest.mark.asyncio
async def test_a_branch_that_was_set_and_built_upon_is_delivered(given: Given) -> None:
    """A kill right after the branch was set, and somebody's commit on it since: nothing is lost."""
    git(given.path, "branch", BRANCH, given.work)
    git(given.path, "switch", "--quiet", BRANCH)
    on_top = a_commit(given.path, {"b.py": "2\n"}, "Someone else's")
    with pytest.raises(DeliveryRefused, match="something else"):
        await given.deliver()
    done = await deliver_branch(given.repository, BRANCH, given.work, given.emit, intended=True)
    assert done == BranchSet(BRANCH, given.work)
    assert git(given.path, "rev-parse", BRANCH) == on_top
    assert given.events == []


@pytest.mark.asyncio
async def test_a_branch_that_is_changed_in_between_is_refused(given: Given) -> None:
    """Someone who sets the branch after the intent is not overwritten."""
    other = a_commit(given.path, {"b.py": "2\n"}, "Someone else's")

    async def emit(event: Event) -> None:
        await given.emit(event)
        if isinstance(event, BranchIntended):
            git(given.path, "branch", BRANCH, other)

    with pytest.raises(WorkspaceError):
        await deliver_branch(given.repository, BRANCH, given.work, emit)
    assert git(given.path, "rev-parse", BRANCH) == other
    assert not any(isinstance(event, BranchSet) for event in given.events)


@pytest.mark.asyncio
async def test_a_branch_that_is_checked_out_is_not_moved(given: Given) -> None:
    """The user's checkout is never touched: a branch that is checked out meanwhile stays."""
    git(given.path, "switch", "--quiet", "--create", BRANCH)
    before = given.state()
    with pytest.raises(WorkspaceError):
        await given.deliver()
    assert given.state() == before


def test_a_report_says_what_the_runtime_saw() -> None:
    """Facts come from the runtime; the agent's words stand apart from them."""
    outcome = an_outcome(
        diff=DiffStat(files=2, added=10, removed=3),
        usage=Usage(input_tokens=10, cache_read_tokens=90, output_tokens=5),
        cost_usd=0.12345,
        turns=4,
        verdicts=(a_verdict(duration_s=1.25),),
        notes=("Its history was replaced.",),
    )
    report = render_report(an_issue(), outcome)
    for line in (
        "# Issue 7: Totals are wrong",
        "**done**",
        "Mended the sum.",
        "- branch: feature/7-totals-are-wrong",
        "- change: 2 files, +10 -3",
        "- tokens: 100 in (90 cached), 5 out",
        "- cost: $0.1235",
        "- turns: 4",
        "- Its history was replaced.",
        "- tests: passed (3 tests executed, 1.2 s)",
    ):
        assert line in report.splitlines()


def test_a_report_of_a_failure_says_what_to_do() -> None:
    """What stopped the run, what to do, and the failed gate's output are in the report."""
    failed = a_verdict(state="failed", reason="exit status 1", details="```\nassert 1 == 2")
    outcome = an_outcome(
        status="gate_failed", error="a gate failed", hint="look", scripted=True, verdicts=(failed,)
    )
    report = render_report(an_issue(), outcome)
    assert "What stopped it: a gate failed" in report
    assert "What to do: look" in report
    assert "no model was asked" in report
    assert f"{'`' * 8}\n```\nassert 1 == 2\n{'`' * 8}" in report


def test_a_report_can_be_shown_on_a_terminal() -> None:
    """What a terminal would act on is left out, whoever said it."""
    issue = dataclasses.replace(an_issue(), title="Tot\x1b[31mals\x07 \u202eare wrong")
    report = render_report(issue, an_outcome(error="it said \x1b]0;x\x07", notes=("a\x1bb",)))
    assert report.splitlines()[0] == "# Issue 7: Tot[31mals are wrong"
    assert not {"\x1b", "\x07", "\u202e"} & set(report)


@pytest.mark.parametrize(
    ("state", "said"),
    [("passed", "passed"), ("failed", "FAILED"), ("not_executed", "not executed")],
)
def test_a_gate_that_was_not_executed_never_looks_passed(state: str, said: str) -> None:
    """A gate's line says which of three ends it had."""
    assert gate_line(a_verdict(state=state, reason="why")) == f"tests: {said} (why)"
