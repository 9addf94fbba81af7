"""Ctrl-C and SIGTERM: the first ends work in order, the second at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable

import anyio

INTERRUPTED = 130


async def until_stopped(work: Callable[[], Awaitable[None]], tell: Callable[[str], None]) -> bool:
    """Do the work to its end, or until SIGINT or SIGTERM; tell whether it came to its end.

    Args:
        work: is cancelled by the first signal; what it then does to end in order is waited for.
        tell: says a line to whoever looks on.
    """
    ended = False
    working = anyio.CancelScope()
    async with anyio.create_task_group() as tasks:

        async def listen(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
                task_status.started()
                async for _ in received:
                    if working.cancel_called:
                        # As safe as a kill, which the journal is made for; what is half way
                        # through its own ending has nothing better to offer.
                        os._exit(INTERRUPTED)
                    tell("stopping: what runs is parked; once more ends it at once")
                    working.cancel()

        await tasks.start(listen)
        with working:
            await work()
            ended = True
        tasks.cancel_scope.cancel()
    return ended
