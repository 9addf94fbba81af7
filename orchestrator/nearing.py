"""Limits that are near: the model is told of each once, so that it can bring its work to an end."""

from __future__ import annotations

import orjson

from orchestrator.accounts import RUN, Account
from orchestrator.events import Event, RunResumed, RunStarted, ToolsReturned
from orchestrator.records import Limits

SOON = 0.8
"""Share of a limit after which the model is told that the end is near."""

FEW_TURNS = frozenset({1, 3})
"""Turns that are left when it is told of them."""

FINISH = "Bring the work to a state that can be handed in."


class Nearing:
    """Tells the model of one session which limits are near.

    Args:
        account: what is used up.
        session: whose model is told.
    """

    def __init__(self, account: Account, session: str) -> None:
        self._account = account
        self._session = session
        self._before: Limits | None = None
        self._told: set[str] = set()

    def notice(self) -> str:
        """Return what the model should be told about a limit that is near; mostly nothing."""
        account = self._account
        most_turns = account.limits.turns
        if most_turns is not None and most_turns - account.turns in FEW_TURNS:
            left = most_turns - account.turns
            return f"{left} of {most_turns} turns are left. {FINISH}"
        for level in account.levels():
            for name, used, most in level.used():
                said = _told(level.whose, name)
                if SOON * most <= used < most and said not in self._told:
                    self._told.add(said)
                    return f"{used / most:.0%} {said}"
        return ""

    def recount(self, event: Event) -> None:
        """Remember what the model was told already: it is not told again after a resume."""
        if isinstance(event, RunStarted):
            self._before = event.run.limits
        elif isinstance(event, RunResumed):
            self._forget(self._before or event.run.limits, event.run.limits)
            self._before = event.run.limits
        elif isinstance(event, ToolsReturned) and event.session == self._session:
            self._remember(event.message)

    def _remember(self, message: bytes) -> None:
        if b"is used up" not in message:
            return
        for block in orjson.loads(message)["content"]:
            if block.get("type") == "text" and block["text"].endswith(FINISH):
                self._told.add(block["text"].partition("% ")[2])

    def _forget(self, before: Limits, now: Limits) -> None:
        """A limit that was changed may come near again."""
        if before.usd != now.usd:
            self._told.discard(_told(RUN, "money"))
        if before.tokens != now.tokens:
            self._told.discard(_told(RUN, "tokens"))
        self._told.discard(_told(RUN, "time"))  # each sitting has its own


def _told(whose: str, name: str) -> str:
    """Return what is said of a limit that is near, after the share of it that is used up."""
    of = f"this run's {name}" if whose == RUN else f"the {name} of {whose}"
    return f"of {of} is used up. {FINISH}"
