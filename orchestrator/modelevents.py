"""What is recorded of asking models: intents, failures, and which model answers."""

from __future__ import annotations

from typing import Literal

from orchestrator.values import frozen


@frozen
class RequestIntended:
    """A request is about to be sent, with what it is taken to cost until it is settled.

    Attributes:
        life: how long its cache marks ask to be kept.
    """

    session: str
    turn: int
    attempt: int
    reserved_usd: float
    max_tokens: int
    reserved_tokens: int = 0
    life: Literal["5m", "1h"] = "5m"

    @property
    def key(self) -> str:
        return f"{self.session}/turn/{self.turn}/intent/{self.attempt}"


@frozen
class RequestFailed:
    """An attempt gave no reply; ``cost_usd`` is what it has to be taken to have cost.

    Attributes:
        tokens: what it has to be taken to have used up.
    """

    session: str
    turn: int
    attempt: int
    error: str
    cost_usd: float
    tokens: int = 0

    @property
    def key(self) -> str:
        return f"{self.session}/turn/{self.turn}/failed/{self.attempt}"


@frozen
class ModelSwitched:
    """From a turn on another model is asked; what the one before thought is not sent to it.

    Attributes:
        before: the full id of the model that was asked until then.
        model: the full id of the one that is asked now.
        reason: why, for people.
    """

    session: str
    turn: int
    before: str
    model: str
    reason: str

    @property
    def key(self) -> str:
        return f"{self.session}/turn/{self.turn}/model/{self.model}"


def switched(event: ModelSwitched) -> str:
    """Say for people which model goes on, and why."""
    return f"turn {event.turn}: {event.model} goes on for {event.before}: {event.reason}"
