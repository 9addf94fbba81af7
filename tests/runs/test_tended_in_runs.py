"""Whole runs and their issues: one comment, moved states, claims; what fails there is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import anyio
import pytest

from orchestrator import Orchestrator
from orchestrator.deliveryevents import IssueCommented, IssueMoved
from orchestrator.errors import IssueNotFound, IssueTaken, TrackerError, TrackerMissing
from orchestrator.journals.sqlite import SqliteJournal
from orchestrator.pullrequests import FailedCheck
from orchestrator.records import Issue, ModelReply, ModelRequest
from orchestrator.testing import MemoryHost, MemoryTracker, ScriptedModel, says
from tests.builders import a_clone, a_commit
from tests.git_server import git_server
from tests.runs.conftest import BRANCH, git
from tests.runs.delivery_scene import Scene
from tests.runs.stage import MEND, NOTE, Stage, mended

pytestmark = pytest.mark.asyncio

TITLE = "A cart of exactly 100 gets no discount"
SETTINGS = """\
tracker: {kind: github, moves: {working: Doing, delivered: Review, failed: Stuck}}
delivery: {push: true, pull_request: draft}
"""
TOKEN = "ghp_" + "x7Kq2LmZp9RtVw4YcB8nDf3GhJ5sQa6E1uTo"
Stage_ = Literal["working", "delivered", "failed", "released"]


@dataclass
class Board:
    """A tracker whose issues have a column.

    Attributes:
        moves: where each issue was put, in order.
        fault: what is raised instead of moving.
    """

    inner: MemoryTracker
    moves: list[tuple[str, str]] = field(default_factory=list)
    fault: Exception | None = None
    closed: int = 0

    def key_of(self, said: str) -> str:
        """Return the number alone."""
        key = said.rpartition("#")[2]
        if not key.isdigit():
            raise IssueNotFound(f"{said!r} is no issue")
        return key

    async def fetch(self, key: str) -> Issue:
        """Return an issue."""
        return await self.inner.fetch(key)

    async def report(self, issue: Issue, outcome: object) -> None:
        """Keep nothing."""

    async def candidates(self, labels: Sequence[str], most: int) -> Sequence[Issue]:
        """Return what waits."""
        return await self.inner.candidates(labels, most)

    async def move(self, issue: Issue, to: Stage_) -> None:
        """Put an issue into a column."""
        if self.fault is not None:
            raise self.fault
        self.moves.append((issue.key, to))


class Tended(Scene):
    """A scene whose issues are the code host's own."""

    def __init__(self, stage: Stage, server: object) -> None:
        super().__init__(stage, server)  # type: ignore[arg-type]
        self.board = Board(MemoryTracker([Issue("1", TITLE, "Mend it.")]))
        stage.tracker = self.board
        stage.settings(SETTINGS)

    def comment(self) -> str:
        """Return the issue's one comment."""
        (text,) = self.host.comments.values()
        assert list(self.host.comments) == [("issue 1", "outcome")]
        return text

    def commented(self) -> int:
        """Return how often a comment was written or edited."""
        return [name for name, _ in self.host.acts].count("comment")


@pytest.fixture
def tended(stage: Stage, tmp_path: Path) -> Iterator[Tended]:
    """A project, its host and its issues."""
    with git_server(tmp_path / "served") as server:
        yield Tended(stage, server)


async def test_one_comment_two_moves_and_what_merging_closes(tended: Tended) -> None:
    """The issue is moved twice, has one comment with the pull request, and merging closes it."""
    outcome = await tended.done()
    assert tended.board.moves == [("1", "working"), ("1", "delivered")]
    assert outcome.pull_request in tended.comment() and "**done**" in tended.comment()
    assert tended.host.requests[0].title == f"{TITLE} (#1)"
    assert "\nResolves #1.\n" in tended.host.requests[0].body
    kinds = [one for one in tended.stage.kinds() if one.startswith("Issue")]
    assert kinds == ["IssueMoved", "IssueCommented", "IssueMoved"]
    again = await tended.stage.play(key="#1")
    assert (again.run, tended.commented(), len(tended.board.moves)) == (outcome.run, 1, 2)
    tended.host.says("1", "A note, please.")
    later = await tended.stage.play(says("I write.", NOTE), says("Noted."))
    assert later.run in tended.comment() and outcome.run not in tended.comment()
    assert len(tended.host.requests) == 1


