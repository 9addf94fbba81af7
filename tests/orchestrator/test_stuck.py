"""Repetition that leads nowhere is noticed; repetition that is work is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest

from orchestrator.events import (
    AUTHOR,
    CallSummary,
    Event,
    ModelReplied,
    Prompted,
    SnapshotTaken,
    ToolsReturned,
)
from orchestrator.records import Usage
from orchestrator.session import calls_of
from orchestrator.settings import StuckSettings
from orchestrator.stuck import Finding, Watch
from orchestrator.transcript import encode_message, result_block, text_block
from orchestrator_tools.contract import text_result

Call = tuple[str, dict[str, Any], str, bool]
"""Tool, arguments, result, whether it is an error."""

RED = "Exit code 1\nE   assert total == 5\n1 failed in 0.52s"


def bash(command: str, said: str = "", *, failed: bool = False) -> Call:
    """Build a command and what it prints."""
    return "Bash", {"command": command}, said, failed


def read(path: str, said: str = "text", **more: Any) -> Call:
    """Build a Read."""
    return "Read", {"file_path": path, **more}, said, False


def edit(path: str, new: str, *, failed: bool = False) -> Call:
    """Build an Edit."""
    said = "old_string was not found" if failed else "edited"
    return "Edit", {"file_path": path, "old_string": "a", "new_string": new}, said, failed


class Play:
    """A session of turns, fed to a watch as it happens; and the events of it."""

    def __init__(self, *, writes: bool = True, **settings: int) -> None:
        self.settings = replace(StuckSettings(), **settings)
        self.writes = writes
        self.watch = Watch(self.settings, writes=writes)
        self.events: list[Event] = []
        self.found: list[Finding] = []
        self.turn = 0

    def turns(self, *turns: Sequence[Call], took: float = 0.1) -> Play:
        """Play turns, each of some calls."""
        for calls in turns:
            self.turn += 1
            blocks = [
                {"type": "tool_use", "id": f"c{self.turn}_{n}", "name": tool, "input": given}
                for n, (tool, given, _, _) in enumerate(calls)
            ]
            reply = ModelReplied(
                AUTHOR, self.turn, encode_message("assistant", blocks), "tool_use", Usage(), 0.0
            )
            results = [
                result_block(f"c{self.turn}_{n}", text_result(said, is_error=failed))
                for n, (_, _, said, failed) in enumerate(calls)
            ]
            self._heard(
                self.watch.returned(self.turn, calls_of(reply), results, took=[took for _ in calls])
            )
            done = tuple(CallSummary(tool, "", failed, took) for tool, _, _, failed in calls)
            message = encode_message("user", results)
            self.events += [reply, ToolsReturned(AUTHOR, self.turn, message, done)]
        return self

    def says(self, times: int) -> Play:
        """Have replies come that use no tool."""
        for _ in range(times):
            self.turn += 1
            message = encode_message("assistant", [text_block("I shall now begin.")])
            self.events.append(ModelReplied(AUTHOR, self.turn, message, "max_tokens", Usage(), 0.0))
            self._heard(self.watch.said(self.turn))
        return self

    def tree(self, name: str) -> Play:
        """Have a state of the workspace be kept after the last turn."""
        self.watch.tree(self.turn, name)
        self.events.append(SnapshotTaken(AUTHOR, self.turn, name))
        return self

    def prompted(self, cause: str) -> Play:
        """Have the agent be sent back to work."""
        self.watch.prompted(cause)
        message = encode_message("user", [text_block("Again.")])
        self.events.append(Prompted(AUTHOR, self.turn + 1, message, cause))  # type: ignore[arg-type]
        return self

    def _heard(self, found: Finding | None) -> None:
        if found is not None:
            self.found.append(found)

    def kinds(self) -> list[tuple[str, int, bool]]:
        """Return what was found: kind, count, and whether it ends the run."""
        return [(one.kind, one.count, one.final) for one in self.found]


# -- what leads nowhere ----------------------------------------------------------------------


def test_the_same_call_with_the_same_result() -> None:
    """The agent is told at the third time, and the run ends at the fifth, with the evidence."""
    play = Play().turns([read("b.py")], *[[bash("make x", "no rule", failed=True)]] * 5)
    assert play.kinds() == [("same", 3, False), ("same", 5, True)]
    last = play.found[-1]
    assert last.since == 2
    assert last.evidence == (
        "the same call gave the same result 5 times since turn 2 (Bash: make x)"
    )
    assert play.found[0].nudge.startswith("The same call gave the same result 3 times")


def test_times_that_tests_took_are_no_difference() -> None:
    """The same failure is the same however long it took to come."""
    runs = [[bash("pytest -q", f"1 failed in 0.{n}1s", failed=True)] for n in range(5)]
    assert ("same", 5, True) in Play().turns(*runs).kinds()


def test_what_is_said_beside_a_command_is_no_difference() -> None:
    """The same command under another description is the same."""
    runs: list[list[Call]] = [
        [("Bash", {"command": "ls", "description": f"Look {n}"}, "a b", False)] for n in range(5)
    ]
    assert Play().turns(*runs).kinds() == [("same", 3, False), ("same", 5, True)]


def test_alternation() -> None:
    """A, B, A, B with the same results is told at the third round and ends at the fifth."""
    a, b = [edit("a.py", "x")], [edit("a.py", "y")]
    play = Play().turns(*[a, b] * 5)
    assert play.kinds() == [("cycle", 3, False), ("cycle", 5, True)]
    assert play.found[-1].what == "Edit: a.py; Edit: a.py" and play.found[-1].since == 1


def test_a_cycle_of_three() -> None:
    """Longer cycles are seen as well."""
    cycle = [[read("a")], [read("b")], [bash("make", "nothing to be done")]]
    assert Play().turns(*cycle * 5).kinds() == [("cycle", 3, False), ("cycle", 5, True)]


def test_the_same_error_from_other_calls() -> None:
    """An edit that never finds its text is seen, whatever is looked at in between."""
    turns: list[list[Call]] = []
    for n in range(6):
        turns += [[edit("a.py", str(n), failed=True)], [read("a.py", f"page {n}")]]
    kinds = Play().turns(*turns).kinds()
    assert kinds == [("error", 3, False), ("error", 6, True)]


def test_nothing_changes_for_long() -> None:
    """An agent that is there to change files and reads on and on is told, then stopped."""
    play = Play(idle_turns=10).turns(*[[read(f"{n}.py", f"text {n}")] for n in range(10)])
    assert play.kinds() == [("idle", 5, False), ("idle", 10, True)]
    assert play.found[-1].evidence == "no file has changed for 10 turns, since turn 1"


def test_talk_without_a_tool() -> None:
    """Replies that only talk, and are cut or paused again and again, come to an end."""
    assert Play().turns([read("a")]).says(4).kinds() == [("talk", 2, False), ("talk", 4, True)]


def test_who_has_done_nothing_is_asked_once() -> None:
    """An agent that ends without one call is asked to act, once; a reviewer is not."""
    play = Play().says(1)
    assert play.watch.only_talked()
    assert not play.prompted("stuck").watch.only_talked()
    assert not Watch(StuckSettings(), writes=True, answers=True).only_talked()
    assert not Play(writes=False).says(1).watch.only_talked()
    assert not Play().turns([read("a")]).says(1).watch.only_talked()


# -- what is work ----------------------------------------------------------------------------


def test_polling_whose_output_changes() -> None:
    """A test run that is looked at again and again, and goes on, is no circle."""
    polls = [[bash("sleep 20; tail -n 3 out.log", f"[{n}%] ok")] for n in range(40)]
    assert Play().turns(*polls).found == []


def test_polling_whose_output_stands_for_a_while() -> None:
    """A command in the background that says nothing for a while is waited for."""
    polls = [[bash("sleep 30; tail -n 3 out.log", "Building...")]] * 9
    assert Play().turns(*polls, [bash("tail -n 3 out.log", "Done.")]).found == []


def test_waiting_and_looking_by_turns() -> None:
    """To sleep, then to look, is waiting as well."""
    polls = [[bash("sleep 60")], [bash("cat out.log", "Building...")]] * 9
    assert Play().turns(*polls).found == []


def test_waiting_for_ever_ends() -> None:
    """What is waited for without end is told in the end."""
    polls = [[bash("sleep 30; tail -n 3 out.log", "Building...")]] * 20
    assert Play().turns(*polls).kinds() == [("same", 10, False), ("same", 20, True)]


def test_paging_through_a_file() -> None:
    """Page after page of one file is reading."""
    pages = [[read("long.py", f"page {n}", offset=n * 100, limit=100)] for n in range(30)]
    assert Play().turns(*pages).found == []


def test_tests_after_each_edit() -> None:
    """A test that still fails after each of many edits is work on it."""
    turns: list[list[Call]] = []
    for n in range(30):
        turns += [[edit("a.py", f"v{n}")], [bash("pytest -q", RED, failed=True)]]
    assert Play().turns(*turns).found == []


def test_tests_beside_each_edit() -> None:
    """The same where edit and test are calls of one turn."""
    turns = [[edit("a.py", f"v{n}"), bash("pytest -q", RED, failed=True)] for n in range(30)]
    assert Play().turns(*turns).found == []


def test_tests_after_changes_by_commands() -> None:
    """Commands that change files count as changes: the workspace's state tells."""
    play = Play()
    for n in range(20):
        play.turns([bash(f"sed -i s/{n}/{n + 1}/ a.py")]).tree(f"{2 * n}:aa{n}")
        play.turns([bash("pytest -q", RED, failed=True)]).tree(f"{2 * n}:aa{n}")
    assert play.found == []


