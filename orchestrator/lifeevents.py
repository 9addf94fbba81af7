"""Durable events of a run's own life: taken from a silent owner, given up."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.values import frozen


@frozen
class RunTakenOver:
    """The run was taken from a process that was there, and had been silent for too long.

    What that process has running inside still writes in the place it had: nobody works there any
    more.

    Attributes:
        epoch: the one that began with it.
        owner: who had it.
        silent_s: for how long nothing was heard of it.
    """

    epoch: int
    owner: str
    silent_s: float

    @property
    def key(self) -> str:
        return f"taken-over/{self.epoch}"


@frozen
class RunAbandoned:
    """A person has given the run up.

    Attributes:
        epoch: the one in which that was done.
        rescue: the ref that keeps its work; empty where there was none.
        commit: what it points at.
    """

    epoch: int
    rescue: str = ""
    commit: str = ""

    @property
    def key(self) -> str:
        return f"abandoned/{self.epoch}"


def taken_at(events: Sequence[object]) -> int:
    """Return the epoch in which a run was last taken from a silent owner; 0 where it never was."""
    return max((one.epoch for one in events if isinstance(one, RunTakenOver)), default=0)
