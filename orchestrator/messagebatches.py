"""The port to a service that answers many requests later, for half the price."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from orchestrator.records import ModelReply
from orchestrator.values import frozen

BATCH_SHARE = 0.5
"""What a reply of a batch costs, as a share of the usual price."""


@frozen
class BatchItem:
    """One request of a batch.

    Attributes:
        custom_id: names its result; up to 64 letters, digits, ``-`` and ``_``.
        body: the request as JSON, not streamed.
    """

    custom_id: str
    body: bytes


@frozen
class BatchStanding:
    """How a batch stands at the service.

    Attributes:
        batch: its id.
        ended: whether its results can be read.
        created: in seconds since 1970.
        total: how many requests it holds.
    """

    batch: str
    ended: bool
    created: float
    total: int


@frozen
class BatchAnswer:
    """What became of one request of a batch.

    Attributes:
        reply: of one that succeeded; its ``price_share`` is the batch's.
        error: why there is no reply.
        retryable: whether the same request may succeed another time.
    """

    custom_id: str
    kind: Literal["succeeded", "errored", "expired", "canceled"]
    reply: ModelReply | None = None
    error: str = ""
    retryable: bool = True


class MessageBatches(Protocol):
    """Sends requests in batches, and reads back what became of them; each call is one attempt."""

    async def send(self, items: Sequence[BatchItem]) -> BatchStanding:
        """Send a batch.

        Raises:
            ModelError: it was not taken, or nobody knows; its attributes say whether to try again.
        """
        ...

    async def standing(self, batch: str) -> BatchStanding:
        """Tell how a batch stands.

        Raises:
            ModelError: the service did not say.
        """
        ...

    async def recent(self, since: float) -> Sequence[BatchStanding]:
        """Return the batches that were created since a moment, newest first.

        Raises:
            ModelError: the service did not say.
        """
        ...

    async def answers(self, batch: str) -> Sequence[BatchAnswer]:
        """Return what became of each request of a batch that has ended, in any order.

        Raises:
            ModelError: the results cannot be read.
        """
        ...

    async def cancel(self, batch: str) -> None:
        """Ask that what has not begun is not done; results are there once the batch has ended.

        Raises:
            ModelError: the service did not take it.
        """
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...
