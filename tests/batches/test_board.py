"""What is shown of a night while it goes on: rows, totals, lines, a heartbeat; and the table."""

from __future__ import annotations

import io
import re

import pytest

from orchestrator.batches.board import Board, event_words, night_words
from orchestrator.batches.nights import (
    Fate,
    IssueBegun,
    IssueEnded,
    IssuePassedOver,
    IssueTriedAgain,
    NightBegun,
    NightEvent,
    NightStopping,
    TurnsGathered,
    TurnsReadBack,
    TurnsSent,
)
from orchestrator.batches.views import NightView
from orchestrator.cli.nightshow import COLUMNS, SPARE
from orchestrator.events import Notice, ToolOutput, ToolStarted, Waiting
from orchestrator.sinks.table import LiveTable
from tests.batches.nights_of import BEGAN, HOSTILE, REPO, a_night, a_plan
from tests.builders import a_reply_event


def a_board(count: int = 3, *events: NightEvent) -> Board:
    """Build the board of a night that has begun."""
    night = a_night(a_plan(count), until=BEGAN + 3600, lane="now")
    return Board(NightView(night, [NightBegun(1, night, BEGAN), *events]))


def begun(board: Board, issue: str, at: float = BEGAN) -> None:
    """Have an issue begin."""
    run = f"{issue}-run"
    board.view.apply(IssueBegun(REPO, issue, 1, run, at))
    board.begun((REPO, issue), run, at)


def test_a_row_tells_turn_last_event_its_age_and_dollars() -> None:
    """What a run does moves its row; what tells nothing does not."""
    board = a_board()
    begun(board, "2")
    board.look((REPO, "2"), "2-run", a_reply_event("I look at it", turn=3), BEGAN + 10)
    board.look((REPO, "2"), "2-run", ToolStarted(3, "Bash", "run the tests"), BEGAN + 20)
    board.look((REPO, "2"), "2-run", ToolOutput(3, "Bash", "..."), BEGAN + 25)
    (row,) = board.rows(BEGAN + 50)
    assert (row.issue, row.turn, row.said, row.age_s) == ("2", 3, "Bash run the tests", 30)
    assert row.usd == 0.01
    assert row.lane == "now"
    assert board.spent_usd == 0.01


def test_a_reviewers_turns_are_not_the_issues() -> None:
    """Money of all sessions counts, turns of the author's alone."""
    board = a_board()
    begun(board, "1")
    board.look((REPO, "1"), "1-run", a_reply_event(turn=4), BEGAN)
    board.look((REPO, "1"), "1-run", a_reply_event(turn=9, session="review/1"), BEGAN)
    assert [(row.turn, row.usd) for row in board.rows(BEGAN)] == [(4, 0.02)]


def test_a_turn_that_waits_in_a_batch_says_so() -> None:
    """The lane of a run is where its turn is now."""
    board = a_board()
    begun(board, "1")
    begun(board, "2")
    board.view.apply(TurnsGathered(1, ("a",), ("1-run",), BEGAN))
    assert [row.lane for row in board.rows(BEGAN)] == ["batch", "now"]
    assert "1 turn in batches" in board.totals(BEGAN)
    board.view.apply(TurnsSent(1, "msgbatch_1", BEGAN))
    board.view.apply(TurnsReadBack(1, 1, 0, BEGAN))
    assert [row.lane for row in board.rows(BEGAN)] == ["now", "now"]


def test_totals_count_what_runs_have_cost_so_far() -> None:
    """Money of ended and running issues, the time that is left, how many have which fate."""
    board = a_board()
    begun(board, "1")
    begun(board, "2")
    fate = Fate("done", status="done", run="1-run", usd=1.5, turns=9)
    board.view.apply(IssueEnded(REPO, "1", 1, fate, BEGAN + 60))
    board.ended((REPO, "1"), BEGAN + 60)
    board.look((REPO, "2"), "2-run", a_reply_event(cost_usd=0.25), BEGAN + 61)
    assert board.progress() == (1, 3)
    assert board.totals(BEGAN + 600) == (
        "1 done, 1 being worked on, 1 not begun; $1.75 of $40.00; since 10 min; 50 min left"
    )


