"""One answer for all who ask at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class SharedAnswer(Generic[Answer]):
    """A question that many threads ask at the same time, and that is answered once for them.

    Nobody gets an answer that was begun before they asked, so it is as true as one of their own.

    Args:
        question: what is asked; it may take a while.
    """

    def __init__(self, question: Callable[[], Answer]) -> None:
        self._question = question
        self._asking = threading.Lock()
        self._counting = threading.Lock()
        self._begun = 0
        self._last: tuple[int, Answer] | None = None

    def answer(self) -> Answer:
        """Return an answer that was begun after this was called."""
        with self._counting:
            begun = self._begun
        with self._asking:
            if self._last is not None and self._last[0] > begun:
                return self._last[1]
            with self._counting:
                self._begun += 1
                number = self._begun
            found = self._question()
            self._last = (number, found)
            return found
