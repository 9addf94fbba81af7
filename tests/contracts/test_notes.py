"""Boards keep to the issues of their own project."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import IssueNotFound
from tests.contracts.test_claims import BOARDS, board_on
from tests.forges.stages import on_stage

pytestmark = pytest.mark.asyncio


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
