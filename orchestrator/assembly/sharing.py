"""What the runs of one process share: what they may use up together, and the models' lanes."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

from orchestrator.accounts import TOGETHER, Account
from orchestrator.errors import ConfigError
from orchestrator.governor import Governor
from orchestrator.journals.board import Board
from orchestrator.journals.owners import owner_of
from orchestrator.planning import Wish
from orchestrator.records import Limits
from orchestrator.settings import Config

UNITS = {
    "usd": "dollars",
    "turns": "turns",
    "wall_s": "seconds",
    "tokens": "tokens",
    "tools": "commands at once",
}


def sound(limits: Limits) -> Limits:
    """Return limits as they are, if something can be measured by them.

    Raises:
        ConfigError: one is negative, infinite, or no number at all: no sum ever reaches that.
    """
    for name in ("usd", "turns", "wall_s", "tokens", "tools"):
        most = getattr(limits, name)
        if most is not None and not 0 <= most < math.inf:
            raise ConfigError(
                f"a limit of {most} {UNITS[name]} cannot be kept",
                hint="name a number, or leave it out for no limit",
            )
    return limits


def shared_account(together: Limits | Account | None) -> Account | None:
    """Return the account above all runs of a process; its time begins now.

    Raises:
        ConfigError: a limit is none that can be kept.
    """
    if not isinstance(together, Limits):
        return together
    began = time.monotonic()
    return Account(sound(together), elapsed_s=lambda: time.monotonic() - began, whose=TOGETHER)


class Governing:
    """The governor of all runs of one process, and its place on the board of the state directory.

    Args:
        config: says how many requests may be under way at once.
        state: the state directory, whose journal is there when the first request is sent.
    """

    def __init__(self, config: Config, state: Path) -> None:
        self._board = Board(state / "journal.db", owner=owner_of(os.getpid()))
        self.governor = Governor(concurrency=config.model.concurrency, board=self._board)

    def close(self) -> None:
        """Take this process off the board; who goes on asking stands on it again."""
        self._board.close()


def limits_of(wish: Wish, usual: Limits, *, slow: bool = False) -> Limits:
    """Return a run's limits: what was asked for, else what is usual.

    Args:
        wish: what was asked for.
        usual: what the run had, or the settings say.
        slow: whether its replies come in batches, hours later: then no usual time limit holds.

    Raises:
        ConfigError: one is none that can be kept.
    """
    minutes, wall = wish.limit_minutes, None if slow else usual.wall_s
    return sound(
        Limits(
            usd=usual.usd if wish.limit_usd is None else wish.limit_usd,
            turns=usual.turns if wish.limit_turns is None else wish.limit_turns,
            wall_s=wall if minutes is None else minutes * 60,
            tokens=usual.tokens if wish.limit_tokens is None else wish.limit_tokens,
            tools=usual.tools,
        )
    )
