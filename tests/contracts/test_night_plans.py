"""The plan of a night over every tracker: labels, keys and ranges, blockers, what is closed."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.assembly.nightplans import NightWish, plan_night
from orchestrator.batches.nights import Wanted
from orchestrator.batches.wanted import keys_of
from orchestrator.errors import ConfigError
from orchestrator.repository import locate
from tests.builders import a_repository
from tests.forges.stages import KINDS, on_stage

pytestmark = pytest.mark.asyncio
each = pytest.mark.parametrize("kind", KINDS)
TEXT = "The business rule of the discount on a cart is wrong in the backend."


@each
async def test_a_label_brings_what_is_open_with_its_blockers(kind: str, tmp_path: Path) -> None:
    """Open issues of the label are planned, blockers first; what waits for others is told."""
    repo = a_repository(tmp_path / "shop")
    async with on_stage(kind, tmp_path) as stage:
        stage.put(3, labels=["ready"], body=TEXT)
        stage.put(4, labels=["ready", "urgent"], body=TEXT, blockers=[3])
        stage.put(5, labels=["ready"], body=TEXT, blockers=[6])
        stage.put(6, labels=["other"], body=TEXT)
        stage.put(7, labels=["ready"], body=TEXT, closed=True)
        here = locate(repo).id
        wish = NightWish((repo,), Wanted(labels=("ready",)))
        found = await plan_night(
            wish, state=tmp_path / "none", trackers={here: stage.tracker}, environment={}
        )
        assert [one.issue for one in found.plan] == [stage.key(3), stage.key(4), stage.key(5)]
        assert found.plan[1].blocked_by == (stage.key(3),)
        assert list(found.hindered) == [(here, stage.key(5))]
        assert stage.key(6) in found.hindered[here, stage.key(5)]


@each
async def test_keys_are_named_in_the_trackers_own_way(kind: str, tmp_path: Path) -> None:
    """Ranges of keys are spelled out as the tracker writes them; what is not there is told."""
    repo = a_repository(tmp_path / "shop")
    async with on_stage(kind, tmp_path) as stage:
        for number in (3, 5, 6):
            stage.put(number, body=TEXT, closed=number == 6)
        said = f"{stage.key(3)}-{stage.key(6).rpartition('-')[2]}"
        here = locate(repo).id
        wish = NightWish((repo,), Wanted(issues=keys_of(said)))
        found = await plan_night(
            wish, state=tmp_path / "none", trackers={here: stage.tracker}, environment={}
        )
        assert [one.issue for one in found.plan] == [stage.key(3), stage.key(5)]
        told = {one.issue: one.why for one in found.not_planned}
        assert set(told) == {stage.key(4), stage.key(6)}
        assert told[stage.key(6)] == "it is closed"


async def test_a_tracker_that_knows_no_labels_says_so(tmp_path: Path) -> None:
    """Issues have to be named where the tracker cannot tell what waits."""
    repo = a_repository(tmp_path / "shop")

    class Silent:
        """A tracker that fetches, and no more."""

        fetch = report = None

    wish = NightWish((repo,), Wanted(labels=("ready",)))
    trackers = {locate(repo).id: Silent()}
    with pytest.raises(ConfigError, match="cannot tell which issues carry a label"):
        await plan_night(wish, state=tmp_path, trackers=trackers, environment={})  # type: ignore[arg-type]
