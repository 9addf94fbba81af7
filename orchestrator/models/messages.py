"""The Messages API, straight over HTTP: history goes out as the bytes that were kept."""

from __future__ import annotations

import os
from collections.abc import Mapping

import anyio

from orchestrator.errors import MalformedReply, ModelError
from orchestrator.models.connections import Connections
from orchestrator.models.rates import rates_of
from orchestrator.models.refusals import error_for, sendable
from orchestrator.models.stream import Accumulator, EventReader
from orchestrator.models.ways import NETWORK_HINT, Connector, way_to
from orchestrator.models.wire import Wire, WireError, written
from orchestrator.records import ModelReply, ModelRequest

API_VERSION = "2026-10-21"
DEFAULT_URL = "https://api.anthropic.com"
BODY_LIMIT = 64 * 1024


class MessagesClient:
    """Asks over kept-alive connections; makes one attempt a call.

    Args:
        key: the credential; it is sent as a header and kept nowhere else.
        base_url: the service.
        silence_s: seconds without a byte after which an attempt is given up.
        environment: names proxies; whom to trust is read from this process's own.
    """

    def __init__(
        self,
        *,
        key: str,
        base_url: str = DEFAULT_URL,
        silence_s: float = 120.0,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._url = f"{base_url.rstrip('/')}/v1/messages"
        self._key = sendable(key)
        self._silence_s = silence_s
        self._environment = environment
        self._asked: _Asked | None = None

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Return the reply; raises ``ModelError`` where none came."""
        asked = self._asked = self._asked or _Asked(self._url, self._key, self._environment)
        accumulator = Accumulator(asked.secret)
        try:
            async with asked.connections.one() as wire:
                with anyio.CancelScope() as patience:
                    patience.deadline = anyio.current_time() + self._silence_s
                    await wire.send(asked.target, asked.headers, request.body())
                    patience.deadline = anyio.current_time() + self._silence_s
                    return await self._answer(wire, accumulator, patience, asked.secret)
        except MalformedReply as error:
            error.started = accumulator.started
            raise
        except WireError as error:
            raise ModelError(
                f"no connection to the model's service: {error}",
                retryable=True,
                started=accumulator.started,
                hint=NETWORK_HINT,
            ) from None
        raise ModelError(
            f"the model's service was silent for too long ({self._silence_s:g} s)",
            retryable=True,
            started=accumulator.started,
        )

    async def _answer(
        self, wire: Wire, accumulator: Accumulator, patience: anyio.CancelScope, secret: str
    ) -> ModelReply:
        """Put a reply together, as long as something comes."""
        status, headers = await wire.head()
        body, reader = b"", EventReader()
        while chunk := await wire.data():
            patience.deadline = anyio.current_time() + self._silence_s
            if status == 200:
                for event in reader.feed(chunk):
                    accumulator.take(event)
            elif len(body) <= BODY_LIMIT:
                body += chunk
            else:
                break
        if status != 200:
            # A gateway may repeat what it was sent.
            raise error_for(status, headers, body, secret)
        return accumulator.reply(headers.get("request-id", ""), rates_of(headers))

    async def aclose(self) -> None:
        """Close the connections."""
        if self._asked is not None:
            await self._asked.connections.aclose()


class _Asked:
    """What all requests have in common: where they go, and with which headers."""

    def __init__(self, url: str, key: str, environment: Mapping[str, str]) -> None:
        way = way_to(url, environment)
        self.connections = Connections(Connector(way).connect)
        self.target = way.target.encode("ascii")
        # A user and password in the address are meant for a gateway that asks for them.
        credential = way.place.credential or f"Bearer {key}"
        self.secret = credential.partition(" ")[2]
        headers = {
            "host": way.host,
            "authorization": credential,
            "anthropic-version": API_VERSION,
            "content-type": "application/json",
            "accept": "text/event-stream",
            # Unpacked as it comes: what packs a stream holds back its events.
            "accept-encoding": "identity",
            "user-agent": "issue-orchestrator",
        }
        self.headers = written(headers)