async def test_a_run_that_is_not_done_is_told_too(tended: Tended) -> None:
    """What stopped it stands under the issue; nothing of it calls or closes, no path, no token."""
    tended.stage.settings(f"{SETTINGS}gates: {{rounds: 0}}\n")
    words = f"@ada Fixes #9, closes GH-8. {TOKEN}"
    outcome = await tended.stage.play(says("I write.", NOTE), says(words))
    assert outcome.status == "gate_failed"
    assert tended.board.moves[-1] == ("1", "failed")
    text = tended.comment()
    assert "**gate_failed**" in text and "failed: " in text
    assert "@ada" not in text and "#9" not in text and "GH-8" not in text and TOKEN not in text
    assert str(tended.stage.state) not in text


async def test_without_the_setting_there_is_no_comment(tended: Tended) -> None:
    """The comment can be left out; the rest stays."""
    tended.stage.settings(SETTINGS.replace("push: true", "push: true, comment: false"))
    await tended.done()
    assert tended.host.comments == {}
    assert tended.stage.all(IssueCommented) == []
    assert len(tended.host.requests) == 1


@pytest.mark.parametrize("what", ["comment", "move"])
async def test_what_cannot_be_told_changes_no_outcome(tended: Tended, what: str) -> None:
    """A done run stays done, says what could not be told, and tells it the next time."""
    if what == "comment":
        tended.host.faults["comment"] = TrackerError("locked")
    else:
        tended.board.fault = TrackerError("no such column")
    outcome = await tended.done()
    report = tended.stage.state / "runs" / outcome.run / "report.md"
    said = "could not be commented on: locked" if what == "comment" else "no such column"
    assert any(said in note for note in outcome.notes)
    assert said in report.read_text(encoding="utf-8")
    tended.host.faults.clear()
    tended.board.fault = None
    again = await tended.stage.play()
    assert (again.status, again.run, tended.stage.model.requests) == ("done", outcome.run, [])
    assert tended.board.moves[-1] == ("1", "delivered")
    assert outcome.pull_request in tended.comment()
    assert not any(said in note for note in again.notes)


async def test_two_that_tell_the_same_end(tended: Tended) -> None:
    """Where another process has told and recorded an end just before, this one ends well, too."""

    async def meanwhile() -> None:
        tended.host.before = lambda _: None
        with closing(SqliteJournal(tended.stage.state / "journal.db", owner="x:y:1:1")) as journal:
            (row,) = await journal.rows()
            found = await journal.reopened(row.run)
            assert found is not None
            await found[2].append(IssueCommented("1", "u"), IssueMoved("1", "delivered"))

    def before(name: str) -> None:
        if name == "comment":
            with ThreadPoolExecutor() as pool:
                pool.submit(anyio.run, meanwhile).result(60)

    tended.host.before = before
    outcome = await tended.done()
    assert outcome.notes == (await tended.stage.play()).notes[:-1]
    assert tended.stage.model.requests == []


async def test_a_parked_run_tells_nothing_yet(tended: Tended) -> None:
    """What goes on later is still being worked on."""
    tended.host.faults["open"] = TrackerError("503", retryable=True)
    outcome = await tended.stage.play(*mended())
    assert outcome.status == "unavailable"
    assert (tended.board.moves, tended.host.comments) == ([("1", "working")], {})
    tended.host.faults.clear()
    await tended.stage.play()
    assert tended.board.moves == [("1", "working"), ("1", "delivered")]
    assert [one.to for one in tended.stage.all(IssueMoved)] == ["working", "delivered"]


async def test_hostile_words_do_nothing_in_what_is_published(tended: Tended) -> None:
    """Title, evidence and findings: nobody is called, nothing is closed, and no token leaves."""
    title = "Fixes #99 and closes acme/shop#98 @ada"
    tended.board.inner = MemoryTracker([Issue("1", title, "Mend it.")])
    await tended.stage.play(
        says(f"{TOKEN} Implements #97, Closes https://host.example/issues/5", MEND), says("Done.")
    )
    (request,) = tended.host.requests
    for text in (request.title, request.body):
        for word in ("#99", "shop#98", "@ada", "#97", "Closes https", TOKEN):
            assert word not in text, (word, text)
    assert request.title.endswith("(#1)")


