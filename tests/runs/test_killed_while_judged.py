"""A real process is killed while its work is merged, judged and reviewed, and goes on."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator.transcript import text_block
from tests.runs.conftest import BRANCH, CommandLine, git
from tests.runs.meddling import commits
from tests.runs.model_server import ModelServer, serve
from tests.runs.stage import MEND, NOTE
from tests.runs.test_killed import MOST_EVENTS, fresh, kill_after

PRICING = "shop/pricing.py"
RESOLVE = (
    "Bash",
    {"command": f"git checkout -q --ours {PRICING} && git add {PRICING} && git status --porcelain"},
)
FINDING = {
    "severity": "major",
    "file": PRICING,
    "line": 8,
    "problem": "Nobody can tell why.",
    "advice": "Write a note.",
}


def message(text: str, *calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Build an assistant message of some text and some calls."""
    blocks: list[dict[str, Any]] = [text_block(text)]
    for number, (tool, arguments) in enumerate(calls):
        call_id = f"toolu_{len(text)}_{tool}_{number}"
        blocks.append({"type": "tool_use", "id": call_id, "name": tool, "input": arguments})
    return {"role": "assistant", "content": blocks}


def verdict(*findings: dict[str, Any]) -> dict[str, Any]:
    """Build a reviewer's verdict."""
    return message("I judge.", ("verdict", {"summary": "I looked.", "findings": list(findings)}))


AUTHOR = [
    message("I mend it.", MEND),
    message("Mended."),
    message("I write a note.", NOTE, ("Bash", {"command": "cat NOTES.md"})),
    message("Noted."),
]
REVIEWS = {
    "review/1": [message("I read it.", ("Read", {"file_path": PRICING})), verdict(FINDING)],
    "review/2": [verdict()],
}


def reviewer_or_author(body: bytes, _: int) -> str:
    """Tell a session from a request: only reviewers have a verdict to give."""
    if b'"name":"verdict"' not in body:
        return "author"
    return "review/2" if b"NOTES.md" in body else "review/1"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """An author that is sent back by its first reviewer, and passes the second."""
    with serve(AUTHOR) as running:
        running.others = dict(REVIEWS)
        running.session_of = reviewer_or_author
        yield running


@pytest.fixture
def reviewing(orchestrate: CommandLine) -> CommandLine:
    """The command line of a user who wants reviews."""
    place = Path(orchestrate.environment["HOME"]) / ".config" / "orchestrate"
    place.mkdir(parents=True)
    # Enough money that a reply which is counted as lost shortens none that is asked for later.
    text = "review: {enabled: true, usd: 5}\ngates: {parallel: 2}\n"
    (place / "config.yaml").write_text(text, encoding="utf-8")
    return orchestrate


def go_on(
    line: CommandLine, server: ModelServer, before: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Resume, and check that nothing which was journaled is paid for or done again."""
    replied = {key for kind, key in before if kind == "ModelReplied"}
    asked_before = len(server.played)
    done = line.run("issue", "1", "--json")
    outcome: dict[str, Any] = json.loads(done.stdout or "{}")
    assert (outcome.get("status"), outcome.get("error")) == ("done", ""), (done.stderr, before)
    again = {one.key for one in server.played[asked_before:]}
    assert not replied & again, (sorted(replied & again), before)
    bodies: dict[str, set[bytes]] = {}
    for one in server.played:
        bodies.setdefault(one.key, set()).add(one.body)
    assert all(len(found) == 1 for found in bodies.values()), "asked again in other bytes"
    assert len(server.played) <= len(bodies) + 1
    assert [kind for kind, _ in line.events()].count("BranchSet") == 1
    keys = [key for _, key in line.events()]
    assert len(keys) == len(set(keys))
    return outcome


STEPS = pytest.mark.parametrize(
    "step",
    [pytest.param(3, id="sample"), pytest.param(1, id="every", marks=pytest.mark.heavy)],
)


def killed_everywhere(
    line_of: Callable[[int], CommandLine],
    server: ModelServer,
    begin: Callable[[CommandLine], None] = lambda _: None,
    *,
    first: int,
    step: int,
) -> set[tuple[str, int]]:
    """Kill a run at every so many events from one on; return its tree and number of reviews, each time."""
    found: set[tuple[str, int]] = set()
    for count in range(first, MOST_EVENTS + 20, step):
        line = line_of(count)
        server.played.clear()
        begin(line)
        status = kill_after(line, count)
        if status == 0:
            assert count > first + 8, "the run ended before it could be killed"
            return found
        assert status == -signal.SIGKILL
        outcome = go_on(line, server, line.events())
        tree = git(line.repo, "rev-parse", f"{BRANCH}^{{tree}}")
        found.add((tree, len(outcome["reviews"])))
    raise AssertionError("the run never came to its end")


@STEPS
def test_killed_around_gates_and_reviews(
    reviewing: CommandLine, server: ModelServer, tmp_path: Path, proved: Path, step: int
) -> None:
    """At any event of judging and reviewing: no verdict is lost, no reply is paid for twice."""
    found = killed_everywhere(
        lambda number: fresh(reviewing, tmp_path, number, proved), server, first=9, step=step
    )
    assert len(found) == 1
    assert found.pop()[1] == 2


@STEPS
def test_killed_around_a_conflict(
    orchestrate: CommandLine, server: ModelServer, tmp_path: Path, proved: Path, step: int
) -> None:
    """At any event around a merge that conflicts: its state is there again, and ends the same."""
    server.messages = [*AUTHOR[:2], message("I resolve it.", RESOLVE), message("Resolved.")]
    moved: list[Callable[[], str]] = []

    def begin(line: CommandLine) -> None:
        text = (line.repo / PRICING).read_text(encoding="utf-8")
        other = text.replace("amount > ", "200 < amount or amount > ")
        moved[:] = [commits(line.repo, PRICING, other)]

    def session_of(_: bytes, turn: int) -> str:
        if turn == 2 and moved:
            moved.pop()()
        return "author"

    server.session_of = session_of
    found = killed_everywhere(
        lambda number: fresh(orchestrate, tmp_path, number, proved),
        server,
        begin,
        first=9,
        step=step,
    )
    assert len(found) == 1


@pytest.mark.parametrize("turn", [1, 2])
def test_killed_while_a_reviewer_is_awaited(
    reviewing: CommandLine, server: ModelServer, turn: int
) -> None:
    """The reviewer's request in flight is the only one that is made again, in the same bytes."""

    def hold(body: bytes, number: int) -> str:
        session = reviewer_or_author(body, number)
        if (session, number) == ("review/1", turn):
            server.held.add(number)
        return session

    server.session_of = hold
    process = reviewing.start("issue", "1")
    assert server.waiting.wait(60)
    process.kill()
    process.communicate(timeout=30)
    server.session_of = reviewer_or_author
    server.held.clear()
    outcome = go_on(reviewing, server, reviewing.events())
    assert [one["state"] for one in outcome["reviews"]] == ["failed", "passed"]
    asked = [one.key for one in server.played]
    assert (
        sorted(key for key in asked if asked.count(key) > 1) == [f"review/1/turn/{turn}/reply"] * 2
    )
    # The first one was never answered, and counts as spent with what it was reserved at.
    assert outcome["cost_usd"] > sum(one["cost_usd"] for one in outcome["reviews"])
