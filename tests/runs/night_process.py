"""A process that works on a night, to be killed: ``python -m tests.runs.night_process STATE [NIGHT]``."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from orchestrator.assembly.nights import Nights
from orchestrator.batches.book import decode_night
from orchestrator.batches.shift import ShiftPace
from tests.runs.night_stage import QUICK


async def main(state: Path, night: Path | None) -> None:
    """Begin the night of a file, or go on with the newest."""
    async with Nights(state=state, lane_pace=QUICK, pace=ShiftPace(backoff_s=0.05)) as nights:
        if night is not None:
            begun = nights.begun(decode_night(night.read_bytes()))
        else:
            begun = nights.resumed()
        async with begun as shift:
            await shift.work()


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
