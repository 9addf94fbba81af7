"""Changes of several runs in one transaction: the disk is waited for once for all of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Change(Generic[T]):
    """A change that waits to be made, and then what came of it.

    Args:
        work: changes nothing but the database; it may be done again where others' fail.
    """

    def __init__(self, work: Callable[[sqlite3.Connection], T]) -> None:
        self._work = work
        self._done: list[T] = []
        self._error: Exception | None = None

    @property
    def ended(self) -> bool:
        """Tell whether it was made, or has failed."""
        return bool(self._done) or self._error is not None

    def result(self) -> T:
        """Return what the work returned, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._done[0]

    def make(self, file: sqlite3.Connection) -> T:
        """Do the work within a transaction, which nothing says yet that it is kept."""
        return self._work(file)

    def keep(self, done: T) -> None:
        """Note that what was made is on disk."""
        self._done.append(done)

    def make_alone(self, file: sqlite3.Connection) -> None:
        """Do the work in a transaction of its own, and note how that ended."""
        try:
            self._done.append(transaction(file, self._work))
        except Exception as error:  # noqa: BLE001 - kept for who waits
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Note why it was not made; the error is raised where it is waited for."""
        self._error = error


def make_together(file: sqlite3.Connection, changes: Sequence[Change[Any]]) -> None:
    """Make all changes in one transaction; where one of them fails, each in one of its own."""
    try:
        file.execute("begin immediate")
    except sqlite3.Error as error:
        # Another process holds the file for long: nobody has to wait for that once more.
        for one in changes:
            one.fail(error)
        return
    try:
        done = _to_its_end(file, lambda _: [one.make(file) for one in changes])
    except Exception:  # noqa: BLE001 - told to whose change it was
        for one in changes:
            one.make_alone(file)
        return
    for one, result in zip(changes, done, strict=True):
        one.keep(result)


def transaction(file: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """Do a piece of work in one transaction that holds the file from its beginning."""
    file.execute("begin immediate")
    return _to_its_end(file, work)


def _to_its_end(file: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    try:
        done = work(file)
        file.execute("commit")
    except BaseException:
        if file.in_transaction:
            file.execute("rollback")
        raise
    return done
