"""Connections to the model's service: one for each request under way, kept for the next ones."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import httpx2

KEEP_ALIVE_S = 300.0
CLOSE_S = 2.0
KEPT_MOST = 512
"""Idle connections that are kept; more are closed as they become free."""


class Connections:
    """Lends HTTP clients of one connection each; the one that was used last goes out first.

    The library's own pool looks at every idle connection at every request: with a hundred runs
    that is a quarter of this process's time.

    Args:
        timeout: of every request.
        secure: the service is asked over TLS, and through the environment's proxy where one is
            named; both are of no use to a plain address, and a TLS context costs 24 ms.
    """

    def __init__(self, *, timeout: httpx2.Timeout, secure: bool) -> None:
        self._timeout = timeout
        self._secure = secure
        self._tls = (
            httpx2.create_ssl_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        )
        self._idle: list[httpx2.AsyncClient] = []
        self._closed = False

    @asynccontextmanager
    async def one(self) -> AsyncIterator[httpx2.AsyncClient]:
        """Lend a client that nobody else uses meanwhile."""
        client = self._idle.pop() if self._idle else self._made()
        sound = False
        try:
            yield client
            sound = True
        finally:
            # What broke off in the middle of an answer is of no further use.
            if sound and not self._closed and len(self._idle) < KEPT_MOST:
                self._idle.append(client)
            else:
                with anyio.move_on_after(CLOSE_S, shield=True):
                    await client.aclose()

    def _made(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            timeout=self._timeout,
            limits=httpx2.Limits(
                max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE_S
            ),
            verify=self._tls,
            follow_redirects=False,
            trust_env=self._secure,
        )

    async def aclose(self) -> None:
        """Close what is idle now, and what is lent when it comes back."""
        self._closed = True
        while self._idle:
            await self._idle.pop().aclose()
