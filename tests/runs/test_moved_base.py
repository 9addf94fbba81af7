"""The user's branch moves while an agent works: it is merged in before gates judge."""

from __future__ import annotations

import random

import pytest

from orchestrator.collect import Collector, MergedWork
from orchestrator.errors import WorkspaceError
from orchestrator.events import (
    BaseMerged,
    BranchIntended,
    BranchSet,
    Collected,
    GateJudged,
    SnapshotTaken,
)
from orchestrator.following import BaseBranch
from orchestrator.repository import locate
from orchestrator.testing import MemoryJournal, ScriptedModel, says
from tests.builders import a_run
from tests.runs.conftest import BRANCH, git
from tests.runs.meddling import Meddling, commits
from tests.runs.stage import MEND, NOTE, Stage, mended

pytestmark = pytest.mark.asyncio

PRICING = "shop/pricing.py"
BOUGHT = "amount > 100"


def raised(stage: Stage) -> str:
    """Return the sample's pricing with another rate: it conflicts with the mended line."""
    text = (stage.repo / PRICING).read_text(encoding="utf-8")
    changed = text.replace("amount > ", "200 < amount or amount > ")
    assert changed != text
    return changed


RESOLVE = (
    "Bash",
    {"command": f"git checkout --ours {PRICING} && git status --porcelain && git add {PRICING}"},
)


async def test_a_moved_base_is_merged_and_judged(stage: Stage) -> None:
    """Gates judge the merge of both, and that very commit is delivered."""
    stage.settings(
        "gates:\n  commands:\n    - {name: both, run: test -f MOVED.md -a -f NOTES.md}\n"
    )
    move = commits(stage.repo, "MOVED.md", "moved\n")
    outcome = await stage.play(client=Meddling(mended(NOTE), {2: move}))
    assert (outcome.status, outcome.error) == ("done", "")
    merged, collected = stage.only(BaseMerged), stage.only(Collected)
    main = git(stage.repo, "rev-parse", "main")
    assert merged.base == main and outcome.commit == merged.commit != collected.commit
    parents = git(stage.repo, "rev-parse", f"{BRANCH}^1", f"{BRANCH}^2").split()
    assert parents == [collected.commit, main]
    assert {(e.verdict.tree, e.base) for e in stage.all(GateJudged)} == {(merged.tree, main)}
    assert "failed" not in {e.verdict.state for e in stage.all(GateJudged)}
    # What the user committed is not part of the change.
    assert outcome.diff.files == 2
    assert git(stage.repo, "diff", "--name-only", "main", BRANCH).split() == ["NOTES.md", PRICING]


