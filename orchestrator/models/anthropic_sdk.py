"""The Messages API through the vendor's SDK: the way to every platform whose credentials it knows.

Importing the SDK costs over a second; nothing else in the package imports it.
"""

from __future__ import annotations

from typing import Any

import anthropic
import httpx2
import orjson

from orchestrator.amounts import RateNews
from orchestrator.errors import ModelError
from orchestrator.models.rates import rates_of
from orchestrator.models.refusals import error_for, sendable, without
from orchestrator.models.stream import Accumulator
from orchestrator.records import ModelReply, ModelRequest

KEEP_ALIVE_S = 300.0
SAID_MOST = 500
"""Characters of what the SDK says that are kept: it may quote a whole event."""
UNREADABLE = (anthropic.APIError, httpx2.HTTPError, ValueError, TypeError, AttributeError)
"""What the SDK raises where there is no answer; what it cannot read comes as plain errors."""


class AnthropicSdkClient:
    """Asks through an ``anthropic`` client; makes one attempt a call, as the agent retries.

    Args:
        key: the credential.
        base_url: the service; None for the SDK's own.
        silence_s: seconds without a byte after which an attempt is given up.
    """

    def __init__(self, *, key: str, base_url: str | None = None, silence_s: float = 120.0) -> None:
        self._key = key
        timeout = httpx2.Timeout(silence_s, connect=10.0)
        limits = httpx2.Limits(max_keepalive_connections=64, keepalive_expiry=KEEP_ALIVE_S)
        self._client = anthropic.AsyncAnthropic(
            api_key=sendable(key),
            base_url=base_url,
            max_retries=0,
            timeout=timeout,
            http_client=anthropic.DefaultAsyncHttpxClient(
                limits=limits, timeout=timeout, follow_redirects=False
            ),
        )

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Return the reply; raises ``ModelError`` where none came."""
        accumulator = Accumulator(self._key)
        body: dict[str, Any] = orjson.loads(request.body())
        body.pop("stream")
        request_id = ""
        rates: tuple[RateNews, ...] = ()
        try:
            stream = await self._client.messages.create(stream=True, **body)
            request_id = stream.response.headers.get("request-id", "")
            rates = rates_of(stream.response.headers)
            async for event in stream:
                accumulator.take(event.model_dump(mode="json", exclude_unset=True, warnings=False))
        except anthropic.APIStatusError as error:
            if error.response.status_code == 200:
                raise _in_stream(error, accumulator, self._key) from None
            raise refused(error, self._key) from None
        except UNREADABLE as error:
            raise ModelError(
                f"no connection to the model's service: {said_by(error, self._key)}",
                retryable=True,
                started=accumulator.started,
                unreachable=isinstance(
                    error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout
                ),
                hint="check the network, and ANTHROPIC_BASE_URL",
            ) from None
        return accumulator.reply(request_id, rates)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()


def refused(error: anthropic.APIStatusError, key: str) -> ModelError:
    """Turn an answer that the SDK takes for an error into ours; the key is not in it."""
    answer = error.response
    return error_for(answer.status_code, answer.headers, orjson.dumps(error.body), key)


def said_by(error: Exception, key: str) -> str:
    """Return what an error of the SDK says, at bounded length and without the key."""
    return without(key, str(error) or type(error).__name__)[:SAID_MOST]


def _in_stream(error: anthropic.APIStatusError, accumulator: Accumulator, key: str) -> ModelError:
    """Turn an error that the SDK found inside a stream into ours."""
    body = error.body if isinstance(error.body, dict) else {}
    inner = body.get("error") if isinstance(body.get("error"), dict) else body
    try:
        accumulator.take({"type": "error", "error": inner})
    except ModelError as ours:
        return ours
    return ModelError(said_by(error, key), retryable=True, started=accumulator.started)
