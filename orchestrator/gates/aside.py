"""Where a gate reads: beside the event loop, or right there where that is sooner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import TypeVar

import anyio.to_thread

from orchestrator.records import FileChange

T = TypeVar("T")

SMALL = 4096
"""Characters that are read in a millisecond or two; a trip to a thread takes half of one."""


async def aside(
    work: Callable[[], T],
    changes: Iterable[FileChange],
    *files: Mapping[str, bytes] | Mapping[str, str],
) -> T:
    """Do what takes long beside the event loop, and what takes less than the way there at once.

    Args:
        work: reads what is given, and nothing else.
        changes: whose changed lines it reads.
        files: whose contents it reads.
    """
    left = SMALL
    for size in _sizes(changes, files):
        left -= size
        if left < 0:
            return await anyio.to_thread.run_sync(work)
    return work()


def _sizes(
    changes: Iterable[FileChange], files: Sequence[Mapping[str, bytes] | Mapping[str, str]]
) -> Iterable[int]:
    for change in changes:
        yield len(change.path)
        for _, text in chain(change.added, change.removed):
            yield len(text) + 1
    for each in files:
        for content in each.values():
            yield len(content)