async def test_what_the_agents_own_commits_do_is_told(tended: Tended) -> None:
    """Messages that are pushed as they were judged are named where they would act."""
    words = "git -c user.name=a -c user.email=a@b.c commit -qam 'Fixes #99 and fixes #1, for @ada'"
    commit = ("Bash", {"command": f"{MEND[1]['command']} && {words}"})
    outcome = await tended.stage.play(says("I mend it.", commit), says("Mended."))
    assert (outcome.status, outcome.error) == ("done", "")
    (note,) = [one for one in outcome.notes if "messages of its commits" in one]
    assert "'Fixes #99'" in note and "'@ada'" in note and "fixes #1'" not in note
    body = tended.host.requests[0].body
    assert "messages of its commits" in body and "#99" not in body and "@ada" not in body


# -- claims ------------------------------------------------------------------------------------


@dataclass
class Losing:
    """Claims that another orchestrator takes over at the first renewal."""

    asked: int = 0
    released: int = 0

    async def claim(self, issue: str, run: str) -> bool:
        """Give it once."""
        del issue, run
        self.asked += 1
        return self.asked == 1

    async def release(self, issue: str, run: str) -> None:
        """Note it."""
        del issue, run
        self.released += 1


class Endless(ScriptedModel):
    """A model that gives no answer."""

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Wait."""
        await anyio.sleep_forever()
        return await super().reply(request)


async def test_a_claim_that_was_lost_stops_the_run(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run renews its claim; where the issue is another's meanwhile it is parked, at once."""
    monkeypatch.setattr("orchestrator.tending.LEAST_S", 0.01)
    stage.settings("delivery: {claim: true, claim_hours: 0}\n")
    claims = stage.claims = Losing()
    with anyio.fail_after(60):
        outcome = await stage.play(client=Endless([]))
    assert outcome.status == "unavailable"
    assert "another orchestrator has taken issue 1" in outcome.error
    assert (claims.asked, claims.released) == (2, 0)
    assert stage.kinds()[-1] == "RunParked"


async def test_a_parked_run_whose_issue_is_taken_stays_parked(stage: Stage) -> None:
    """Where another orchestrator has the issue meanwhile, the run is refused and can go on later."""
    parked = await stage.play(says("I read.", NOTE), limit_turns=1)
    stage.claims = Losing(asked=1)
    with pytest.raises(IssueTaken):
        await stage.play()
    assert stage.model.requests == []
    with closing(SqliteJournal(stage.state / "journal.db", owner="x:y:1:1")) as journal:
        (row,) = await journal.rows()
        outcome = await journal.outcome(row.run)
    assert row.state == "parked"
    assert outcome is not None and "another orchestrator" in outcome.error
    assert outcome.turns == parked.turns
    stage.claims = None
    assert (await stage.play(*mended(), limit_turns=9)).run == parked.run


async def test_new_frees_what_the_old_run_had(stage: Stage) -> None:
    """With --new the given up run's claim does not stand in the way."""
    stage.settings("delivery: {claim: true}\n")
    parked = await stage.play(says("I read.", NOTE), limit_turns=1)
    assert parked.status == "limit_reached"
    assert len(list((stage.state / "claims").glob("*.json"))) == 1
    outcome = await stage.play(*mended(), new=True)
    assert outcome.status == "done"
    assert list((stage.state / "claims").glob("*.json")) == []


# -- what is pushed, and what is said of it ----------------------------------------------------


async def test_a_rescue_publishes_nothing_of_the_users(tended: Tended) -> None:
    """Commits that the user made meanwhile, and that were merged in, are not pushed with it."""
    tended.stage.settings(
        "tracker: {kind: github}\ndelivery: {push: true, rescue: true}\ngates: {rounds: 0}\n"
    )

    class Busy(ScriptedModel):
        """The user commits while the agent works."""

        async def reply(self, request: ModelRequest) -> ModelReply:
            """Commit, and give the next reply."""
            if not (tended.stage.repo / "private.txt").exists():
                a_commit(tended.stage.repo, {"private.txt": "mine\n"}, "Mine")
            return await super().reply(request)

    outcome = await tended.stage.play(client=Busy([says("I write.", NOTE), says("Done.")]))
    assert outcome.status == "gate_failed"
    assert tended.quiet() == (0, 0) and outcome.pushed == ""
    assert any("would publish commits of yours" in note for note in outcome.notes)


