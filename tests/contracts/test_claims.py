"""What every kind of claim must do: of two orchestrators, one has the issue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
import pytest_asyncio

from orchestrator.claims import FileClaims, NoteClaims, SharedClaims
from orchestrator.errors import IssueNotFound, TrackerError
from orchestrator.hosts.githubnotes import GitHubNotes
from orchestrator.hosts.gitlabnotes import GitLabNotes
from orchestrator.hosts.jiranotes import JiraNotes
from orchestrator.hosts.linearnotes import LinearNotes
from orchestrator.ports import Board, Claims
from tests.builders import an_outcome
from tests.forges.asking import on_github
from tests.forges.github import issue
from tests.forges.server import Fault
from tests.forges.stages import on_stage

pytestmark = pytest.mark.asyncio

HOURS = 2.0
BOARDS = ["github", "gitlab", "jira", "jira-cloud", "linear"]


@dataclass
class Wall:
    """A clock on the wall."""

    now: float = 1_780_000_000.0

    def __call__(self) -> float:
        """Return the seconds since 1970."""
        return self.now


@dataclass
class MemoryBoard:
    """Notes in memory, in order; others may write in between.

    Attributes:
        between: is called once a note was written.
    """

    kept: dict[str, dict[str, str]] = field(default_factory=dict)
    between: Callable[[], None] = lambda: None
    deaf: bool = False

    async def notes(self, issue: str) -> Sequence[tuple[str, str]]:
        """Return all notes under an issue."""
        return list(self.kept.get(issue, {}).items())

    async def note(self, issue: str, marker: str, text: str) -> None:
        """Write a note or edit it."""
        if not self.deaf:
            self.kept.setdefault(issue, {})[marker] = text
        self.between()


@dataclass
class Given:
    """One place for claims, and the clock that they go by."""

    claims: Claims
    other: Claims
    wall: Wall


def board_on(kind: str, tracker: Any) -> Board:
    """Return the board of a tracker's own service."""
    match kind:
        case "github" | "enterprise":
            return GitHubNotes(tracker._project)
        case "gitlab":
            return GitLabNotes(tracker._project)
        case "linear":
            return LinearNotes(tracker._its)
        case _:
            return JiraNotes(tracker._project)


@pytest_asyncio.fixture(params=["files", "notes", "shared", *BOARDS])
async def given(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Given]:
    """Two orchestrators that see the same claims."""
    wall = Wall()
    async with AsyncExitStack() as stack:
        if request.param == "files":
            made: list[Claims] = [
                FileClaims(
                    tmp_path / "claims",
                    repo="/repo/.git",
                    hours=HOURS,
                    clock=wall,
                    owner=owner,
                    is_alive=lambda _: True,
                )
                for owner in ("one", "two")
            ]
        elif request.param == "shared":
            common = MemoryBoard()
            made = [_shared(tmp_path / who, common, wall, who, lambda _: True) for who in "ab"]
        elif request.param == "notes":
            board = MemoryBoard()
            made = [NoteClaims(board, hours=HOURS, clock=wall) for _ in range(2)]
        else:
            stage = await stack.enter_async_context(on_stage(request.param, tmp_path))
            stage.put(7)
            boards = [board_on(request.param, stage.tracker) for _ in range(2)]
            made = [NoteClaims(one, hours=HOURS, clock=wall) for one in boards]
        yield Given(made[0], made[1], wall)


def _shared(
    folder: Path, board: MemoryBoard, wall: Wall, owner: str, is_alive: Callable[[str], bool]
) -> SharedClaims:
    here = FileClaims(folder, repo="r", hours=HOURS, clock=wall, owner=owner, is_alive=is_alive)
    return SharedClaims(here, NoteClaims(board, hours=HOURS, clock=wall))


async def test_what_a_dead_process_here_left_is_taken_over(tmp_path: Path) -> None:
    """Killed between its claim and its run: the next process here has the issue at once."""
    board, wall = MemoryBoard(), Wall()

    def of(owner: str, place: str = "here") -> SharedClaims:
        return _shared(tmp_path / place, board, wall, owner, lambda one: one != "dead")

    assert await of("dead").claim("7", "7-aaaa")
    assert not await of("alive", "elsewhere").claim("7", "7-bbbb")
    assert await of("alive").claim("7", "7-cccc")
    assert "until" not in board.kept["7"]["claim/7-aaaa"]
    assert not await of("alive", "elsewhere").claim("7", "7-bbbb")
    assert list((tmp_path / "elsewhere").glob("*.json")) == [], "what was not taken leaves nothing"


