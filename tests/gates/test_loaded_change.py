"""What gates read of a change is read once, ahead of them, and is what they would have read."""

from __future__ import annotations

from typing import Any

import anyio.to_thread
import pytest

from orchestrator import change as changes
from orchestrator.change import CommittedChange
from orchestrator.errors import WorkspaceError
from tests.gates.project import Project, ground, project, proved

__all__ = ["ground", "project", "proved"]

FIRST = {"kept.py": "a = 1\n", "gone.py": "b = 2\n", "pyproject.toml": "[project]\n"}
THEN = {"kept.py": "a = 2\n", "new.py": "c = 3\n"}


async def all_of(change: CommittedChange) -> list[Any]:
    """Return what gates may ask for."""
    paths = ["kept.py", "gone.py", "new.py", "config.yaml", "no/such/folder/at.all"]
    return [
        await change.changes(),
        await change.history(),
        list(await change.names()),
        list(await change.base_names()),
        await change.read(*paths),
        await change.read_base(*paths),
        await change.files(),
    ]


@pytest.mark.asyncio
async def test_what_was_loaded_is_what_would_be_read(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loaded change answers the same, and asks neither git nor a thread again."""
    project.commit(FIRST)
    project.commit(THEN, "gone.py")
    wanted = await all_of(project.change())
    loaded = project.change()
    await loaded.load()

    async def never(*_: object, **__: object) -> None:
        raise AssertionError("it was loaded")

    monkeypatch.setattr(anyio.to_thread, "run_sync", never)
    assert await all_of(loaded) == wanted
    assert {one.path for one in wanted[0]} == {"kept.py", "gone.py", "new.py"}


@pytest.mark.asyncio
async def test_the_contents_of_many_files_are_read_when_asked_for(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of thousands of files is not held in memory for gates that look at few of them."""
    monkeypatch.setattr(changes, "LOADED_MOST", 1)
    project.commit(FIRST)
    project.commit(THEN, "gone.py")
    loaded = project.change()
    await loaded.load()
    assert not loaded._known
    assert await all_of(loaded) == await all_of(project.change())


@pytest.mark.asyncio
async def test_what_cannot_be_read_is_told_to_who_asks(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading raises nothing: a gate that needs what is missing fails by itself, no other one."""
    project.commit(FIRST)
    project.commit(THEN)

    def broken(*_: object) -> None:
        raise WorkspaceError("the diff cannot be read")

    monkeypatch.setattr(changes, "read_changes", broken)
    loaded = project.change()
    await loaded.load()
    assert sorted(await loaded.names()) == ["gone.py", "kept.py", "new.py", "pyproject.toml"]
    with pytest.raises(WorkspaceError, match="cannot be read"):
        await loaded.changes()