async def test_the_user_s_checkout_stays_as_it_is(stage: Stage) -> None:
    """The merge is made inside: index, files, HEAD and settings of the user's stay untouched."""
    move = commits(stage.repo, "MOVED.md", "moved\n")
    await stage.play(client=Meddling(mended(), {2: move}))
    assert git(stage.repo, "status", "--porcelain") == ""
    assert git(stage.repo, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert not (stage.repo / ".git" / "MERGE_HEAD").exists()
    assert git(stage.repo, "for-each-ref", "refs/orchestrate") == ""


async def test_a_base_that_stays_is_not_merged(stage: Stage) -> None:
    """Where nothing has moved, the agent's own commit is judged and delivered."""
    outcome = await stage.play(*mended())
    assert not stage.all(BaseMerged)
    assert outcome.commit == stage.only(Collected).commit


async def test_another_branch_of_the_user_is_not_the_base(stage: Stage) -> None:
    """Only the branch that the run started from is looked at."""

    def elsewhere() -> None:
        git(stage.repo, "checkout", "--quiet", "-b", "other")
        commits(stage.repo, "OTHER.md", "other\n")()

    outcome = await stage.play(client=Meddling(mended(), {2: elsewhere}))
    assert outcome.status == "done" and not stage.all(BaseMerged)


async def test_following_can_be_switched_off(stage: Stage) -> None:
    """With gates.follow_base false the agent's own commit is judged, whatever has moved."""
    stage.settings("gates:\n  follow_base: false\n")
    move = commits(stage.repo, "MOVED.md", "moved\n")
    outcome = await stage.play(client=Meddling(mended(), {2: move}))
    assert outcome.status == "done" and not stage.all(BaseMerged)


async def test_a_rewritten_base_is_told(stage: Stage) -> None:
    """A branch that was amended is not merged: the old commits would come back with it."""

    def amend() -> None:
        git(stage.repo, "commit", "--quiet", "--amend", "--message", "another base")

    outcome = await stage.play(client=Meddling(mended(), {2: amend}))
    assert outcome.status == "done" and not stage.all(BaseMerged)
    assert any("main was rewritten" in note for note in outcome.notes)


async def test_what_the_merge_breaks_goes_back(stage: Stage) -> None:
    """Each side is right alone and both together are not: the agent is told of merge and failure."""
    stage.settings(
        "gates:\n  detect_tests: false\n  commands:\n"
        "    - {name: one, run: test ! -f MOVED.md -o ! -f NOTES.md}\n"
    )
    move = commits(stage.repo, "MOVED.md", "moved\n")
    mend = says("", ("Bash", {"command": "git log --format=%s -1; git rm -q NOTES.md"}))
    script = [*mended(NOTE), mend, says("Removed it again.")]
    outcome = await stage.play(client=Meddling(script, {2: move}))
    assert outcome.status == "done", outcome.error
    (told,) = stage.prompts("gates")
    assert "has moved on meanwhile" in told and stage.only(BaseMerged).base[:12] in told
    assert "Merge main into" in stage.results(3)[0][0], "it goes on in the merged workspace"
    assert git(stage.repo, "merge-base", "main", BRANCH) == git(stage.repo, "rev-parse", "main")
    # The second round found the base in the work already.
    assert len(stage.all(BaseMerged)) == 1
    assert stage.all(GateJudged)[-1].base == git(stage.repo, "rev-parse", "main")


async def test_a_conflict_goes_back_once(stage: Stage) -> None:
    """The agent gets the conflicted files, resolves them, and the merge is judged and delivered."""
    move = commits(stage.repo, PRICING, raised(stage))
    script = [*mended(), says("", RESOLVE), says("Resolved.")]
    outcome = await stage.play(client=Meddling(script, {2: move}))
    assert outcome.status == "done", outcome.error
    (told,) = stage.prompts("conflict")
    assert PRICING in told and "There is no second try." in told
    assert f"UU {PRICING}" in stage.results(3)[0][0] or f"AA {PRICING}" in stage.results(3)[0][0]
    event = stage.only(BaseMerged)
    assert (event.commit, event.conflicts) == ("", (PRICING,))
    parents = git(stage.repo, "rev-parse", f"{BRANCH}^1", f"{BRANCH}^2").split()
    assert parents == [stage.all(Collected)[0].commit, event.base]
    assert "<<<<<<<" not in git(stage.repo, "show", f"{BRANCH}:{PRICING}")
    assert stage.all(GateJudged)[-1].base == event.base


@pytest.mark.parametrize(
    "call",
    [
        ("Bash", {"command": "git merge --abort"}),
        ("Bash", {"command": f"git add {PRICING}"}),
        ("Bash", {"command": "true"}),
        ("Bash", {"command": "git commit -qam resolved"}),
        ("Bash", {"command": f"git checkout -q --ours {PRICING}; rm -f /git/MERGE_HEAD"}),
    ],
    ids=[
        "aborts it",
        "adds the marks",
        "does nothing",
        "commits the marks",
        "drops the other side",
    ],
)
async def test_a_conflict_that_stays_needs_a_person(
    stage: Stage, call: tuple[str, dict[str, object]]
) -> None:
    """Whatever an agent does instead of resolving it, nothing is judged, delivered or lost."""
    move = commits(stage.repo, PRICING, raised(stage))
    script = [*mended(), says("", call), says("Resolved!")]
    outcome = await stage.play(client=Meddling(script, {2: move}))
    assert outcome.status == "needs_human"
    assert "does not merge" in outcome.error and PRICING in outcome.error
    assert not stage.all(BranchSet) and not stage.all(GateJudged)
    assert git(stage.repo, "branch", "--list", "feature/*") == ""
    assert git(stage.repo, "rev-parse", f"refs/orchestrate/{outcome.run}/head") == outcome.commit
    assert len(stage.prompts("conflict")) == 1


async def test_the_same_change_on_both_sides(stage: Stage) -> None:
    """Where the user has made the very same change meanwhile there is nothing to deliver."""
    text = (stage.repo / PRICING).read_text(encoding="utf-8").replace("amount > ", "amount >= ")
    move = commits(stage.repo, PRICING, text)
    outcome = await stage.play(client=Meddling(mended(), {2: move}))
    assert outcome.status == "needs_human"
    assert "already" in outcome.error and not stage.all(GateJudged)


async def test_history_that_does_not_continue_the_base(stage: Stage) -> None:
    """Work that was flattened to one commit on the base is merged as that commit."""
    move = commits(stage.repo, "MOVED.md", "moved\n")
    orphan = ("Bash", {"command": "git checkout -q --orphan new && git commit -qm anew"})
    script = [says("", MEND), says("", orphan), says("Anew.")]
    outcome = await stage.play(client=Meddling(script, {3: move}))
    assert outcome.status == "done", outcome.error
    assert git(stage.repo, "rev-list", "--count", f"main..{BRANCH}") == "2"
    assert git(stage.repo, "diff", "--name-only", "main", BRANCH) == PRICING


async def test_an_interrupted_turn_after_the_merge(stage: Stage) -> None:
    """A run that was parked in the middle of a conflict goes on in it."""
    move = commits(stage.repo, PRICING, raised(stage))
    parked = await stage.play(client=Meddling(mended(), {2: move}), limit_turns=2)
    assert parked.status == "limit_reached"
    assert [e.session for e in stage.all(SnapshotTaken)][-1] == "base"
    resumed = ScriptedModel([says("", RESOLVE), says("Resolved.")])
    outcome = await stage.play(client=resumed, limit_turns=9)
    assert outcome.status == "done", outcome.error
    assert len(stage.all(BaseMerged)) == 1 and len(stage.all(BranchSet)) == 1


async def test_a_parked_run_finds_its_base_moved(stage: Stage) -> None:
    """The branch may move while nothing runs: it is merged when the run is taken up again."""
    parked = await stage.play(*mended(), limit_turns=1)
    assert parked.status == "limit_reached"
    commits(stage.repo, "MOVED.md", "moved\n")()
    outcome = await stage.play(says("Mended."), limit_turns=9)
    assert outcome.status == "done"
    assert stage.only(BaseMerged).base == git(stage.repo, "rev-parse", "main")


async def test_what_the_user_committed_does_not_come_out_again(stage: Stage) -> None:
    """Only the agent's own objects are packed, in the round of the merge and in those after it."""
    stage.settings(
        "workspace: {pack_limit_mb: 1}\n"
        "gates:\n  commands:\n    - {name: one, run: test ! -f NOTES.md}\n"
    )

    def large() -> None:
        (stage.repo / "large.bin").write_bytes(random.Random(3).randbytes(3 * 1024 * 1024))
        git(stage.repo, "add", "--all")
        git(stage.repo, "commit", "--quiet", "--message", "large")

    script = [*mended(NOTE), says("", ("Bash", {"command": "rm NOTES.md"})), says("Removed.")]
    outcome = await stage.play(client=Meddling(script, {2: large}))
    assert (outcome.status, outcome.error) == ("done", "")
    assert [one.round for one in stage.all(Collected)] == [1, 2]
    assert len(stage.all(BaseMerged)) == 1


@pytest.mark.parametrize("begun", [BranchIntended, BranchSet])
async def test_what_is_being_delivered_stays_what_it_is(
    stage: Stage, begun: type[BranchIntended | BranchSet]
) -> None:
    """A run that was cut off in its delivery delivers that commit, wherever the base is by then."""
    repository = locate(stage.repo)
    base = git(stage.repo, "rev-parse", "HEAD")
    tree = git(stage.repo, "rev-parse", "HEAD^{tree}")
    run = a_run(base_commit=base, base_ref="refs/heads/main")
    moved = commits(stage.repo, "MOVED.md", "moved\n")()

    class Never(Collector):
        """Merges nothing."""

        def __init__(self) -> None:
            """Need nothing."""

        async def merge(self, commit: str, base: str, *, message: str, turn: int) -> MergedWork:
            """Say that it was asked."""
            raise WorkspaceError(f"asked to merge {base} into {commit}: {message} {turn}")

    collected = Collected(1, base, tree, changed=True)
    for events, expected in (([], moved), ([begun(BRANCH, base)], base)):
        branch = BaseBranch(
            run,
            repository=repository,
            collector=Never(),
            emit=MemoryJournal().append,
            events=events,
            follow=True,
        )
        assert (await branch.standing(collected, 1)).work.base == expected
