"""The contract of ModelClient: what a service says of its rates is handed on, by reply and refusal."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.amounts import RateNews
from orchestrator.errors import ModelError
from orchestrator.models.rates import rates_of
from orchestrator.records import ModelReply
from tests.builders import a_request
from tests.model_clients import CLIENTS, a_client, answered
from tests.sse_server import Play, start, stop, text

pytestmark = pytest.mark.asyncio


def said(
    reset_s: float = 30.0, changes: dict[str, str] | None = None
) -> tuple[tuple[str, str], ...]:
    """Return the headers of two limits."""
    reset = (datetime.now(UTC) + timedelta(seconds=reset_s)).isoformat().replace("+00:00", "Z")
    values = {
        "requests-limit": "50",
        "requests-remaining": "49",
        "requests-reset": reset,
        "input-tokens-limit": "40000",
        "input-tokens-remaining": "0",
        "input-tokens-reset": reset,
    } | (changes or {})
    return tuple((f"anthropic-ratelimit-{name}", value) for name, value in values.items())


@pytest.mark.parametrize("kind", sorted(CLIENTS))
@pytest.mark.parametrize("status", [200, 429, 529, 500])
async def test_rates_are_handed_on(kind: str, status: int) -> None:
    """Every client tells what is left, whether the reply came or was refused."""
    chunks = [start(), text(0, "hi"), stop()] if status == 200 else [b"{}"]
    answer = await answered(kind, Play(chunks, status=status, headers=said()))
    assert isinstance(answer, ModelReply if status == 200 else ModelError)
    requests, tokens = answer.rates
    assert (requests.kind, requests.most, requests.left) == ("requests", 50, 49)
    assert (tokens.kind, tokens.most, tokens.left) == ("input-tokens", 40_000, 0)
    assert 0 < tokens.full_s <= 30.0


@pytest.mark.parametrize("kind", sorted(CLIENTS))
async def test_nobody_there_is_told_apart(kind: str) -> None:
    """Where there is no connection at all the error says that no other model answers either."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    async with a_client(kind, f"http://127.0.0.1:{port}") as client:
        with pytest.raises(ModelError) as caught:
            await client.reply(a_request())
    assert caught.value.unreachable and caught.value.retryable
    dropped = await answered(kind, Play([start()], end="dropped"))
    assert isinstance(dropped, ModelError)
    assert not dropped.unreachable


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({"requests-limit": "many"}, ["input-tokens"]),
        ({"requests-limit": "0"}, ["input-tokens"]),
        ({"requests-reset": "soon"}, ["input-tokens"]),
        ({"requests-reset": ""}, ["requests", "input-tokens"]),
        ({"requests-remaining": "-3"}, ["requests", "input-tokens"]),
        ({"tokens-limit": "10"}, ["requests", "input-tokens"]),
    ],
)
async def test_what_is_no_number_is_passed_over(changes: dict[str, str], kinds: list[str]) -> None:
    """Nonsense in one header costs the news of that limit, and nothing else."""
    found = rates_of(dict(said(changes=changes)))
    assert [one.kind for one in found] == kinds
    assert all(one.left >= 0 and one.full_s >= 0 for one in found)
    assert rates_of({}) == ()
    past = dict(said(reset_s=-5.0))
    assert rates_of(past)[0] == RateNews("requests", 50, 49, 0.0)