def test_a_heartbeat_tells_silence_from_work() -> None:
    """It says when something last happened, and who has been silent."""
    board = a_board()
    begun(board, "1")
    board.look((REPO, "1"), "1-run", Waiting("529 overloaded", 30), BEGAN + 5)
    assert "last event 5 s ago" in board.heartbeat(BEGAN + 10)
    assert "silent" not in board.heartbeat(BEGAN + 10)
    assert "1 is silent for 2 min (waits 30 s: 529 overloaded)" in board.heartbeat(BEGAN + 125)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (IssueBegun(REPO, "1", 1, "1-a", BEGAN), "1 begins: backend-engineer, run 1-a: Issue"),
        (IssueBegun(REPO, "1", 2, "1-a", BEGAN), "1 begins: backend-engineer, run 1-a, try 2:"),
        (
            IssueEnded(REPO, "1", 1, Fate("done", usd=1, turns=3, wall_s=60, branch="f/1"), BEGAN),
            "1 done ($1.00, 3 turns, 60 s, f/1)",
        ),
        (
            IssueEnded(REPO, "1", 1, Fate("not_done", status="gate_failed", said="tests"), BEGAN),
            "1 not done: a gate failed ($0.00, 0 turns, 0 s): tests",
        ),
        (
            IssuePassedOver(REPO, "1", 1, Fate("passed_over", why="ceiling"), BEGAN),
            "1 passed over: the night's ceiling was reached",
        ),
        (
            IssueTriedAgain(REPO, "1", 1, Fate("infrastructure", said="529"), 30.0, BEGAN),
            "1 is tried again in 30 s: 529",
        ),
        (NightStopping(1, "until", BEGAN), "nothing more is begun: its time is over"),
    ],
)
def test_what_happens_is_a_line(event: NightEvent, said: str) -> None:
    """Each event of a night is told in one line."""
    board = a_board(3, IssueBegun(REPO, "1", 1, "1-a", BEGAN))
    assert night_words(event, board.view).startswith(said)


def test_what_is_told_of_a_runs_events() -> None:
    """Words of the model, tools and notices are told; what says nothing is not."""
    assert event_words(a_reply_event("I look")) == "I look"
    assert event_words(Notice("low on disk")) == "low on disk"
    assert event_words(ToolOutput(1, "Bash", "x")) == ""


class Terminal(io.StringIO):
    """What a terminal is given."""

    def isatty(self) -> bool:
        return True


def drawn(*, colour: bool, rows: int, evil: str = "") -> str:
    """Draw a table once and return all that the terminal was given."""
    stream = Terminal()
    with LiveTable(stream, colour=colour, columns=("issue", ">turn", "last event*")) as table:
        table.say(f"a line {evil}")
        cells = [(str(number), "3", f"does it {evil}") for number in range(rows)]
        table.draw(cells, done=1, total=4, totals=f"1 done {evil}")
    return stream.getvalue()


def test_the_table_is_drawn_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows, totals and lines are there; the table goes away at the end, and lines stay."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    text = drawn(colour=False, rows=2)
    assert "a line" in text
    assert "last event" in text
    assert "1 done" in text
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", text)
    assert re.search(r"\x1b\[[0-9;]*3[0-9]m|\x1b\[1m", drawn(colour=True, rows=2))


@pytest.mark.parametrize(
    ("width", "left"),
    [
        (80, "issue agent turn last event age dollars lane"),
        (50, "issue agent turn last event dollars"),
        (44, "issue agent last event dollars"),
        (40, "issue last event dollars"),
        (14, "issue dollars"),
    ],
)
def test_a_narrow_terminal_goes_without_columns(
    monkeypatch: pytest.MonkeyPatch, width: int, left: str
) -> None:
    """Issue and money are whole to the last; what matters less is left out before."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("LINES", "24")
    stream = Terminal()
    with LiveTable(stream, colour=False, columns=COLUMNS, spare=SPARE) as table:
        row = ("17", "backend-engineer", "12", "Bash pytest -q tests", "3 s", "$0.0412", "batch")
        table.draw([row], done=1, total=4, totals="")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert " ".join(text.split("17")[0].split()) == left
    assert "$0.0412" in text


def test_more_rows_than_lines_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table is never taller than the terminal, and says what it leaves out."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "12")
    text = drawn(colour=False, rows=40)
    assert "and 34 more" in text
    assert text.count("does it") == 2 * 6  # drawn, and once more when it is taken away


@pytest.mark.parametrize("evil", HOSTILE)
def test_text_of_anybody_moves_nothing_on_the_terminal(
    evil: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Escapes, controls, directions and markup of others are shown as text or not at all."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    usual = set(re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[^\[]|[\x00-\x08\x0b\x0c\x0e-\x1a]",
                           drawn(colour=True, rows=1, evil="x")))  # fmt: skip
    found = re.findall(
        r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[^\[]|[\x00-\x08\x0b\x0c\x0e-\x1a]",
        drawn(colour=True, rows=1, evil=f"{evil} [red]x[/red]"),
    )
    assert set(found) <= usual
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x07]", drawn(colour=False, rows=1, evil=evil))