def test_reading_many_files_at_first() -> None:
    """A large repository is read for a good while before the first change."""
    play = Play().turns(*[[read(f"{n}.py", f"text {n}")] for n in range(39)], [edit("1.py", "x")])
    assert play.turns(*[[read(f"{n}.py", f"text {n}")] for n in range(39)]).found == []


def test_searches_that_find_nothing() -> None:
    """A search that exits with 1 and no output has not failed."""
    turns = [[bash(f"grep -r word{n} .", "Exit code 1", failed=True)] for n in range(12)]
    assert Play().turns(*turns).found == []


def test_a_command_that_moves_on_each_time() -> None:
    """The same command with the same words may be progress where files change with it."""
    play = Play()
    for n in range(12):
        play.turns([bash("make step", "ok")]).tree(f"{n}:{n:x}")
    assert [one.final for one in play.found] in ([], [False])


def test_other_results_break_a_streak() -> None:
    """Two times twice is not four times."""
    same, other = [bash("make", "x")], [bash("make", "y")]
    assert Play().turns(same, same, other, same, same, other, other).found == []


def test_new_work_begins_anew() -> None:
    """What was repeated before the gates' findings does not count after them."""
    same = [bash("make", "x")]
    assert Play().turns(same, same).prompted("gates").turns(same, same).found == []


