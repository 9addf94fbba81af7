"""Message Batches through the vendor's SDK: many requests, answered later, for half the price."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import anthropic
import httpx2
import orjson

from orchestrator.errors import MalformedReply, ModelError
from orchestrator.messagebatches import BATCH_SHARE, BatchAnswer, BatchItem, BatchStanding
from orchestrator.models.anthropic_sdk import UNREADABLE, refused, said_by
from orchestrator.models.refusals import sendable, without
from orchestrator.models.stream import whole_reply

BATCHES = "/v1/messages/batches"
MOST_LISTED = 200
PASSING = {"overloaded_error", "rate_limit_error", "api_error", "timeout_error"}
T = TypeVar("T")


class AnthropicBatches:
    """Sends and reads batches with an ``anthropic`` client; one attempt a call.

    Args:
        key: the credential.
        base_url: the service; None for the SDK's own.
        timeout_s: seconds that one call may take.
    """

    def __init__(self, *, key: str, base_url: str | None = None, timeout_s: float = 300.0) -> None:
        self._key = key
        timeout = httpx2.Timeout(timeout_s, connect=10.0)
        self._client = anthropic.AsyncAnthropic(
            api_key=sendable(key),
            base_url=base_url,
            max_retries=0,
            timeout=timeout,
            http_client=anthropic.DefaultAsyncHttpxClient(timeout=timeout, follow_redirects=False),
        )

    async def send(self, items: Sequence[BatchItem]) -> BatchStanding:
        """Send a batch: each request in the bytes that it has in its run."""
        parts = [
            b'{"custom_id":%b,"params":%b}' % (orjson.dumps(one.custom_id), one.body)
            for one in items
        ]
        made = await self._asked(
            self._client.post(
                BATCHES,
                cast_to=httpx2.Response,
                content=b'{"requests":[' + b",".join(parts) + b"]}",
                options={"headers": {"content-type": "application/json"}},
            )
        )
        return _standing(_object(made.content))

    async def standing(self, batch: str) -> BatchStanding:
        """Tell how a batch stands."""
        return _read(await self._asked(self._client.messages.batches.retrieve(batch)))

    async def recent(self, since: float) -> Sequence[BatchStanding]:
        """Return the batches that were created since a moment, newest first."""
        found: list[BatchStanding] = []

        async def listed() -> None:
            async for one in self._client.messages.batches.list(limit=100):
                standing = _read(one)
                if standing.created < since or len(found) >= MOST_LISTED:
                    return
                found.append(standing)

        await self._asked(listed())
        return found

    async def answers(self, batch: str) -> Sequence[BatchAnswer]:
        """Return what became of each request, line by line; a line that is none is passed over.

        The results are read from this service, wherever the batch says that they are: the
        credential goes nowhere else.
        """
        if not batch.replace("_", "").replace("-", "").isalnum():
            raise MalformedReply(f"{batch[:80]!r} is no id of a batch")
        options: Any = {"headers": {"accept": "application/x-jsonl"}}
        said = await self._asked(
            self._client.get(f"{BATCHES}/{batch}/results", cast_to=httpx2.Response, options=options)
        )
        lines = said.content.split(b"\n")
        found = [_answer(line, self._key) for line in lines if line.strip()]
        return [one for one in found if one is not None]

    async def cancel(self, batch: str) -> None:
        """Ask that what has not begun is not done."""
        await self._asked(self._client.messages.batches.cancel(batch))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _asked(self, call: Awaitable[T]) -> T:
        """Wait for a call of the SDK, and turn its errors into ours."""
        try:
            return await call
        except anthropic.APIStatusError as error:
            raise refused(error, self._key) from None
        except UNREADABLE as error:
            raise ModelError(
                f"no answer about a batch: {said_by(error, self._key)}",
                retryable=True,
                hint="check the network, and ANTHROPIC_BASE_URL",
            ) from None


def _read(found: Any) -> BatchStanding:
    return _standing(found.model_dump(mode="json", warnings=False))


def _standing(found: dict[str, Any]) -> BatchStanding:
    counts = found.get("request_counts")
    total = sum(n for n in counts.values() if isinstance(n, int)) if isinstance(counts, dict) else 0
    if not isinstance(found.get("id"), str):
        raise MalformedReply("what the service says of a batch is no batch", retryable=True)
    return BatchStanding(
        batch=found["id"],
        ended=found.get("processing_status") == "ended",
        created=_moment(found.get("created_at")),
        total=total,
    )


def _moment(said: object) -> float:
    try:
        return datetime.fromisoformat(str(said)).timestamp()
    except ValueError:
        return 0.0


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise MalformedReply("the service's answer about a batch is no JSON object", retryable=True)
    return found


def _answer(line: bytes, key: str) -> BatchAnswer | None:
    """Read one line of results; what is none gives nothing, so that its request is made again."""
    try:
        found = _object(line)
    except MalformedReply:
        return None
    custom_id, result = found.get("custom_id"), found.get("result")
    if not isinstance(custom_id, str) or not isinstance(result, dict):
        return None
    match result.get("type"):
        case "succeeded":
            return _succeeded(custom_id, result.get("message"))
        case "expired":
            return BatchAnswer(custom_id, "expired", error="the batch ran out before it was done")
        case "canceled":
            return BatchAnswer(custom_id, "canceled", error="the batch was cancelled")
        case _:
            return _errored(custom_id, result.get("error"), key)


def _succeeded(custom_id: str, message: object) -> BatchAnswer:
    try:
        if not isinstance(message, dict):
            raise MalformedReply("no message")
        return BatchAnswer(custom_id, "succeeded", whole_reply(message, BATCH_SHARE))
    except ModelError as error:
        return BatchAnswer(custom_id, "errored", error=str(error))


def _errored(custom_id: str, error: object, key: str) -> BatchAnswer:
    inner = error.get("error") if isinstance(error, dict) else None
    said = inner if isinstance(inner, dict) else (error if isinstance(error, dict) else {})
    kind = str(said.get("type"))
    text = without(key, f"{kind}: {said.get('message')}")[:500]
    return BatchAnswer(
        custom_id, "errored", error=text, retryable=kind in PASSING or kind == "None"
    )