async def test_a_release_that_nobody_heard_of(tmp_path: Path) -> None:
    """Where others cannot be told that an issue is free, the next claim here makes up for it."""

    class Faulty(MemoryBoard):
        down = False

        async def notes(self, issue: str) -> Sequence[tuple[str, str]]:
            if self.down:
                raise TrackerError("502")
            return await super().notes(issue)

    board, wall = Faulty(), Wall()
    claims = _shared(tmp_path / "here", board, wall, "one", lambda _: True)
    assert await claims.claim("7", "7-aaaa")
    board.down = True
    with pytest.raises(TrackerError):
        await claims.release("7", "7-aaaa")
    board.down = False
    assert not await _shared(tmp_path / "b", board, wall, "b", lambda _: True).claim("7", "7-b")
    assert await claims.claim("7", "7-bbbb")
    assert "until" not in board.kept["7"]["claim/7-aaaa"]
    board.down = True
    with pytest.raises(TrackerError):
        await claims.claim("7", "7-bbbb")
    board.down = False
    two = _shared(tmp_path / "here", board, wall, "two", lambda _: True)
    assert not await two.claim("7", "7-cccc"), "a renewal that failed gives nothing away"


async def test_a_live_process_here_is_asked_first(tmp_path: Path) -> None:
    """Of two processes of one state directory the second asks nobody else, and takes nothing."""
    board, wall = MemoryBoard(), Wall()
    assert await _shared(tmp_path, board, wall, "one", lambda _: True).claim("7", "7-aaaa")
    before = {key: dict(notes) for key, notes in board.kept.items()}
    assert not await _shared(tmp_path, board, wall, "two", lambda _: True).claim("7", "7-bbbb")
    assert board.kept == before


async def test_a_claim_is_renewed(given: Given) -> None:
    """A run that renews its claim has it for longer than one claim holds."""
    for _ in range(4):
        assert await given.claims.claim("7", "7-aaaa")
        given.wall.now += HOURS * 3600 / 2
        assert not await given.other.claim("7", "7-bbbb")


async def test_one_of_two_has_it(given: Given) -> None:
    """Who comes second is told so; another issue is free."""
    assert await given.claims.claim("7", "7-aaaa")
    assert not await given.other.claim("7", "7-bbbb")


async def test_the_same_run_has_it_again(given: Given) -> None:
    """A run that is taken up again still has its issue."""
    assert await given.claims.claim("7", "7-aaaa")
    assert await given.other.claim("7", "7-aaaa")


async def test_released_it_is_free(given: Given) -> None:
    """After the end somebody else may have it; a stranger's release changes nothing."""
    assert await given.claims.claim("7", "7-aaaa")
    await given.other.release("7", "7-bbbb")
    assert not await given.other.claim("7", "7-bbbb")
    await given.claims.release("7", "7-aaaa")
    await given.claims.release("7", "7-aaaa")
    assert await given.other.claim("7", "7-bbbb")


async def test_a_stale_claim_ends(given: Given) -> None:
    """A claim that nobody renews holds nothing after its time."""
    assert await given.claims.claim("7", "7-aaaa")
    given.wall.now += HOURS * 3600 - 60
    assert not await given.other.claim("7", "7-bbbb")
    given.wall.now += 120
    assert await given.other.claim("7", "7-bbbb")
    assert not await given.claims.claim("7", "7-aaaa")


async def test_many_at_once(given: Given) -> None:
    """Of many that ask at the same moment at most one has it."""
    had: list[str] = []

    async def ask(claims: Claims, run: str) -> None:
        if await claims.claim("7", run):
            had.append(run)

    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(ask, (given.claims, given.other)[number % 2], f"7-{number}")
    assert len(had) == 1


async def test_the_older_note_wins() -> None:
    """Of two that wrote before either had read, the one whose note stands first has it."""
    board, wall = MemoryBoard(), Wall()
    claims = NoteClaims(board, hours=HOURS, clock=wall)
    assert await claims.claim("8", "8-old")
    text = board.kept["8"]["claim/8-old"]

    def other() -> None:
        board.between = lambda: None
        board.kept["7"] = {"claim/7-bbbb": text, **board.kept["7"]}

    board.between = other
    assert not await claims.claim("7", "7-aaaa")
    assert "until" not in board.kept["7"]["claim/7-aaaa"]
    assert board.kept["7"]["claim/7-bbbb"] == text


