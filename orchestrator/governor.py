"""One governor for all runs of a process: a lane for each model, shared with other processes."""

from __future__ import annotations

import time
from collections.abc import Callable

from orchestrator.lanes import Lane, LaneBoard


class Governor:
    """Knows the lane of each model.

    Args:
        concurrency: requests to one model that are under way at once; 0 is as many as it takes.
        board: what other processes of the state directory know too; None leaves them out.
        clock: tells seconds.
    """

    def __init__(
        self,
        *,
        concurrency: int = 0,
        board: LaneBoard | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._concurrency = concurrency
        self._board = board
        self._clock = clock
        self._lanes: dict[str, Lane] = {}

    def lane(self, model: str) -> Lane:
        """Return the lane of a model, by its full id."""
        if model not in self._lanes:
            self._lanes[model] = Lane(
                model, most=self._concurrency, clock=self._clock, board=self._board
            )
        return self._lanes[model]
