"""What MessagesClient sends, seen by respx instead of a socket."""

from __future__ import annotations

from typing import Any

import httpx
import httpx2
import pytest
import respx

from orchestrator.errors import ModelError, ModelRefused
from orchestrator.models.messages import DEFAULT_URL, MessagesClient
from tests.builders import a_request
from tests.sse_server import start, stop, text

STREAM = start() + text(0, "hello") + stop()


@pytest.mark.asyncio
async def test_headers_and_body_are_the_documented_ones(httpx2_mock: respx.Router) -> None:
    """The body is sent byte for byte, the key as a bearer, and the version is named."""
    route = httpx2_mock.post(f"{DEFAULT_URL}/v1/messages").respond(content=STREAM)
    client = MessagesClient(key="sk-test")
    request = a_request()
    reply = await client.reply(request)
    await client.aclose()
    sent = route.calls.last.request
    assert sent.content == request.body()
    assert {
        name: sent.headers[name] for name in ("authorization", "anthropic-version", "accept")
    } == {
        "authorization": "Bearer sk-test",
        "anthropic-version": "2026-10-21",
        "accept": "text/event-stream",
    }
    assert reply.blocks[0]["text"] == "hello"
    assert reply.request_id == ""


@pytest.mark.asyncio
async def test_the_key_is_in_no_error(httpx2_mock: respx.Router) -> None:
    """However an attempt fails, what is told of it does not hold the key."""
    route = httpx2_mock.post(f"{DEFAULT_URL}/v1/messages")
    client = MessagesClient(key="sk-secret")
    failures: list[tuple[type[ModelError], dict[str, Any]]] = [
        (ModelRefused, {"return_value": httpx.Response(401, json={"error": {"type": "x"}})}),
        (ModelError, {"side_effect": httpx2.ConnectError("refused")}),
        (ModelError, {"side_effect": httpx2.ReadTimeout("slow")}),
    ]
    for cls, failure in failures:
        route.mock(**failure)
        with pytest.raises(cls) as caught:
            await client.reply(a_request())
        assert "sk-secret" not in f"{caught.value!r} {caught.value.hint}"
    await client.aclose()
    assert route.call_count == 3


@pytest.mark.asyncio
async def test_a_refusal_costs_no_connection(httpx2_mock: respx.Router) -> None:
    """The next try goes over the same one: a service that is busy is not greeted anew each time."""
    route = httpx2_mock.post(f"{DEFAULT_URL}/v1/messages")
    route.respond(429, json={"error": {"type": "rate_limit_error"}})
    client = MessagesClient(key="sk-test")
    with pytest.raises(ModelError):
        await client.reply(a_request())
    (kept,) = client._connections._idle
    route.respond(content=STREAM)
    await client.reply(a_request())
    assert client._connections._idle == [kept]
    await client.aclose()
