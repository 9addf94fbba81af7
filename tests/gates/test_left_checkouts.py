"""What a killed process has left where gates have their checkouts is no part of a verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import change as changes
from orchestrator.events import Event, RunResumed, begun_at
from tests.builders import a_run
from tests.gates.project import Project, ground, project, proved

__all__ = ["ground", "project", "proved"]

pytestmark = pytest.mark.asyncio


async def test_a_checkout_that_was_left_is_not_gone_on_with(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the lock of a git that was killed nor what a command wrote is there again."""
    project.commit({"a.py": "a = 1\n"})
    project.commit({"a.py": "a = 2\n"})
    await project.sandbox.check()
    with monkeypatch.context() as killed:
        killed.setattr(changes, "remove_tree", lambda _: None)
        left = await project.change().run("echo 'a = 3' > a.py; touch planted.py", 60)
        assert left.exit_status == 0
    (lock,) = [one / "index.lock" for one in project.change()._folder.glob("gate-1/*/git")]
    lock.touch()
    done = await project.change().run("cat a.py; test ! -e planted.py", 60)
    assert (done.exit_status, done.output.strip()) == (0, "a = 2")


async def test_each_process_has_its_own_checkouts(tmp_path: Path) -> None:
    """What a killed one had started may not have ended yet when the next one judges."""
    run = a_run()
    lives: list[Event] = []
    found = [begun_at(lives)]
    for epoch in (2, 3):
        lives.append(RunResumed(epoch, run))
        found.append(begun_at(lives))
    assert found == [1, 2, 3]
