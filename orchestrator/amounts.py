"""Amounts: what may be used up, what was, and what a service says is left of its rates."""

from __future__ import annotations

from typing import Literal

from orchestrator.values import frozen

LimitKind = Literal["usd", "turns", "wall_s", "tokens", "closed"]


@frozen
class Limits:
    """What a run, or all runs of a process together, may use up; None means no limit.

    Attributes:
        wall_s: seconds since it was begun, or taken up again.
        tokens: all that go in and out, also those that are read from a cache.
        tools: commands that run at once: calls of Bash, and gates.
    """

    usd: float | None = None
    turns: int | None = None
    wall_s: float | None = None
    tokens: int | None = None
    tools: int | None = None


@frozen
class Reached:
    """A limit that was reached.

    Attributes:
        kind: its name in ``Limits``; ``closed`` where nothing more is paid for, whatever is left.
        whose: whose limit it is, like ``this run``.
        said: for people, like ``the limit of 3 turns``.
    """

    kind: LimitKind
    whose: str
    said: str


@frozen
class Usage:
    """Tokens, as the service counts them."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        """Add two counts up."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.cache_write_1h_tokens + other.cache_write_1h_tokens,
        )

    @property
    def tokens(self) -> int:
        """Return all tokens, in and out."""
        return self.prompt_tokens + self.output_tokens

    @property
    def cache_read_share(self) -> float:
        """Return the share of what went in that a cache gave; 0 where nothing went in."""
        return self.cache_read_tokens / self.prompt_tokens if self.prompt_tokens else 0.0

    @property
    def prompt_tokens(self) -> int:
        """Return all tokens that went in, cached or not."""
        return (
            self.input_tokens
            + self.cache_read_tokens
            + self.cache_write_tokens
            + self.cache_write_1h_tokens
        )


@frozen
class RateNews:
    """What a service said of one of its limits of rate.

    Attributes:
        kind: what is counted: ``requests``, ``tokens``, ``input-tokens``, ``output-tokens``.
        most: how many there are when it is full.
        left: how many are left.
        full_s: seconds until it is full again.
    """

    kind: str
    most: int
    left: int
    full_s: float


def counted(number: int, what: str) -> str:
    """Return a number of things as people say it: ``1 file``, ``2 files``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
