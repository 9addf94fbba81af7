"""How often the watchdog looks: soon at what is new, and never once for each that begins."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from orchestrator.sandboxes import watch
from orchestrator.sandboxes.watch import Limits, Watchdog

SAFETY_S = 20.0


class Idle:
    """A sandbox in which nothing runs, and that notes when it is looked at."""

    pid = 0

    def __init__(self) -> None:
        self.looks = 0
        self.looked_at = threading.Event()
        self.reason = ""

    def count(self) -> int:
        self.looks += 1
        self.looked_at.set()
        return 2

    def ran_out_of_memory(self) -> bool:
        return self.reason == "memory"

    def end_for(self, reason: str) -> None:
        self.reason = reason


@pytest.fixture
def watchdog(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watchdog]:
    """One that rests for long and looks quickly; its thread ends with the test."""
    monkeypatch.setattr(watch, "PERIOD_S", 0.05)
    monkeypatch.setattr(watch, "IDLE_S", 3600.0)
    made = Watchdog(Limits(disk_free_mb=0))
    before = set(threading.enumerate())
    yield made
    for thread in set(threading.enumerate()) - before:
        thread.join(SAFETY_S)
        assert not thread.is_alive()


def test_a_hundred_that_begin_together_are_looked_at_together(watchdog: Watchdog) -> None:
    """It is woken from its rest once, and looks once a period, not once for each of them."""
    began = time.monotonic()
    first, others = Idle(), [Idle() for _ in range(100)]
    watchdog.watch(first, ())
    assert first.looked_at.wait(SAFETY_S)
    for one in others:
        watchdog.watch(one, ())
    for one in others:
        assert one.looked_at.wait(SAFETY_S)
    for one in (first, *others):
        watchdog.unwatch(one)
    periods = (time.monotonic() - began) / watch.PERIOD_S
    assert max(one.looks for one in (first, *others)) <= periods + 1


def test_who_was_taken_off_is_not_looked_at(watchdog: Watchdog) -> None:
    """Not even in the look that was under way."""
    kept, gone = Idle(), Idle()

    class Ending(Idle):
        """Takes another one off while all are looked at."""

        def count(self) -> int:
            watchdog.unwatch(gone)
            return super().count()

    ending = Ending()
    for one in (ending, gone, kept):
        watchdog.watch(one, ())
    assert kept.looked_at.wait(SAFETY_S)
    assert gone.looks == 0
    watchdog.unwatch(ending)
    watchdog.unwatch(kept)
    watchdog.unwatch(kept)