async def test_where_it_is_pushed_is_told_though_a_person_goes_on(tended: Tended) -> None:
    """The work that is on the remote under its own name is told so, and not pushed again."""
    tended.stage.settings(SETTINGS.replace("push: true", "push: true, rescue: true"))
    await tended.done()
    tended.host.says("1", "A note, please.")
    tended.host.before = lambda name: tended.host.closes("1") if name == "find" and (
        tended.server.log()[1:]
    ) else None  # fmt: skip
    outcome = await tended.stage.play(says("I write.", NOTE), says("Noted."))
    assert outcome.status == "needs_human" and "closed by somebody" in outcome.error
    assert outcome.pushed == f"origin {BRANCH}"
    assert len(tended.server.log()) == 2


async def test_a_deleted_comment_does_not_park_the_run(tended: Tended) -> None:
    """A thread that is gone cannot be answered: that is told, and the run is done."""
    await tended.done()
    tended.host.says("1", "A note, please.")
    tended.host.faults["answer"] = TrackerMissing("it is gone")
    outcome = await tended.stage.play(says("I write.", NOTE), says("Noted."))
    assert outcome.status == "done"
    assert any("could not be answered: it is gone" in note for note in outcome.notes)


async def test_rounds_are_counted_without_a_journal(
    tended: Tended, tmp_path: Path, proved: Path
) -> None:
    """A check that no run mends is not worked on for ever by machines that begin afresh."""
    await tended.done()
    tended.host.fails("1", FailedCheck("lint", "failure", "E501"))
    tended.stage.settings(SETTINGS.replace("push: true", "push: true, feedback_rounds: 2"))
    ends: list[str] = []
    for number in range(3):
        elsewhere = a_clone(tended.server.repository(), tmp_path / f"job-{number}")
        git(elsewhere, "remote", "set-url", "origin", tended.server.address())
        git(elsewhere, "switch", "--quiet", "main")
        state = tmp_path / f"state-{number}"
        state.mkdir()
        (state / "sandbox").symlink_to(proved / "sandbox")
        job = Stage(elsewhere, state, tended.stage.config, host=tended.host, tracker=tended.board)
        try:
            ends.append((await job.play(*[says("I cannot mend that.")] * 2)).status)
        except Exception as error:  # noqa: BLE001 - the text is looked at
            ends.append(str(error))
    assert ends[:2] == ["needs_human", "needs_human"]
    assert "2 runs have gone on with it already" in ends[2]


async def test_any_way_to_name_an_issue(tended: Tended) -> None:
    """A key is one key before the journal is asked, also where a run is looked up or given up."""
    parked = await tended.stage.play(says("I read.", NOTE), key="acme/shop#1", limit_turns=1)
    made = Orchestrator.from_config(
        tended.stage.config,
        repo=tended.stage.repo,
        state=tended.stage.state,
        host=tended.host,
        tracker=tended.board,
    )
    async with made as orchestrator:
        for said in ("#1", "acme/shop#1", parked.run):
            found = await orchestrator.parked(said)
            assert found is not None and found.run == parked.run
        assert await orchestrator.look_after("#1") is None
        await orchestrator.give_up("#1")
        assert await orchestrator.parked("#1") is None
    assert tended.board.moves[-1] == ("1", "released")


class Closed(MemoryHost):
    """A host that counts how often it is closed."""

    closed = 0

    async def aclose(self) -> None:
        """Count."""
        self.closed += 1


async def test_what_was_made_is_closed_once(
    tended: Tended, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tracker and host of the settings are closed with the orchestrator; given ones are not."""
    made = Closed()
    monkeypatch.setattr("orchestrator.assembly.outside.host_of", lambda *_: made)
    given = Closed()
    for host in (None, given):
        opened = Orchestrator.from_config(
            tended.stage.config,
            repo=tended.stage.repo,
            state=tended.stage.state,
            host=host,
            tracker=tended.board,
        )
        async with opened as orchestrator:
            await orchestrator.runs()
    assert (made.closed, given.closed) == (1, 0)
