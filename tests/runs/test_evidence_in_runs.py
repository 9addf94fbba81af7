"""Done is what the runtime saw: rounds, gates of a program's own, and every false way to the end."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from orchestrator import Verdict
from orchestrator.errors import ConfigError
from orchestrator.events import BranchSet, Collected, GateJudged, RunFinished, decode, encode
from orchestrator.ports import Change
from orchestrator.testing import says
from tests.runs.conftest import BRANCH, CommandLine, git
from tests.runs.stage import MEND, NOTE, Stage, mended


@dataclass
class NoNotes:
    """A gate of a program's own: the change must not add a file of notes."""

    name: str = "no-notes"
    person: bool = False
    commits: list[str] = field(default_factory=list)

    async def judge(self, change: Change) -> Verdict:
        """Look at the names of the commit's files."""
        self.commits.append(change.commit)
        found = "NOTES.md" in await change.names()
        reason = "NOTES.md is there" if found else "no notes"
        return Verdict(self.name, "failed" if found else "passed", reason, person=self.person)


REMOVE = ("Bash", {"command": "rm NOTES.md"})


def stages(stage: Stage) -> dict[str, tuple[bool, str]]:
    """Return what was seen of each stage at the end of the run."""
    evidence = stage.all(RunFinished)[-1].outcome.evidence
    return {one.stage: (one.seen, one.what) for one in evidence}


@pytest.mark.asyncio
async def test_sent_back_twice_and_then_done(stage: Stage) -> None:
    """The tests fail, then a gate of the program's own, then all pass: three rounds, one branch."""
    gate = NoNotes()
    script = [says("", NOTE), says("Done?"), says("", MEND), says("Now?"), says("", REMOVE)]
    outcome = await stage.play(*script, says("Mended."), gates=[gate])
    assert (outcome.status, outcome.error) == ("done", "")
    assert [one.round for one in stage.all(Collected)] == [1, 2, 3]
    rounds = {number: set[str]() for number in (1, 2, 3)}
    for event in stage.all(GateJudged):
        if event.verdict.state == "failed":
            rounds[event.round].add(event.verdict.gate)
    assert rounds == {1: {"tests", "no-notes"}, 2: {"no-notes"}, 3: set()}
    first, second = stage.prompts("gates")
    assert "## tests:" in first and "## no-notes: NOTES.md is there" in first
    assert "## tests:" not in second and "This is the last try." in second
    assert gate.commits == [one.commit for one in stage.all(Collected)]
    assert "failed" not in {one.state for one in outcome.verdicts}
    assert git(stage.repo, "rev-parse", BRANCH) == outcome.commit
    assert {name for name, (seen, _) in stages(stage).items() if not seen} == {"review"}


@pytest.mark.asyncio
async def test_what_only_a_person_can_approve(stage: Stage) -> None:
    """A failure that no try mends goes to a person at once: the agent is not paid to try."""
    outcome = await stage.play(*mended(NOTE), says("never"), gates=[NoNotes(person=True)])
    assert (outcome.status, outcome.branch) == ("needs_human", "")
    assert outcome.error == "a person has to approve: no-notes: NOTES.md is there"
    assert f"git branch NAME refs/orchestrate/{outcome.run}/head" in outcome.hint
    assert not stage.prompts("gates") and not stage.all(BranchSet)
    report = (stage.state / "runs" / outcome.run / "report.md").read_text(encoding="utf-8")
    assert "no-notes: FAILED, a person has to look" in report


@pytest.mark.asyncio
async def test_the_agent_mends_what_it_can_first(stage: Stage) -> None:
    """Beside what a person has to approve, what the agent can mend goes back to it."""
    script = [says("", NOTE), says("Done?"), says("", MEND), says("Mended.")]
    outcome = await stage.play(*script, gates=[NoNotes(person=True)])
    (told,) = stage.prompts("gates")
    assert "## tests:" in told and "no-notes" not in told
    assert outcome.status == "needs_human" and "no-notes" in outcome.error


class Lies:
    """A gate that says that another one has passed, on another tree."""

    name = "lies"

    async def judge(self, change: Change) -> Verdict:
        """Lie."""
        return Verdict("tests", "passed", "all is well", commit="f" * 40, tree=change.tree[::-1])


class Breaks:
    """A gate with a fault in it."""

    name = "breaks"

    async def judge(self, change: Change) -> Verdict:
        """Break."""
        raise KeyError(change.branch)


@pytest.mark.asyncio
async def test_a_gate_speaks_for_itself_alone(stage: Stage) -> None:
    """A verdict is recorded under its gate's own name and on the tree that was judged."""
    stage.settings("gates: {rounds: 0}\n")
    outcome = await stage.play(says("", NOTE), says("Done."), gates=[Lies()])
    assert outcome.status == "gate_failed"
    states = {one.gate: one.state for one in outcome.verdicts}
    assert (states["branch-name"], states["tests"], states["lies"]) == (
        "passed",
        "failed",
        "passed",
    )
    assert len({one.tree for one in outcome.verdicts}) == 1


