"""What a run may still use up: reserved before a request, settled after its reply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.events import Event, ModelReplied, RequestFailed, RequestIntended, RunStarted
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
    """

    def __init__(
        self,
        limits: Limits,
        price: Price | None,
        *,
        max_output: int,
        elapsed_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
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
        if self.limits.usd is None or self._price is None:
            return Reservation(0.0, self._max_output)
        left = self.limits.usd - self.spent_usd
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
        self.usage += usage
        self.spent_usd += cost_usd
        self.turns += 1
        self._largest_output = max(self._largest_output, usage.output_tokens)
        self._sent_bytes = request_bytes
        if usage.prompt_tokens and request_bytes:
            self._ratio = max(request_bytes / usage.prompt_tokens, 1.0)

    def lose(self, cost_usd: float) -> None:
        """Book money for which no reply came."""
        self.spent_usd += cost_usd

    def recount(self, events: Sequence[Event]) -> None:
        """Book what earlier processes of the run spent; an intent without a result counts."""
        open_intents: dict[tuple[str, int], float] = {}
        for event in events:
            match event:
                case RunStarted(run=run) if run.route.choice is not None:
                    self.usage += run.route.choice.usage
                    self.lose(run.route.choice.cost_usd)
                case RequestIntended(session=session, turn=turn):
                    self.lose(open_intents.pop((session, turn), 0.0))
                    open_intents[(session, turn)] = event.reserved_usd
                case RequestFailed(session=session, turn=turn):
                    open_intents.pop((session, turn), None)
                    self.lose(event.cost_usd)
                case ModelReplied(session=session, turn=turn):
                    open_intents.pop((session, turn), None)
                    self.settle(0, event.usage, event.cost_usd)
                case _:
                    pass
        for usd in open_intents.values():
            self.lose(usd)

    def reached(self) -> str:
        """Name the limit that is reached, or return an empty string."""
        limits = self.limits
        if limits.turns is not None and self.turns >= limits.turns:
            return f"the limit of {limits.turns} turns"
        if limits.usd is not None and self.spent_usd >= limits.usd:
            return f"the limit of ${limits.usd:g}"
        if limits.wall_s is not None and self._elapsed_s() >= limits.wall_s:
            return f"the limit of {limits.wall_s / 60:g} minutes"
        return ""

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
