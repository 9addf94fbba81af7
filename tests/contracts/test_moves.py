"""How trackers show how far work is, each in its own words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import IssueNotFound, TrackerError
from orchestrator.ports import Closing, IssueStates
from orchestrator.settings import MoveSettings
from tests.forges.server import Fault
from tests.forges.stages import MOVES, REMOTE, Stage, on_stage

pytestmark = pytest.mark.asyncio

each = pytest.mark.parametrize("kind", REMOTE)
STATES = {"jira", "jira-cloud", "linear"}


async def shown(stage: Stage, kind: str) -> set[str]:
    """Return what an issue shows of all that can show how far work is."""
    assert stage.server is not None
    service: Any = stage.server.service
    words = {MOVES.working, MOVES.delivered, MOVES.released}
    if kind == "linear":
        return {service.issues["ABC-7"]["state"]["name"]} & words
    if kind in STATES:
        return {service.issues["ABC-7"]["fields"]["status"]["name"]} & words
    return set((await stage.tracker.fetch("7")).labels) & words


def changes(stage: Stage) -> int:
    """Return how many changes were asked for."""
    assert stage.server is not None
    asked = [one for one in stage.server.asked if one.method != "GET"]
    return sum(one.path != "/graphql" or "mutation" in one.body["query"] for one in asked)


@each
async def test_an_issue_shows_how_far_work_is(kind: str, tmp_path: Path) -> None:
    """One stage is shown at a time; to show it again nothing is sent."""
    async with on_stage(kind, tmp_path) as stage:
        stage.put(7, labels=["bug"])
        tracker: Any = stage.tracker
        assert isinstance(stage.tracker, IssueStates)
        assert isinstance(stage.tracker, Closing)
        issue = await tracker.fetch("7")
        for to, word in (("working", "In Progress"), ("delivered", "In Review")):
            await tracker.move(issue, to)
            assert await shown(stage, kind) == {word}
            before = changes(stage)
            await tracker.move(issue, to)
            assert changes(stage) == before
        await tracker.move(issue, "failed")  # has no name
        assert await shown(stage, kind) == ({"In Review"} if kind in STATES else set())
        await tracker.move(issue, "released")
        assert await shown(stage, kind) == {"To Do"}
        assert "bug" in (await tracker.fetch("7")).labels


@each
async def test_without_names_nothing_is_sent(kind: str, tmp_path: Path) -> None:
    """Who has named no stage is asked nothing."""
    async with on_stage(kind, tmp_path) as stage:
        stage.put(7)
        issue = await stage.tracker.fetch("7")
        stage.tracker._moves = MoveSettings()
        assert stage.server is not None
        before = len(stage.server.asked)
        await stage.tracker.move(issue, "working")
        assert len(stage.server.asked) == before


@each
async def test_what_a_person_closed_stays_so(kind: str, tmp_path: Path) -> None:
    """A closed issue shows no new stage, and the label of the last one goes."""
    async with on_stage(kind, tmp_path) as stage:
        stage.put(7)
        issue = await stage.tracker.fetch("7")
        await stage.tracker.move(issue, "working")
        stage.put(7, closed=True, labels=[] if kind in STATES else ["In Progress"])
        await stage.tracker.move(issue, "delivered")
        assert (await stage.tracker.fetch("7")).state == "closed"
        assert await shown(stage, kind) == set()


@each
@pytest.mark.parametrize("fault", ["lost", "cut"])
async def test_a_lost_answer_moves_once(kind: str, fault: Any, tmp_path: Path) -> None:
    """Where nobody knows whether it was moved, it is looked at, or moved again without harm."""
    async with on_stage(kind, tmp_path) as stage:
        stage.put(7)
        issue = await stage.tracker.fetch("7")
        assert stage.server is not None
        method = "PUT" if kind == "gitlab" else "POST"
        where = "issueUpdate" if kind == "linear" else ""
        stage.server.faults.append(Fault(fault, method, body=where))
        await stage.tracker.move(issue, "working")
        assert await shown(stage, kind) == {"In Progress"}
        assert stage.server.faults[0].times == 0


@each
async def test_what_cannot_be_moved_is_told(kind: str, tmp_path: Path) -> None:
    """A state that is not there, and an issue that is gone, are errors of the tree."""
    async with on_stage(kind, tmp_path) as stage:
        stage.put(7)
        issue = await stage.tracker.fetch("7")
        if kind in STATES:
            stage.tracker._moves = MoveSettings(working="Nowhere")
            with pytest.raises(TrackerError, match="Nowhere") as told:
                await stage.tracker.move(issue, "working")
            assert "In Progress" in told.value.hint
        stage.tracker._moves = MOVES
        assert stage.server is not None
        service: Any = stage.server.service
        service.issues.clear()
        with pytest.raises(TrackerError):
            await stage.tracker.move(issue, "working")


@pytest.mark.parametrize("key", ["XYZ-7", "7/../8", "acme/other#7"])
@each
async def test_no_other_projects_issue_is_moved(kind: str, key: str, tmp_path: Path) -> None:
    """An issue with another project's key, as one that is waited for has, is left alone."""
    async with on_stage(kind, tmp_path) as stage:
        stage.put(7)
        issue = await stage.tracker.fetch("7")
        other = type(issue)(key=key, title="x", body="")
        before = changes(stage)
        with pytest.raises(IssueNotFound):
            await stage.tracker.move(other, "working")
        assert changes(stage) == before