@pytest.mark.parametrize(
    "change", [{"same": 0}, {"cycles": 0}, {"errors": 0}, {"idle_turns": 0}, {"talk": 0}]
)
def test_each_kind_can_be_switched_off(change: dict[str, int]) -> None:
    """A threshold of 0 switches one kind off and leaves the others."""
    play = Play()
    play.watch = Watch(replace(StuckSettings(), **change), writes=True)
    play.turns(*[[edit("a.py", str(n), failed=True)] for n in range(90)])
    play.turns(*[[bash("make x", "nothing")]] * 6)
    play.turns(*[[read("a")], [read("b")]] * 10).says(6)
    kind = {"cycles": "cycle", "errors": "error", "idle_turns": "idle"}.get(
        next(iter(change)), next(iter(change))
    )
    found = {one.kind for one in play.found}
    assert kind not in found
    assert found == {"same", "cycle", "error", "idle", "talk"} - {kind}


# -- rebuilt from events ---------------------------------------------------------------------


def long_play() -> Play:
    """Play all kinds of repetition, one after the other."""
    play = Play(idle_turns=30)
    play.turns([read("a")], *[[bash("make x", "no rule", failed=True)]] * 4).tree("5:aa")
    play.turns(*[[edit("a.py", "x")], [edit("a.py", "y")]] * 4).tree("13:bb").says(3)
    play.prompted("gates").turns(*[[read(f"{n}", "t")] for n in range(20)])
    return play


@pytest.mark.parametrize("at", range(0, 80, 7))
def test_a_rebuilt_watch_stands_where_the_old_one_stood(at: int) -> None:
    """Fed with the events so far, a new watch finds from there on what the old one found."""
    play = long_play()
    events = play.events[:at]
    if events and isinstance(events[-1], ModelReplied):
        events.append(play.events[at])  # results are journaled with what follows them
    rebuilt = Watch.rebuilt(play.settings, AUTHOR, events, writes=True)
    whole = Watch.rebuilt(play.settings, AUTHOR, play.events, writes=True)
    rest = play.events[len(events) :]
    continued = _continued(rebuilt, rest)
    end = [[bash("make y", "no")]] * 5
    assert _after(continued, end) == _after(whole, end)


def _continued(watch: Watch, events: Sequence[Event]) -> Watch:
    pending: dict[int, ModelReplied] = {}
    for event in events:
        match event:
            case ModelReplied():
                pending[event.turn] = event
                if not calls_of(event):
                    watch.said(event.turn)
            case ToolsReturned():
                watch.returned(
                    event.turn,
                    calls_of(pending[event.turn]),
                    orjson.loads(event.message)["content"],
                    took=[one.duration_s for one in event.calls],
                )
            case SnapshotTaken():
                watch.tree(event.turn, event.snapshot)
            case Prompted():
                watch.prompted(event.cause)
            case _:
                pass
    return watch


def _after(watch: Watch, turns: Sequence[Sequence[Call]]) -> list[tuple[str, int, int, bool]]:
    play = Play()
    play.watch, play.turn = watch, 100
    play.turns(*turns)
    return [(one.kind, one.count, one.since, one.final) for one in play.found]


def test_a_turn_costs_the_same_however_many_came_before() -> None:
    """What a watch keeps does not grow with the turns that it has seen."""

    def size(play: Play) -> int:
        kept: Callable[[Any], int] = len
        return sum(
            kept(value)
            for name in ("_last", "_cycles", "_errors", "_calls")
            for value in [getattr(play.watch, name)]
        )

    few = Play(idle_turns=0).turns(*[[read(f"{n}", f"{n}")] for n in range(20)])
    many = Play(idle_turns=0).turns(*[[read(f"{n}", f"{n}")] for n in range(400)])
    assert size(few) == size(many)
