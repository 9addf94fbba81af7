"""One batch with the service: sent, looked for, waited for and read, again where that helps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import anyio

from orchestrator.batches.views import SentTurns
from orchestrator.errors import ModelError
from orchestrator.messagebatches import BatchAnswer, BatchItem, MessageBatches
from orchestrator.values import frozen

SKEW_S = 120.0
"""How far the service's clock may be behind ours."""
DOUBLED_MOST = 16
"""After so many failures pauses have long reached the longest one."""

Said = TypeVar("Said")


@frozen
class LanePace:
    """When batches are sent, and how they are asked about.

    Attributes:
        most: requests of one batch; ``most_bytes`` likewise.
        age_s: how long a request waits for others; it goes at once where no run could join it.
        poll_s: seconds until a batch is first looked at; then ever more rarely.
        longest_poll_s: the longest wait between two looks.
        tries: how often one request is sent in batches before it is asked for in the usual way.
        sends: how often one batch is sent before its requests are.
        bears_s: seconds of trouble that is borne before what may have been paid for is given up.
    """

    most: int = 1000
    most_bytes: int = 128 * 1024 * 1024
    age_s: float = 10.0
    poll_s: float = 10.0
    longest_poll_s: float = 120.0
    tries: int = 3
    sends: int = 5
    bears_s: float = 3600.0


class Posting:
    """Speaks with the service of batches for a lane, and bears with it.

    Args:
        batches: the service.
        pace: how often, and how soon again.
        sent: the batches of the night, by number; what is in it is never adopted again.
    """

    def __init__(
        self, batches: MessageBatches, *, pace: LanePace, sent: Mapping[int, SentTurns]
    ) -> None:
        self._batches = batches
        self._pace = pace
        self._sent = sent
        self._adopted: set[str] = set()

    async def send(self, turns: SentTurns, items: Sequence[BatchItem]) -> str:
        """Send a batch and return its id; nothing where the service does not take it."""
        for failures in range(1, self._pace.sends + 1):
            try:
                return (await self._batches.send(items)).batch
            except ModelError as error:
                if not error.retryable:
                    return ""
                await anyio.sleep(self._pause(error, failures))
            # It may have been taken all the same, and be paid for.
            found = await self.looked_for(turns)
            if found:
                return found
        return ""

    async def looked_for(self, turns: SentTurns) -> str:
        """Return the id of a batch that may have been taken without our knowing it."""
        recent = await self._borne_with(lambda: self._batches.recent(turns.gathered - SKEW_S))
        known = self._adopted | {one.batch for one in self._sent.values()}
        fits = [one.batch for one in recent or () if one.total == len(turns.items)]
        new = [batch for batch in fits if batch not in known]
        self._adopted.update(new[-1:])
        return new[-1] if new else ""

    async def ended(self, batch: str) -> bool:
        """Wait until a batch has ended; False where the service knows nothing of it."""
        wait, failures = self._pace.poll_s, 0
        while True:
            await anyio.sleep(wait)
            try:
                standing = await self._batches.standing(batch)
            except ModelError as error:
                if not error.retryable:
                    return False
                failures += 1
                wait = self._pause(error, failures)
                continue
            if standing.ended:
                return True
            failures = 0
            wait = min(max(wait, self._pace.poll_s) * 1.25, self._pace.longest_poll_s)

    async def answers(self, batch: str) -> Sequence[BatchAnswer]:
        """Return the answers of a batch that has ended; none where they cannot be read."""
        return await self._borne_with(lambda: self._batches.answers(batch)) or ()

    async def cancel(self, batch: str) -> None:
        """Ask that a batch is cut short; one that is not ends by itself, later."""
        try:
            await self._batches.cancel(batch)
        except ModelError:
            return

    async def _borne_with(self, ask: Callable[[], Awaitable[Said]]) -> Said | None:
        """Return what the service says, however long its trouble takes; None where it will not.

        What is asked for so was paid for, or may have been: to give it up is to pay twice.
        """
        waited, failures = 0.0, 0
        while True:
            try:
                return await ask()
            except ModelError as error:
                failures += 1
                pause = self._pause(error, failures)
                waited += pause
                if not error.retryable or waited > self._pace.bears_s:
                    return None
                await anyio.sleep(pause)

    def _pause(self, error: ModelError, failures: int) -> float:
        doubled: float = self._pace.poll_s * 2 ** min(failures - 1, DOUBLED_MOST)
        return max(min(doubled, self._pace.longest_poll_s), error.retry_after or 0.0)
