"""Accounts form a tree: what is reserved counts at once on every level, and is settled after.

All runs of a process may have one account above them, and a review has its run's. Nothing here
waits or is done by threads: between asking for a hold and having it nobody else is served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from operator import itemgetter
from typing import TYPE_CHECKING, Literal

import anyio

from orchestrator.amounts import LimitKind, Limits, Reached, counted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RUN = "this run"
"""Whose an account is, unless it is said otherwise."""

TOGETHER = "all runs together"
"""Whose the account above all runs of a process is."""

SMALLEST = 1e-9
"""Dollars that sums of floating point numbers may be off by."""


class Hold:
    """What one request may cost, reserved on every level until it is settled.

    Attributes:
        usd: dollars at most.
        tokens: tokens at most, in and out.
    """

    __slots__ = ("_account", "_open", "tokens", "usd")

    def __init__(self, account: Account, usd: float, tokens: int) -> None:
        self._account = account
        self._open = True
        self.usd = usd
        self.tokens = tokens

    def settle(self, usd: float, tokens: int, *, turns: int = 0) -> None:
        """Book what it came to, on every level; once."""
        if not self._open:
            return
        self._open = False
        self._account.let_go(self.usd, self.tokens)
        self._account.book(usd, tokens, turns=turns)


class Account:
    """What may be used up on one level, and on those above it.

    Args:
        limits: of this level; None in one of them is no limit here.
        above: the account that has to have it as well.
        elapsed_s: tells the seconds that count against ``limits.wall_s``.
        whose: for people and for the model, like ``this run``.
        own_turns: whether turns are counted here and not above, as a reviewer's are.

    Attributes:
        spent_usd: dollars that are gone.
        spent_tokens: tokens that are gone, in and out, read from a cache or not.
        turns: replies that came.
        held_usd: dollars that are reserved, by this account and those below it.
        held_tokens: tokens that are.
        holds: by how many requests.
        sharing: how many accounts below are at work.
        closed: why nothing more is paid for; empty while it is open.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        above: Account | None = None,
        elapsed_s: Callable[[], float] = lambda: 0.0,
        whose: str = RUN,
        own_turns: bool = False,
    ) -> None:
        self.limits = limits
        self.whose = whose
        self.spent_usd = 0.0
        self.spent_tokens = 0
        self.turns = 0
        self.above = above
        self.elapsed_s = elapsed_s
        self.own_turns = own_turns
        self.held_usd = 0.0
        self.held_tokens = 0
        self.holds = 0
        self.sharing = 0
        self.closed = ""
        self.places: anyio.CapacityLimiter | None = None
        self.waited: anyio.Event | None = None

    # -- what is left ----------------------------------------------------------------------

    def levels(self) -> Iterator[Account]:
        """Yield this account and those above it."""
        level: Account | None = self
        while level is not None:
            yield level
            level = level.above

    def left_usd(self) -> float | None:
        """Return the dollars that can be reserved on every level; None means there is no limit."""
        return min(
            (one for level in self.levels() if (one := level.own_left_usd()) is not None),
            default=None,
        )

    def own_left_usd(self) -> float | None:
        """Return the dollars that can be reserved here, whatever is above."""
        return None if self.limits.usd is None else self.limits.usd - self.spent_usd - self.held_usd

    def left_tokens(self) -> int | None:
        """Return the tokens that can be reserved on every level; None means there is no limit."""
        return min(
            (one for level in self.levels() if (one := level.own_left_tokens()) is not None),
            default=None,
        )

    def own_left_tokens(self) -> int | None:
        """Return the tokens that can be reserved here, whatever is above."""
        most = self.limits.tokens
        return None if most is None else most - self.spent_tokens - self.held_tokens

    def left_s(self) -> float | None:
        """Return the seconds until the first level's time is over; None means there is no limit."""
        ends = self._ends()
        return ends[0] if ends else None

    def time_limit(self) -> Reached | None:
        """Return the limit of time that ends first; None where there is none."""
        ends = self._ends()
        return ends[1] if ends else None

    def _ends(self) -> tuple[float, Reached] | None:
        walls = [
            (max(wall - level.elapsed_s(), 0.0), level.limit("wall_s", _minutes(wall)))
            for level in self.levels()
            if (wall := level.limits.wall_s) is not None
        ]
        return min(walls, default=None, key=itemgetter(0))

    def limit(self, kind: LimitKind, said: str) -> Reached:
        """Return a limit of this level; whose it is is said where that is not this run."""
        whose = "" if self.whose == RUN else f" for {self.whose}"
        return Reached(kind, self.whose, said + whose)

    def rest(self, kind: Literal["usd", "tokens"]) -> Reached:
        """Return the limit of which least is left, as what does not pay for a request."""
        levels = [one for one in self.levels() if getattr(one.limits, kind) is not None]
        least = min(levels, key=lambda one: one.unspent(kind), default=self)
        return least.limit(kind, f"the rest of the {'money' if kind == 'usd' else 'tokens'}")

    def unspent(self, kind: Literal["usd", "tokens"]) -> float:
        """Return what is left here when all that is reserved is given back; of what has a limit."""
        if kind == "usd":
            return (self.limits.usd or 0.0) - self.spent_usd
        return (self.limits.tokens or 0) - self.spent_tokens

    def share_usd(self) -> float | None:
        """Return the dollars that one request may take, so that others can ask beside it."""
        shares = [
            min(left, (left + level.held_usd) / max(level.sharing, 1))
            for level in self.levels()
            if (left := level.own_left_usd()) is not None
        ]
        return min(shares, default=None)

    def share_tokens(self) -> int | None:
        """Return the tokens that one request may take, so that others can ask beside it."""
        shares = [
            min(left, (left + level.held_tokens) // max(level.sharing, 1))
            for level in self.levels()
            if (left := level.own_left_tokens()) is not None
        ]
        return min(shares, default=None)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Be one of those that share what the level above has, while the block lasts."""
        if self.above is None:
            yield
            return
        self.above.sharing += 1
        try:
            yield
        finally:
            self.above.sharing -= 1
            *_, top = self.levels()
            top.tell()

    # -- what is reserved and spent --------------------------------------------------------

    def hold(self, usd: float, tokens: int) -> Hold | None:
        """Reserve on every level at once; None where one of them has not got it."""
        left_usd, left_tokens = self.left_usd(), self.left_tokens()
        if left_usd is not None and usd > left_usd + SMALLEST:
            return None
        if left_tokens is not None and tokens > left_tokens:
            return None
        for level in self.levels():
            level.held_usd += usd
            level.held_tokens += tokens
            level.holds += 1
        return Hold(self, usd, tokens)

    def let_go(self, usd: float, tokens: int) -> None:
        """Give back what was reserved."""
        for level in self.levels():
            level.holds -= 1
            # With no hold left nothing is held: sums of fractions do not quite come to nothing.
            level.held_usd = level.held_usd - usd if level.holds else 0.0
            level.held_tokens -= tokens
            level.tell()

    def book(self, usd: float, tokens: int, *, turns: int = 0) -> None:
        """Book what is spent, on every level; also what was spent before this process began."""
        for level in self.levels():
            level.book_here(usd, tokens, turns=turns)
            if level.own_turns:
                turns = 0

    def book_here(self, usd: float, tokens: int, *, turns: int = 0) -> None:
        """Book what the levels above know of already."""
        self.spent_usd += usd
        self.spent_tokens += tokens
        self.turns += turns

    def has(self, usd: float, tokens: int) -> bool:
        """Tell whether every level would have so much, were nothing reserved by others."""
        return all(
            (level.limits.usd is None or level.limits.usd - level.spent_usd >= usd)
            and (level.limits.tokens is None or level.limits.tokens - level.spent_tokens >= tokens)
            for level in self.levels()
        )

    def is_shared(self) -> bool:
        """Tell whether others have reserved something on one of these levels."""
        return any(level.holds > 0 for level in self.levels())

    async def changed(self) -> None:
        """Wait until something that was reserved on the highest level is settled."""
        *_, top = self.levels()
        if top.waited is None:
            top.waited = anyio.Event()
        await top.waited.wait()

    def close(self, why: str) -> None:
        """Pay for no further reply; those that are under way are settled as ever.

        Args:
            why: as a limit that is reached, like ``the end of the night``.
        """
        self.closed = self.closed or why
        self.tell()

    def tell(self) -> None:
        """Wake those who wait for something to be settled."""
        if self.waited is not None:
            self.waited.set()
            self.waited = None

    # -- what is reached -------------------------------------------------------------------

    def reached(self) -> Reached | None:
        """Return the limit that is reached on some level; None where there is none."""
        turns = True
        for level in self.levels():
            found = level.own_reached(turns=turns)
            if found is not None:
                return found
            turns = turns and not level.own_turns
        return None

    def own_reached(self, *, turns: bool = True) -> Reached | None:
        """Return the limit that is reached here; None where there is none.

        Args:
            turns: whether those of turns count.
        """
        if self.closed:
            return Reached("closed", self.whose, self.closed)
        limits = self.limits
        if turns and limits.turns is not None and self.turns >= limits.turns:
            return self.limit("turns", f"the limit of {counted(limits.turns, 'turn')}")
        if limits.usd is not None and self.spent_usd >= limits.usd:
            return self.limit("usd", f"the limit of ${limits.usd:g}")
        if limits.tokens is not None and self.spent_tokens >= limits.tokens:
            return self.limit("tokens", f"the limit of {limits.tokens} tokens")
        if limits.wall_s is not None and self.elapsed_s() >= limits.wall_s:
            return self.limit("wall_s", _minutes(limits.wall_s))
        return None

    def used(self) -> list[tuple[str, float, float]]:
        """Return, for what has a limit on this level, its name, what is used and the limit."""
        rows = (
            ("money", self.spent_usd, self.limits.usd),
            ("tokens", float(self.spent_tokens), self.limits.tokens),
            ("time", self.elapsed_s(), self.limits.wall_s),
        )
        return [(name, used, float(most)) for name, used, most in rows if most]

    # -- commands --------------------------------------------------------------------------

    def is_full(self) -> bool:
        """Tell whether a command would have to wait for a place."""
        return any(
            level.places is not None and level.places.available_tokens < 1
            for level in self.levels()
        )

    def place(self) -> AbstractAsyncContextManager[None]:
        """Have a place for one command on every level while the block lasts; waits for it.

        Places are had from below to above, so that nobody waits for somebody who waits for it.
        """
        return self._placed()

    @asynccontextmanager
    async def _placed(self) -> AsyncIterator[None]:
        token = object()
        had: list[anyio.CapacityLimiter] = []
        try:
            for level in self.levels():
                if level.limits.tools is None:
                    continue
                if level.places is None:
                    level.places = anyio.CapacityLimiter(max(level.limits.tools, 1))
                await level.places.acquire_on_behalf_of(token)
                had.append(level.places)
            yield
        finally:
            for places in had:
                places.release_on_behalf_of(token)


def _minutes(seconds: float) -> str:
    return f"the limit of {seconds / 60:g} minute{'' if seconds == 60 else 's'}"
