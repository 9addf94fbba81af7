"""Connections to the service: reused, never shared, closed when something broke off."""

from __future__ import annotations

import anyio
import httpx2
import pytest

from orchestrator.models.connections import Connections


def some() -> Connections:
    """Return connections to a plain address."""
    return Connections(timeout=httpx2.Timeout(5), secure=False)


@pytest.mark.asyncio
async def test_the_last_one_is_lent_again_and_none_to_two() -> None:
    """One request after the other uses one client; two at once have two."""
    connections = some()
    async with connections.one() as first:
        async with connections.one() as second:
            assert first is not second
        async with connections.one() as again:
            assert again is second
    async with connections.one() as last:
        assert last is first
    await connections.aclose()
    assert first.is_closed
    assert second.is_closed


@pytest.mark.asyncio
async def test_what_broke_off_is_closed_and_not_lent_again() -> None:
    """Half an answer may be left in it: also where the run was stopped in the middle."""
    connections = some()
    with pytest.raises(httpx2.ReadError):
        async with connections.one() as broken:
            raise httpx2.ReadError("gone")
    with anyio.CancelScope() as scope:
        async with connections.one() as stopped:
            scope.cancel()
            await anyio.sleep_forever()
    assert broken.is_closed
    assert stopped.is_closed
    async with connections.one() as fresh:
        assert fresh not in {broken, stopped}
    await connections.aclose()


@pytest.mark.asyncio
async def test_what_comes_back_after_the_end_is_closed() -> None:
    """A request that is under way while everything is closed leaves nothing open."""
    connections = some()
    async with connections.one() as late:
        await connections.aclose()
        assert not late.is_closed
    assert late.is_closed
