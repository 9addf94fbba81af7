"""The model clients under contract, made for a service on this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrator.errors import ModelError
from orchestrator.models.anthropic_sdk import AnthropicSdkClient
from orchestrator.models.messages import MessagesClient
from orchestrator.ports import ModelClient
from orchestrator.records import ModelReply, ModelRequest
from tests.builders import a_request
from tests.sse_server import Play, serving

CLIENTS = {"messages": MessagesClient, "anthropic_sdk": AnthropicSdkClient}
KEY = "sk-test-0123"


@asynccontextmanager
async def a_client(kind: str, url: str, *, silence_s: float = 60.0) -> AsyncIterator[ModelClient]:
    """Open a client of a kind, and close it afterwards."""
    client: ModelClient = (
        MessagesClient(key=KEY, base_url=url, silence_s=silence_s)
        if kind == "messages"
        else AnthropicSdkClient(key=KEY, base_url=url, silence_s=silence_s)
    )
    try:
        yield client
    finally:
        await client.aclose()


async def answered(
    kind: str, play: Play, request: ModelRequest | None = None, *, silence_s: float = 60.0
) -> ModelReply | ModelError:
    """Ask once for what a service plays, and return the reply or the error."""
    async with (
        serving([play]) as service,
        a_client(kind, service.url, silence_s=silence_s) as client,
    ):
        try:
            return await client.reply(request or a_request())
        except ModelError as error:
            return error
        finally:
            assert len(service.bodies) == 1, "one attempt is one request"
