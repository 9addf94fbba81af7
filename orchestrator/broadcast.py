"""The only writer of events: the journal first, then every sink, which can hold nothing up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import anyio
import anyio.abc

from orchestrator.events import Event, Signal
from orchestrator.ports import EventSink, RunJournal

QUEUE = 1000
DRAIN_S = 5.0


class Broadcast:
    """The only writer of events: the journal first, then every sink, which can hold nothing up.

    Args:
        journal: the run's journal.
        sinks: each drains a queue of its own; a long one drops signals, never events.
        tasks: where the draining runs.
    """

    def __init__(
        self, journal: RunJournal, sinks: Sequence[EventSink], tasks: anyio.abc.TaskGroup
    ) -> None:
        self._journal = journal
        self._queues = []
        self._left = 0
        self._scopes: list[anyio.CancelScope] = []
        self._empty = anyio.Event()
        for sink in sinks:
            send, receive = anyio.create_memory_object_stream[Event | Signal](math.inf)
            self._queues.append(send)
            self._left += 1
            tasks.start_soon(self._drain, sink, receive)

    async def emit(self, *events: Event) -> None:
        """Record events; when this returns they are on disk."""
        await self._journal.append(*events)
        self.tell(*events)

    def tell(self, *events: Event) -> None:
        """Tell the sinks of events that the journal has."""
        for event in events:
            self._offer(event)

    def show(self, signal: Signal) -> None:
        """Show a signal; a sink that is far behind misses it."""
        self._offer(signal, most=QUEUE)

    def _offer(self, item: Event | Signal, most: float = math.inf) -> None:
        for queue in self._queues:
            if queue.statistics().current_buffer_used >= most:
                continue
            try:
                queue.send_nowait(item)
            except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                continue

    async def drained(self) -> None:
        """Let the sinks see what is left, for a bounded time."""
        for queue in self._queues:
            queue.close()
        with anyio.move_on_after(DRAIN_S):
            while self._left:
                await self._empty.wait()
        for scope in self._scopes:
            scope.cancel()

    async def _drain(
        self, sink: EventSink, receive: anyio.abc.ObjectReceiveStream[Event | Signal]
    ) -> None:
        # Shielded, so that an interruption is still told; ``drained`` ends it.
        scope = anyio.CancelScope(shield=True)
        self._scopes.append(scope)
        with scope:
            async with receive:
                async for item in receive:
                    try:
                        await sink(item)
                    except Exception:  # noqa: BLE001 - a sink's fault is not the run's
                        break
                    except anyio.get_cancelled_exc_class():
                        if scope.cancel_called:
                            raise
                        break  # it cancelled work of its own; let through, it would end the run
        self._left -= 1
        if not self._left:
            self._empty.set()
