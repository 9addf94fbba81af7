"""Live output in a whole run: told to sinks, kept out of the journal and of the transcript."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.events import EVENTS, ToolOutput
from orchestrator.testing import says
from tests.runs.stage import MEND, Stage

SLOW = ("Bash", {"command": "echo under way; sleep 0.7; echo over"})


@pytest.fixture
def stage(shop: Path, state: Path) -> Stage:
    """A stage over the sample project."""
    return Stage(shop, state)


@pytest.mark.asyncio
async def test_sinks_hear_a_command_while_it_runs(stage: Stage) -> None:
    """A slow command's output comes as signals of its turn; a quick one has none."""
    outcome = await stage.play(says("I look.", SLOW), says("I mend it.", MEND), says("Mended."))
    assert outcome.status == "done"
    heard = stage.all(ToolOutput)
    assert {(one.turn, one.tool) for one in heard} == {(1, "Bash")}
    assert "".join(one.text for one in heard).startswith("under way\n")
    assert stage.results(1) == [("under way\nover", False)]
    assert "ToolOutput" not in EVENTS
