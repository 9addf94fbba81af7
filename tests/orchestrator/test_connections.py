"""Connections to the service: reused, never shared, closed when something broke off or grew old."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from orchestrator.errors import ModelError
from orchestrator.models import connections as module
from orchestrator.models.connections import KEEP_ALIVE_S, Connections
from orchestrator.models.wire import Wire, WireError
from tests.wire_ends import SAFETY_S, Ends, asked, connected, told

pytestmark = pytest.mark.asyncio
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


@asynccontextmanager
async def lending() -> AsyncIterator[tuple[Connections, list[Ends]]]:
    """Lend connections, and show both ends of each that was made."""
    made: list[Ends] = []

    async def connect() -> Wire:
        made.append(await connected())
        return made[-1].wire

    connections = Connections(connect)
    try:
        with anyio.fail_after(SAFETY_S):
            yield connections, made
    finally:
        await connections.aclose()
        for one in made:
            one.peer.close()


def is_left(one: Ends) -> bool:
    """Tell whether the other end sees that a connection was closed."""
    while one.peer.recv(10_000):
        pass
    return one.wire.is_closed


async def test_the_last_one_is_lent_again_and_none_to_two() -> None:
    """One request after the other uses one connection; two at once have two."""
    async with lending() as (connections, made):
        async with connections.one() as first:
            async with connections.one() as second:
                assert first is not second
            async with connections.one() as again:
                assert again is second
        async with connections.one() as last:
            assert last is first
        await connections.aclose()
        assert [one.wire for one in made] == [first, second]
        assert all(is_left(one) for one in made)


async def test_one_that_answered_whole_is_lent_again() -> None:
    """After an answer, also one that was refused with an error of ours, it is as good as before."""
    async with lending() as (connections, made):

        async def refused() -> None:
            async with connections.one() as wire:
                await asked(wire)
                made[0].peer.sendall(ANSWER)
                assert (await told(wire))[2] == b"{}"
                raise ModelError("busy")

        with pytest.raises(ModelError, match="busy"):
            await refused()
        async with connections.one() as again:
            assert again is made[0].wire
            assert not again.is_closed


async def test_what_broke_off_is_closed_and_not_lent_again() -> None:
    """Half an answer may be left in it: also where the run was stopped in the middle."""
    async with lending() as (connections, made):

        async def broken() -> None:
            async with connections.one() as wire:
                await asked(wire)
                made[0].peer.sendall(b"nonsense\r\n\r\n")
                await told(wire)

        with pytest.raises(WireError):
            await broken()
        with anyio.CancelScope() as scope:
            async with connections.one() as stopped:
                await asked(stopped)
                made[1].peer.sendall(ANSWER[:-1])
                scope.cancel()
                await told(stopped)
        assert scope.cancelled_caught
        assert is_left(made[0])
        assert is_left(made[1])
        async with connections.one() as fresh:
            assert fresh not in {made[0].wire, stopped}


@pytest.mark.parametrize("last", [b"", b"HTTP/1.1 408 Request Timeout\r\n\r\n"])
async def test_one_that_the_service_has_left_is_not_lent(last: bytes) -> None:
    """What was closed while it was idle, or says what nobody asked for, is replaced by another."""
    async with lending() as (connections, made):
        async with connections.one() as first:
            pass
        if last:
            made[0].peer.sendall(last)
        else:
            made[0].peer.close()
        made[0].noticed()
        async with connections.one() as second:
            assert second is made[1].wire
            assert first.is_closed


async def test_one_that_was_idle_for_too_long_is_not_lent() -> None:
    """Whatever lies between may have forgotten it."""
    async with lending() as (connections, made):
        async with connections.one() as first:
            pass
        first.free_since -= KEEP_ALIVE_S
        async with connections.one() as second:
            assert second is not first
            assert is_left(made[0])


async def test_those_of_a_busy_hour_are_closed_later() -> None:
    """What is not needed any more is closed although only the last ones are lent."""
    async with lending() as (connections, made):
        async with connections.one() as first, connections.one(), connections.one():
            pass
        for one in made[1:]:
            one.wire.free_since -= KEEP_ALIVE_S
        async with connections.one() as again:
            assert again is first
        assert [is_left(one) for one in made[1:]] == [True, True]
        assert not first.is_closed


async def test_more_than_can_be_kept_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bounded number waits for the next requests."""
    monkeypatch.setattr(module, "KEPT_MOST", 1)
    async with lending() as (connections, made):
        async with connections.one() as first, connections.one() as second:
            pass
        assert not second.is_closed
        assert first.is_closed
        assert is_left(made[0])


async def test_what_comes_back_after_the_end_is_closed() -> None:
    """A request that is under way while everything is closed leaves nothing open."""
    async with lending() as (connections, made):
        async with connections.one() as late:
            await connections.aclose()
            assert not late.is_closed
        assert is_left(made[0])


async def test_none_that_can_be_made_is_told() -> None:
    """Why there is no connection passes on as it is, and the next request tries anew."""
    tries: list[int] = []

    async def connect() -> Wire:
        tries.append(1)
        raise ModelError("nobody there", retryable=True)

    connections = Connections(connect)
    for _ in range(2):
        with pytest.raises(ModelError, match="nobody there"):
            async with connections.one():
                pass
    await connections.aclose()
    assert len(tries) == 2
