"""What a run may still use up: reserved before a request, settled after its reply."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from orchestrator.accounts import RUN, Account, Hold
from orchestrator.amounts import Reached
from orchestrator.contextevents import Compacted, ResultsCleared
from orchestrator.events import (
    AUTHOR,
    Event,
    ModelReplied,
    RunStarted,
)
from orchestrator.modelevents import ModelSwitched, RequestFailed, RequestIntended
from orchestrator.nearing import Nearing
from orchestrator.prices import Price
from orchestrator.records import Limits, ModelRequest, Usage
from orchestrator.values import frozen

USUAL_OUTPUT = 4096
"""Tokens that a reply is taken to need until the run has shown otherwise."""

LEAST_OUTPUT = 1024
"""Tokens of output below which a request is not worth sending."""

FIRST_BYTES_PER_TOKEN = 3.0
"""A cautious guess; from the first reply on, the run's own ratio is used."""

DENSER = 0.1
"""Share by which what is new may take more tokens than the bytes before it did."""


@frozen
class Reservation:
    """What a request is taken to cost, and the output it may ask for.

    Attributes:
        usd: with an output as usual; on the account it holds what the longest one may cost.
        tokens: the same in tokens.
    """

    usd: float
    max_tokens: int
    tokens: int = 0


class Ledger:
    """What the requests of one session are paid from: it knows prices, its account the limits.

    Args:
        limits: what the run may use up.
        price: the model's price; None only where no dollar limit is set.
        max_output: the most tokens that the model can answer with.
        elapsed_s: tells the seconds since this process took the run up.
        above: what pays as well, and has to have the money: the run's ledger for a review's, or
            the account of all runs of a process; None where there is none.
        session: whose turns are counted here.
        account: whose money is: a session, the beginning of some that ends in a slash, or all.
        whose: for people and for the model.

    Attributes:
        account: what is reserved and spent, here and above.
        usage: the tokens of all replies, as the service counts them.
    """

    def __init__(  # noqa: PLR0913 - what an account depends on
        self,
        limits: Limits,
        price: Price | None,
        *,
        max_output: int,
        elapsed_s: Callable[[], float] = lambda: 0.0,
        above: Ledger | Account | None = None,
        session: str = AUTHOR,
        account: str = "",
        whose: str = RUN,
    ) -> None:
        self._above = above if isinstance(above, Ledger) else None
        paying: Account | None = above.account if isinstance(above, Ledger) else above
        self.account: Account = Account(
            limits,
            above=paying,
            elapsed_s=elapsed_s,
            whose=whose,
            own_turns=isinstance(above, Ledger),
        )
        self._session = session
        self._sessions = account
        self.limits = limits
        self.usage = Usage()
        self._short_of: Literal["usd", "tokens"] = "usd"
        self._nearing = Nearing(self.account, session)
        self._price = price
        self._max_output = max_output
        self._ratio = FIRST_BYTES_PER_TOKEN
        self._sent_bytes = 0
        self._largest_output = 0
        self._hold: Hold | None = None
        self._lost: dict[tuple[str, int], tuple[float, int]] = {}

    @property
    def spent_usd(self) -> float:
        """Return the dollars that are gone."""
        return self.account.spent_usd

    @property
    def turns(self) -> int:
        """Return the replies that came."""
        return self.account.turns

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Share what the accounts above have, while the block lasts; nothing is held after it."""
        with self.account.at_work():
            try:
                yield
            finally:
                self.let_go()

    # -- one request -----------------------------------------------------------------------

    def reserve(self, request: ModelRequest) -> Reservation | None:
        """Reserve a request's price; None when not even a short reply can be paid for now.

        There is one request at a time: what an earlier one reserved is let go.
        """
        self._settle(0.0, 0)
        size = request.size()
        usual = max(USUAL_OUTPUT, self._largest_output)
        tokens_in = self._input_tokens(size)
        left_usd = self._share_usd(size) if self._price is not None else None
        left_tokens = self._share_tokens(size)
        if left_usd is None and left_tokens is None:
            return Reservation(0.0, self._max_output, tokens_in + min(usual, self._max_output))
        per_token = self._price.output / 1e6 if self._price is not None else 0.0
        cost_in, spare = self._input_usd(size), self._input_usd(size, denser=DENSER)
        affordable = self._max_output
        if left_usd is not None:
            free = affordable if left_usd >= cost_in else 0
            affordable = int((left_usd - spare) / per_token) if per_token else free
        spare_tokens = self._input_tokens(size, denser=DENSER)
        if left_tokens is not None:
            affordable = min(affordable, left_tokens - spare_tokens)
        if affordable < LEAST_OUTPUT:
            few = left_tokens is not None and left_tokens - spare_tokens < LEAST_OUTPUT
            self._short_of = "tokens" if few else "usd"
            return None
        most = min(affordable, self._max_output)
        dearest = spare + most * per_token
        self._hold = self.account.hold(
            dearest if left_usd is None else min(dearest, left_usd), spare_tokens + most
        )
        if self._hold is None:
            return None
        usual = min(usual, most)
        cost = 0.0 if left_usd is None else cost_in + usual * per_token
        return Reservation(cost, most, tokens_in + usual)

    def _share_usd(self, size: int) -> float | None:
        """Return the dollars for a request: its share, but no less than a usual reply takes."""
        left, share = self.account.left_usd(), self.account.share_usd()
        if left is None or share is None or self._price is None:
            return None
        usual = self._input_usd(size, denser=DENSER) + USUAL_OUTPUT * self._price.output / 1e6
        return min(left, max(share, usual))

    def _share_tokens(self, size: int) -> int | None:
        left, share = self.account.left_tokens(), self.account.share_tokens()
        if left is None or share is None:
            return None
        return min(left, max(share, self._input_tokens(size, denser=DENSER) + USUAL_OUTPUT))

    def let_go(self) -> None:
        """Give back what is reserved for a request that is not made after all."""
        self._settle(0.0, 0)

    def is_held_up(self, request: ModelRequest) -> bool:
        """Tell whether a reservation failed only for what others have reserved."""
        size = request.size()
        per_token = self._price.output / 1e6 if self._price is not None else 0.0
        return (
            self.account.has(
                self._input_usd(size, denser=DENSER) + LEAST_OUTPUT * per_token,
                self._input_tokens(size, denser=DENSER) + LEAST_OUTPUT,
            )
            and self.account.is_shared()
        )

    def rest(self) -> Reached:
        """Return the limit for which the last reservation failed."""
        return self.account.rest(self._short_of)

    def left_usd(self) -> float | None:
        """Return the dollars that may still be spent; None means there is no limit."""
        return self.account.left_usd()

    def fresh_tokens(self, request: ModelRequest) -> int:
        """Return the tokens of a request that no cache is taken to have."""
        return int(max(request.size() - self._sent_bytes, 0) / self._ratio)

    def usual_output(self) -> int:
        """Return the tokens that a reply is taken to need."""
        return max(USUAL_OUTPUT, self._largest_output)

    def _input_tokens(self, size: int, denser: float = 0.0) -> int:
        new = max(size - self._sent_bytes, 0) / self._ratio * (1 + denser)
        return int(min(self._sent_bytes, size) / self._ratio + new)

    def _input_usd(self, size: int, denser: float = 0.0) -> float:
        """Estimate the input's price: what was sent before is read from the cache."""
        if self._price is None:
            return 0.0
        known = min(self._sent_bytes, size) / self._ratio
        new = max(size - self._sent_bytes, 0) / self._ratio * (1 + denser)
        dollars = known * self._price.cache_read + new * self._price.cache_write
        return dollars / 1e6

    def input_usd(self, request: ModelRequest) -> float:
        """Return what a request is taken to have cost when its reply broke off."""
        return self._input_usd(request.size())

    def input_tokens(self, request: ModelRequest) -> int:
        """Return the tokens that a request is taken to have."""
        return self._input_tokens(request.size())

    def cost(self, usage: Usage) -> float:
        """Return the price of a reply in dollars; 0 for a model without a price."""
        return self._price.cost(usage) if self._price else 0.0

    def switch(self, price: Price | None, max_output: int) -> None:
        """Reckon with another model from here on."""
        self._price = price
        self._max_output = max_output

    def cool(self) -> None:
        """Reckon with a cache that holds nothing of what was sent."""
        self._sent_bytes = 0

    def lost(self, session: str, turn: int) -> tuple[float, int]:
        """Return the dollars and tokens that an earlier process's last attempt at a turn booked."""
        return self._lost.get((session, turn), (0.0, 0))

    def settle(
        self,
        request_bytes: int,
        usage: Usage,
        cost_usd: float,
        regained: tuple[float, int] = (0.0, 0),
    ) -> None:
        """Book a reply.

        Args:
            request_bytes: the size of its request.
            usage: what it took.
            cost_usd: what that cost.
            regained: what was booked for it already, as lost.
        """
        usd, tokens = regained
        self._settle(cost_usd - usd, usage.tokens - tokens, turns=1)
        self.use(usage)
        self._learn(request_bytes, usage)

    def _learn(self, request_bytes: int, usage: Usage) -> None:
        """Learn from a reply what the next ones are taken to need."""
        self._largest_output = max(self._largest_output, usage.output_tokens)
        self._sent_bytes = request_bytes
        if usage.prompt_tokens and request_bytes:
            self._ratio = max(request_bytes / usage.prompt_tokens, 1.0)

    def lose(self, cost_usd: float, tokens: int = 0) -> None:
        """Book money and tokens for which no reply came."""
        self._settle(cost_usd, tokens)

    def rewritten(self, same: int) -> None:
        """Take note that of the last request only so many bytes are as they were."""
        self._sent_bytes = min(self._sent_bytes, same)

    def within(self, session: str) -> Ledger:
        """Return an account for a request beside this one's turns, which pays here as well."""
        beside = Ledger(
            Limits(),
            self._price,
            max_output=self._max_output,
            above=self,
            session=session,
            account=session,
        )
        beside._ratio, beside._sent_bytes = self._ratio, self._sent_bytes
        return beside

    def _settle(self, usd: float, tokens: int, *, turns: int = 0) -> None:
        hold, self._hold = self._hold, None
        if hold is None:
            self.account.book(usd, tokens, turns=turns)
        else:
            hold.settle(usd, tokens, turns=turns)

    def use(self, usage: Usage) -> None:
        """Count tokens, here and above."""
        self.usage += usage
        if self._above is not None:
            self._above.use(usage)

    # -- what a journal tells --------------------------------------------------------------

    def recount(self, events: Sequence[Event]) -> None:
        """Book what was spent before; an intent without a result counts.

        The accounts above are not touched: each counts for itself what came before.
        """
        open_intents: dict[tuple[str, int], tuple[float, int]] = {}
        for event in events:
            self._nearing.recount(event)
            if not isinstance(event, RequestIntended | RequestFailed | ModelReplied):
                self._recount_other(event)
                continue
            if not self._counts(event.session):
                continue
            intended = open_intents.pop((event.session, event.turn), (0.0, 0))
            match event:
                case RequestIntended(reserved_usd=reserved):
                    self.account.book_here(*intended)  # one that no result followed
                    open_intents[(event.session, event.turn)] = reserved, event.reserved_tokens
                case RequestFailed(cost_usd=cost):
                    self.account.book_here(cost, event.tokens)
                case ModelReplied(cost_usd=cost):
                    self._recount_reply(event, cost)
        for intended in open_intents.values():
            self.account.book_here(*intended)
        self._lost = open_intents

    def _recount_other(self, event: Event) -> None:
        """Take up what changes how the next request is reckoned, and what the route took."""
        match event:
            case RunStarted():
                self._recount_route(event)
            case ModelSwitched() if event.session == self._session:
                self.cool()
            case ResultsCleared() | Compacted() if event.session == self._session:
                self.rewritten(event.same)

    def _recount_route(self, event: RunStarted) -> None:
        """Book what a model took that chose the agent: the run's account pays, no other."""
        choice = event.run.route.choice
        if choice is not None and not self._sessions:
            self.usage += choice.usage
            self.account.book_here(choice.cost_usd, choice.usage.tokens)

    def _counts(self, session: str) -> bool:
        account = self._sessions
        return (
            session.startswith(account)
            if not account or account.endswith("/")
            else (session == account)
        )

    def _recount_reply(self, event: ModelReplied, cost: float) -> None:
        self.usage += event.usage
        own = event.session == self._session
        tokens = event.usage.tokens - event.regained_tokens
        self.account.book_here(cost - event.regained_usd, tokens, turns=1 if own else 0)
        if own and event.request_bytes:
            self._learn(event.request_bytes, event.usage)
        elif own:  # an older version recorded it
            self._largest_output = max(self._largest_output, event.usage.output_tokens)

    # -- what is reached and near ----------------------------------------------------------

    def reached(self) -> Reached | None:
        """Return the limit that is reached, here or above; None where there is none."""
        return self.account.reached()

    def notice(self) -> str:
        """Return what the model should be told about a limit that is near; mostly nothing."""
        return self._nearing.notice()
