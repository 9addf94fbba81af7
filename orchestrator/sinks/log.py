"""A log of everything that happens, one JSON object a line, for programs."""

from __future__ import annotations

from typing import TextIO

import orjson
import structlog

from orchestrator.events import Event, Signal, encode

LONGEST = 2000


class LogSink:
    """Writes every event and signal as a line of JSON; message bytes are cut short.

    Args:
        stream: where to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._log = structlog.wrap_logger(
            structlog.PrintLogger(stream),
            processors=[
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(),
            ],
            wrapper_class=structlog.BoundLogger,
        )

    async def __call__(self, event: Event | Signal) -> None:
        """Write one event or signal."""
        self.record(event)

    def record(self, event: object, **whose: str) -> None:
        """Write one event of any kind.

        Args:
            event: a frozen value.
            whose: names that tell it from others like it, as a run's where there are many.
        """
        fields = orjson.loads(encode(event)) | whose  # type: ignore[arg-type]
        for name in ("message", "head"):
            if isinstance(fields.get(name), str):
                fields[name] = fields[name][:LONGEST]
        self._log.info(
            type(event).__name__, **{f"{k}_" if k == "event" else k: v for k, v in fields.items()}
        )
