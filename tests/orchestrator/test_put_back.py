"""A workspace that is put back by a server that does not do its part."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from orchestrator.errors import DiskFull, WorkspaceError
from orchestrator.events import AUTHOR, SnapshotTaken
from orchestrator.snapshots import _asked, operation, put_back
from orchestrator.toolserver import ServerGone, ToolServer
from orchestrator.workspaces import Workspace

pytestmark = pytest.mark.asyncio

Ask = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


def raising(error: Exception) -> Ask:
    """Return a server that fails."""

    async def ask(message: Mapping[str, Any]) -> dict[str, Any]:
        raise error

    return ask


async def silent(message: Mapping[str, Any]) -> dict[str, Any]:
    """Never answer."""
    await anyio.sleep_forever()
    raise AssertionError(message)


@pytest.mark.parametrize("error", [ServerGone("it ended"), ValueError("too large")])
async def test_a_server_that_fails_is_a_workspace_error(error: Exception) -> None:
    """The run learns in one line that the workspace could not be put back."""
    with pytest.raises(WorkspaceError, match=str(error)):
        await _asked(raising(error), {"op": "restore"})


async def test_a_server_that_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Putting back has a bound in time."""
    monkeypatch.setattr("orchestrator.snapshots.OPERATION_S", 0.05)
    with anyio.fail_after(60), pytest.raises(WorkspaceError):
        await _asked(silent, {"op": "restore"})


async def test_an_answer_that_says_no_names_the_way_out() -> None:
    """What the server says is passed on, with what to do."""

    async def ask(message: Mapping[str, Any]) -> dict[str, Any]:
        return {"error": "no such snapshot"}

    with pytest.raises(WorkspaceError, match="no such snapshot") as refused:
        await _asked(ask, {"op": "restore"})
    assert "--new" in refused.value.hint


class Refusing:
    """A server that can do nothing to the workspace, on a disk with room or without."""

    def __init__(self, *, full: bool) -> None:
        self.full = full
        self.stopped = 0

    async def ask(self, _: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
        """Say no."""
        assert seconds > 0
        return {"error": "git add: exit status 128"}

    async def stop(self) -> None:
        """End what may be in the way."""
        self.stopped += 1

    def is_full(self) -> bool:
        """Tell how its disk is."""
        return self.full


@pytest.mark.parametrize("full", [True, False])
async def test_what_cannot_be_kept_for_want_of_room_says_so(full: bool) -> None:
    """Git does not always name the disk: whoever looks at it does."""
    server = Refusing(full=full)
    with pytest.raises(WorkspaceError, match="snapshot failed: git add") as refused:
        await operation(cast("ToolServer", server), {"op": "snapshot"})
    assert isinstance(refused.value, DiskFull) is full
    assert server.stopped == 2


class Laid:
    """A workspace that is there, and has lost its server."""

    is_seeded = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def move(self) -> None:
        """Be where a workspace is made."""

    def lay_out(self) -> bool:
        """Make it: nothing is left to be filled in."""
        return False


@pytest.mark.parametrize("full", [True, False])
async def test_what_cannot_be_put_back_for_want_of_room_says_so(
    full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is advised to start anew where there is only no room."""
    monkeypatch.setattr("orchestrator.hostgit.LEAST_ROOM", 1 << 62 if full else 0)

    async def refusing(message: Mapping[str, Any]) -> dict[str, Any]:
        assert message == {"op": "restore", "snapshot": "kept"}
        return {"error": "git checkout: exit status 128"}

    async def launch() -> Ask:
        return refusing

    workspace = cast("Workspace", Laid(tmp_path))
    events = [SnapshotTaken(AUTHOR, 3, "kept")]
    with pytest.raises(WorkspaceError, match="git checkout") as refused:
        await put_back(workspace, launch, events, interrupted=True)
    assert isinstance(refused.value, DiskFull) is full
    assert ("--new" in refused.value.hint) is not full