@pytest.mark.asyncio
async def test_a_gate_with_a_fault_passes_nothing(stage: Stage) -> None:
    """A gate that breaks has failed; the run ends in order, with the fault in its report."""
    stage.settings("gates: {rounds: 0}\n")
    outcome = await stage.play(*mended(), gates=[Breaks()])
    assert outcome.status == "gate_failed"
    assert "the gate broke: KeyError" in outcome.verdicts[-1].reason
    assert not stages(stage)["gates"][0]


@pytest.mark.asyncio
async def test_two_gates_of_one_name(stage: Stage) -> None:
    """Two gates that could not be told apart are refused before anything is paid for."""
    with pytest.raises(ConfigError, match="two gates are called 'no-notes'"):
        await stage.play(*mended(), gates=[NoNotes(), NoNotes()])
    assert not stage.model.requests


@pytest.mark.asyncio
async def test_required_tests(stage: Stage) -> None:
    """With gates.require_tests a run in which nothing was tested is left to a person."""
    stage.settings("gates: {require_tests: true, detect_tests: false}\n")
    outcome = await stage.play(*mended())
    assert (outcome.status, outcome.branch) == ("needs_human", "")
    assert "no evidence of test: nothing was tested" in outcome.error
    assert not stage.all(BranchSet)
    assert git(stage.repo, "rev-parse", f"refs/orchestrate/{outcome.run}/head") == outcome.commit
    assert git(stage.repo, "branch", "--list", "feature/*") == ""


@pytest.mark.parametrize(
    ("script", "without"),
    [
        ([says("All tests pass, the change is reviewed and delivered.")], "implement"),
        ([says("", ("Bash", {"command": "git commit -q --allow-empty -m done"}))], "implement"),
        (
            [says("", ("Bash", {"command": "git branch -f feature/1-x; echo '3 passed'"}))],
            "implement",
        ),
    ],
    ids=["words", "an empty commit", "a branch of its own"],
)
@pytest.mark.asyncio
async def test_claims_are_no_evidence(stage: Stage, script: list[Any], without: str) -> None:
    """Whatever an agent says, or sets up in its own workspace, is not done."""
    outcome = await stage.play(*script, says("Done: 3 passed."))
    assert outcome.status == "needs_human"
    assert not stages(stage)[without][0] and not stages(stage)["deliver"][0]
    assert not stage.all(BranchSet)


@pytest.mark.asyncio
async def test_evidence_is_in_outcome_and_report(stage: Stage) -> None:
    """Every stage is told with what was seen of it, in the outcome and in the report."""
    outcome = await stage.play(*mended())
    assert [one.stage for one in outcome.evidence] == [
        "read", "plan", "implement", "test", "gates", "review", "deliver",
    ]  # fmt: skip
    report = (stage.state / "runs" / outcome.run / "report.md").read_text(encoding="utf-8")
    assert f"- implement: seen (commit {outcome.commit[:12]} came out" in report
    assert "- test: seen (tests executed 3 tests)" in report
    assert "- review: not seen (not reviewed)" in report
    assert f"- deliver: seen (branch {BRANCH} is set to that commit)" in report


def test_runs_show_tells_the_stages(orchestrate: CommandLine) -> None:
    """`runs show` tells the evidence for each stage, for people and for programs."""
    assert orchestrate.run("issue", "1").returncode == 0
    run = orchestrate.run("runs", "list").stdout.split()[0]
    shown = orchestrate.run("runs", "show", run).stdout
    assert re.search(r"  stage     gates: seen \(\d+ passed, not executed: migrations\)", shown)
    assert "  stage     review: not seen (not reviewed)" in shown
    assert '"stage": "deliver"' in orchestrate.run("runs", "show", run, "--json").stdout


@pytest.mark.asyncio
async def test_an_older_journal_still_decodes(stage: Stage) -> None:
    """Events that were journaled before there were bases, reviews and evidence are read."""
    await stage.play(*mended())
    for event in (stage.all(GateJudged)[0], stage.only(RunFinished)):
        text = encode(event)
        data = orjson.loads(text)
        for name in ("base", "evidence", "reviews"):
            data.pop(name, None)
            data.get("outcome", {}).pop(name, None)
        data.get("verdict", {}).pop("person", None)
        again = decode(type(event).__name__, orjson.dumps(data))
        if isinstance(event, GateJudged):
            assert again == dataclasses.replace(event, base="")
        else:
            assert isinstance(again, RunFinished) and again.outcome.evidence == ()