async def test_a_note_that_cannot_be_read_back() -> None:
    """Where our own note does not show, nobody can tell, and nothing is begun."""
    claims = NoteClaims(MemoryBoard(deaf=True), hours=HOURS, clock=Wall())
    with pytest.raises(TrackerError, match="cannot be read back"):
        await claims.claim("7", "7-aaaa")


async def test_a_strangers_note_takes_nothing() -> None:
    """On GitHub only notes of accounts that may write count."""
    async with on_github() as stage:
        stage.github.issues[7] = issue(7)
        text = "<!-- orchestrate: claim/7-evil -->\nuntil 2026-06-01T00:00:00Z"
        stage.github.say(7, "mallory", text)
        claims = NoteClaims(GitHubNotes(stage.project), hours=HOURS, clock=Wall())
        assert await claims.claim("7", "7-aaaa")


@pytest.mark.parametrize("kind", BOARDS)
async def test_strangers_and_texts_of_ours_take_nothing(kind: str, tmp_path: Path) -> None:
    """Neither a stranger's copy of a note, nor one inside of something that we wrote, holds."""
    async with on_stage(kind, tmp_path) as stage:
        stage.put(7)
        claims = NoteClaims(board_on(kind, stage.tracker), hours=HOURS, clock=Wall())
        assert await claims.claim("7", "7-aaaa")
        copied = next(iter(stage.talk(7)))
        await claims.release("7", "7-aaaa")
        stage.say(7, "eve", copied.replace("7-aaaa", "7-evil"))
        issue = await stage.tracker.fetch("7")
        await stage.tracker.report(issue, an_outcome(run="7-cccc", summary=f"{copied}\n"))
        assert await claims.claim("7", "7-bbbb")


@pytest.mark.parametrize("kind", BOARDS)
@pytest.mark.parametrize("key", ["7/../8", "acme/other#7", "XYZ-7", ""])
async def test_no_other_issues_notes_are_touched(kind: str, key: str, tmp_path: Path) -> None:
    """What is no key of the project is refused before anything is asked."""
    async with on_stage(kind, tmp_path) as stage:
        board = board_on(kind, stage.tracker)
        with pytest.raises(IssueNotFound):
            await board.notes(key)
        with pytest.raises(IssueNotFound):
            await board.note(key, "claim/7-aaaa", "mine")
        assert stage.server is not None and stage.server.asked == []


@pytest.mark.parametrize("kind", BOARDS)
@pytest.mark.parametrize("fault", ["lost", "cut"])
async def test_a_note_whose_answer_is_lost_is_not_doubled(
    kind: str, fault: Any, tmp_path: Path
) -> None:
    """It is looked for before it is written again, and edited in its place."""
    async with on_stage(kind, tmp_path) as stage:
        stage.put(7)
        board = board_on(kind, stage.tracker)
        assert stage.server is not None
        where = "commentCreate" if kind == "linear" else ""
        stage.server.faults.append(Fault(fault, "POST", body=where))
        for text in ("one", "two"):
            await board.note("7", "claim/7-aaaa", text)
        await board.note("7", "claim/7-bbbb", "three")
        found = await board.notes("7")
        assert [marker for marker, _ in found] == ["claim/7-aaaa", "claim/7-bbbb"]
        assert "two" in found[0][1] and len(stage.talk(7)) == 2
        assert stage.server.faults[0].times == 0


async def test_a_dead_process_has_nothing(tmp_path: Path) -> None:
    """A file of a process that is gone does not hold an issue up."""
    wall = Wall()

    def of(owner: str) -> FileClaims:
        return FileClaims(
            tmp_path,
            repo="r",
            hours=HOURS,
            clock=wall,
            owner=owner,
            is_alive=lambda one: one != "dead",
        )

    assert await of("dead").claim("7", "7-aaaa")
    assert await of("alive").claim("7", "7-bbbb")
    (tmp_path / next(iter(tmp_path.glob("*.json"))).name).write_text("[", encoding="utf-8")
    assert await of("alive").claim("7", "7-cccc")
