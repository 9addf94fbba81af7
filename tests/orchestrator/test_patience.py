"""How long the work on one reply bears with a service that is in trouble."""

from __future__ import annotations

import pytest

from orchestrator.asking import Patience
from orchestrator.errors import ModelError
from orchestrator.modelevents import RequestFailed
from orchestrator.records import ModelReply, ModelRequest
from tests.orchestrator.small_window import Reader, Work

pytestmark = pytest.mark.asyncio
FAILURES = 1100
"""More than a number can be doubled before it is too large for a float."""


class Down(Reader):
    """A model whose service is down for a long time."""

    down = FAILURES

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Fail, until it does not."""
        if self.down:
            self.down -= 1
            raise ModelError("the service is down", retryable=True)
        return await super().reply(request)


async def test_somebody_may_set_any_number_of_attempts() -> None:
    """A run that is to bear with a service for days does so, and goes on where it stood."""
    patience = Patience(retries=FAILURES, backoff_s=0.0)
    work = Work(Down(2, 10**9), patience=patience)
    assert (await work.run()).kind == "finished"
    assert len(work.all(RequestFailed)) == FAILURES
