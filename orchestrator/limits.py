"""What a run may still use up: reserved before a request, settled after its reply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.events import (
    AUTHOR,
    Event,
    ModelReplied,
    RequestFailed,
    RequestIntended,
    RunStarted,
)
from orchestrator.prices import Price
from orchestrator.records import Limits, ModelRequest, Usage

USUAL_OUTPUT = 4096
"""Tokens that a reply is taken to need until the run has shown otherwise."""

LEAST_OUTPUT = 1024
"""Tokens of output below which a request is not worth sending."""

FIRST_BYTES_PER_TOKEN = 3.0
"""A cautious guess; from the first reply on, the run's own ratio is used."""

DENSER = 0.1
"""Share by which what is new may take more tokens than the bytes before it did."""

FINISH = "Bring the work to a state that can be handed in."

SOON = 0.8
"""Share of a limit after which the model is told that the end is near."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a request may cost, and the output it may ask for."""

    usd: float
    max_tokens: int


class Ledger:
    """The account of one run: what was spent, what is reserved, what is left.

    Args:
        limits: what the run may use up.
        price: the model's price; None only where no dollar limit is set.
        max_output: the most tokens that the model can answer with.
        elapsed_s: tells the seconds since this process took the run up.
        above: the account that pays as well, and has to have the money; None where this is the
            run's own. Turns are counted in one account only.
        session: whose turns are counted here.
        account: whose money is: a session, the beginning of some that ends in a slash, or all.
    """

    def __init__(  # noqa: PLR0913 - what an account depends on
        self,
        limits: Limits,
        price: Price | None,
        *,
        max_output: int,
        elapsed_s: Callable[[], float] = lambda: 0.0,
        above: Ledger | None = None,
        session: str = AUTHOR,
        account: str = "",
    ) -> None:
        self._above = above
        self._session = session
        self._account = account
        self.limits = limits
        self.usage = Usage()
        self.spent_usd = 0.0
        self.turns = 0
        self._elapsed_s = elapsed_s
        self._told: set[str] = set()
        self._price = price
        self._max_output = max_output
        self._ratio = FIRST_BYTES_PER_TOKEN
        self._sent_bytes = 0
        self._largest_output = 0

    def reserve(self, request: ModelRequest) -> Reservation | None:
        """Reserve a request's price; None when not even a short reply can be paid for."""
        left = self.left_usd()
        if left is None or self._price is None:
            return Reservation(0.0, self._max_output)
        cost_in = self._input_usd(request.size())
        per_token = self._price.output / 1e6
        most_in = self._max_output if left >= cost_in else 0
        spare = self._input_usd(request.size(), denser=DENSER)
        affordable = int((left - spare) / per_token) if per_token else most_in
        if affordable < LEAST_OUTPUT:
            return None
        usual = max(USUAL_OUTPUT, self._largest_output)
        most = min(affordable, self._max_output)
        return Reservation(cost_in + min(usual, most) * per_token, most)

    def left_usd(self) -> float | None:
        """Return the dollars that may still be spent; None means there is no limit."""
        above = self._above.left_usd() if self._above is not None else None
        own = None if self.limits.usd is None else self.limits.usd - self.spent_usd
        return min((one for one in (own, above) if one is not None), default=None)

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

    def cost(self, usage: Usage) -> float:
        """Return the price of a reply in dollars; 0 for a model without a price."""
        return self._price.cost(usage) if self._price else 0.0

    def settle(self, request_bytes: int, usage: Usage, cost_usd: float) -> None:
        """Book a reply."""
        self.pay(usage, cost_usd)
        self.turns += 1
        self._largest_output = max(self._largest_output, usage.output_tokens)
        self._sent_bytes = request_bytes
        if usage.prompt_tokens and request_bytes:
            self._ratio = max(request_bytes / usage.prompt_tokens, 1.0)

    def pay(self, usage: Usage, cost_usd: float) -> None:
        """Book money and tokens, here and above."""
        self.usage += usage
        self.spent_usd += cost_usd
        if self._above is not None:
            self._above.pay(usage, cost_usd)

    def lose(self, cost_usd: float) -> None:
        """Book money for which no reply came."""
        self.pay(Usage(), cost_usd)

    def recount(self, events: Sequence[Event]) -> None:
        """Book what was spent before; an intent without a result counts.

        The account above is not touched: it counts all sessions itself.
        """
        open_intents: dict[tuple[str, int], float] = {}
        for event in events:
            if isinstance(event, RunStarted):
                self._recount_route(event)
            if not isinstance(event, RequestIntended | RequestFailed | ModelReplied):
                continue
            if not self._counts(event.session):
                continue
            intended = open_intents.pop((event.session, event.turn), 0.0)
            match event:
                case RequestIntended(reserved_usd=reserved):
                    self.spent_usd += intended  # one that no result followed
                    open_intents[(event.session, event.turn)] = reserved
                case RequestFailed(cost_usd=cost):
                    self.spent_usd += cost
                case ModelReplied(cost_usd=cost):
                    self._recount_reply(event, cost)
        self.spent_usd += sum(open_intents.values())

    def _recount_route(self, event: RunStarted) -> None:
        """Book what a model took that chose the agent: the run's account pays, no other."""
        choice = event.run.route.choice
        if choice is not None and not self._account:
            self.usage += choice.usage
            self.spent_usd += choice.cost_usd

    def _counts(self, session: str) -> bool:
        account = self._account
        return (
            session.startswith(account)
            if not account or account.endswith("/")
            else (session == account)
        )

    def _recount_reply(self, event: ModelReplied, cost: float) -> None:
        self.usage += event.usage
        self.spent_usd += cost
        if event.session == self._session:
            self.turns += 1
            self._largest_output = max(self._largest_output, event.usage.output_tokens)

    def reached(self) -> str:
        """Name the limit that is reached, or return an empty string."""
        limits = self.limits
        if limits.turns is not None and self.turns >= limits.turns:
            return f"the limit of {limits.turns} turns"
        if limits.usd is not None and self.spent_usd >= limits.usd:
            return f"the limit of ${limits.usd:g}"
        if limits.wall_s is not None and self._elapsed_s() >= limits.wall_s:
            return f"the limit of {limits.wall_s / 60:g} minutes"
        return self._above.out_of_money() if self._above is not None else ""

    def out_of_money(self) -> str:
        """Name the limit of dollars if it is reached, else return an empty string."""
        reached = self.limits.usd is not None and self.spent_usd >= self.limits.usd
        return f"the limit of ${self.limits.usd:g}" if reached else ""

    def notice(self) -> str:
        """Return what the model should be told about a limit that is near; mostly nothing."""
        limits = self.limits
        left = (
            "" if limits.turns is None else f"{limits.turns - self.turns} of {limits.turns} turns"
        )
        if limits.turns is not None and limits.turns - self.turns in {1, 3}:
            return f"{left} are left. {FINISH}"
        for name, used, most in (
            ("money", self.spent_usd, limits.usd),
            ("time", self._elapsed_s(), limits.wall_s),
        ):
            if most and SOON * most <= used < most and name not in self._told:
                self._told.add(name)
                return f"{used / most:.0%} of this run's {name} is used up. {FINISH}"
        return ""
