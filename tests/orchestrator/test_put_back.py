"""A workspace that is put back by a server that does not do its part."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import pytest

from orchestrator.errors import WorkspaceError
from orchestrator.snapshots import _asked
from orchestrator.toolserver import ServerGone

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
