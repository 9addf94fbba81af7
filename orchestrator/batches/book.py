"""The book of nights: events encoded, decoded, and kept before anybody is told of them."""

from __future__ import annotations

import typing
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import orjson

from orchestrator.batches.nights import Night, NightEnded, NightEvent
from orchestrator.batches.views import NightView
from orchestrator.errors import JournalError
from orchestrator.rebuilding import build

KINDS: dict[str, type[NightEvent]] = {one.__name__: one for one in typing.get_args(NightEvent)}


class KeptNight(Protocol):
    """The journal of one night that this process owns."""

    night: str
    epoch: int

    async def append(
        self, rows: Sequence[tuple[str, str, bytes]], state: str | None = None
    ) -> None: ...
    async def events(self) -> list[tuple[str, bytes]]: ...


Heard = Callable[[NightEvent, NightView], Awaitable[None]]
"""Is told of each event of a night once it is on disk, and how the night stands after it."""


async def unheard(_: NightEvent, __: NightView) -> None:
    """Tell nobody."""


class NightBook:
    """One night's events: kept first, folded next, told last.

    Args:
        kept: the journal.
        view: how the night stands by the events that it holds already.
        heard: is told of each event; what it raises is its own fault and changes nothing.
    """

    def __init__(self, kept: KeptNight, view: NightView, heard: Heard = unheard) -> None:
        self._kept = kept
        self._heard = heard
        self.view = view

    @property
    def epoch(self) -> int:
        """Return the epoch of this process."""
        return self._kept.epoch

    async def emit(self, *events: NightEvent) -> None:
        """Record events together; when this returns they are on disk.

        Raises:
            LeaseLost: another process has taken the night over.
            JournalError: they cannot be recorded.
        """
        state = None
        for event in events:
            if isinstance(event, NightEnded):
                state = "ended" if event.complete else "open"
        await self._kept.append(
            [(one.key, type(one).__name__, orjson.dumps(one)) for one in events], state
        )
        for event in events:
            self.view.apply(event)
            try:
                await self._heard(event, self.view)
            except Exception:  # noqa: BLE001, S112 - whoever looks on stops no night
                continue


def encode_night(night: Night) -> bytes:
    """Encode the record of a night."""
    return orjson.dumps(night)


def decode_night(data: bytes) -> Night:
    """Rebuild the record of a night.

    Raises:
        JournalError: it cannot be read.
    """
    try:
        return typing.cast("Night", build(Night, orjson.loads(data)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JournalError(f"a batch in the journal cannot be read: {error}") from error


def decode_events(rows: Sequence[tuple[str, bytes]]) -> list[NightEvent]:
    """Rebuild the events of a night.

    Raises:
        JournalError: one cannot be read.
    """
    try:
        return [
            typing.cast("NightEvent", build(KINDS[kind], orjson.loads(data))) for kind, data in rows
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JournalError(
            f"an event of a batch cannot be read: {error}",
            hint="was it written by a newer version?",
        ) from error
