"""The Messages API, straight over HTTP: history goes out as the bytes that were kept."""

from __future__ import annotations

from contextlib import aclosing

import httpx2

from orchestrator.errors import MalformedReply, ModelError, ModelRefused
from orchestrator.models.connections import Connections
from orchestrator.models.rates import rates_of
from orchestrator.models.refusals import error_for, sendable
from orchestrator.models.stream import Accumulator, EventReader
from orchestrator.records import ModelReply, ModelRequest

API_VERSION = "2026-10-21"
DEFAULT_URL = "https://api.anthropic.com"
CONNECT_S = 10.0
BODY_LIMIT = 64 * 1024


class MessagesClient:
    """Asks over kept-alive connections; makes one attempt a call.

    Args:
        key: the credential; it is sent as a header and kept nowhere else.
        base_url: the service.
        silence_s: seconds without a byte after which an attempt is given up.
    """

    def __init__(self, *, key: str, base_url: str = DEFAULT_URL, silence_s: float = 120.0) -> None:
        self._url = f"{base_url.rstrip('/')}/v1/messages"
        self._parsed: httpx2.URL | None = None
        self._headers = httpx2.Headers(
            {
                "authorization": f"Bearer {sendable(key)}",
                "anthropic-version": API_VERSION,
                "content-type": "application/json",
                "accept": "text/event-stream",
                "accept-encoding": "gzip, deflate",
                "user-agent": "issue-orchestrator",
            }
        )
        timeout = httpx2.Timeout(silence_s, connect=CONNECT_S)
        self._extensions = {"timeout": timeout.as_dict()}
        self._connections = Connections(
            timeout=timeout,
            secure=not self._url.startswith("http://"),
        )

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Return the reply; raises ``ModelError`` where none came."""
        accumulator = Accumulator()
        refused: ModelError | None = None
        try:
            # Made here: the client would put address, headers and cookies together each time.
            asked = httpx2.Request(
                "POST",
                self._address(),
                headers=self._headers,
                content=request.body(),
                extensions=self._extensions,
            )
            async with (
                self._connections.one() as client,
                aclosing(await client.send(asked, stream=True)) as response,
            ):
                if response.status_code != 200:
                    refused = await self._refusal(response)
                else:
                    request_id = response.headers.get("request-id", "")
                    rates = rates_of(response.headers)
                    reader = EventReader()
                    async for chunk in response.aiter_bytes():
                        for event in reader.feed(chunk):
                            accumulator.take(event)
            if refused is not None:  # raised out here: its connection is as good as before
                raise refused
        except MalformedReply as error:
            error.started = accumulator.started
            raise
        except httpx2.TimeoutException as error:
            raise ModelError(
                f"the model's service was silent for too long ({type(error).__name__})",
                retryable=True,
                started=accumulator.started,
                unreachable=isinstance(error, httpx2.ConnectTimeout),
            ) from None
        except httpx2.InvalidURL as error:
            raise ModelRefused(f"{self._url} is not an address: {error}") from None
        except httpx2.HTTPError as error:
            raise ModelError(
                f"no connection to the model's service: {str(error) or type(error).__name__}",
                retryable=True,
                started=accumulator.started,
                unreachable=isinstance(error, httpx2.ConnectError),
                hint="check the network, and ANTHROPIC_BASE_URL",
            ) from None
        return accumulator.reply(request_id, rates)

    def _address(self) -> httpx2.URL:
        if self._parsed is None:
            self._parsed = httpx2.URL(self._url)
        return self._parsed

    @staticmethod
    async def _refusal(response: httpx2.Response) -> ModelError:
        body = b""
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > BODY_LIMIT:
                break
        return error_for(response.status_code, response.headers, body)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connections.aclose()
