"""What becomes of a transcript that has grown: durable events, whose data is what is sent."""

from __future__ import annotations

from orchestrator.values import frozen


@frozen
class ResultsCleared:
    """Old tool results are left out of the requests from this turn on.

    Attributes:
        messages: index and new bytes of every message that is another one now.
        results: how many results are left out.
        tokens: how many tokens less that is, as they were estimated.
        why: the reason, for people.
        same: bytes of the last request that stay as they were.
    """

    session: str
    turn: int
    messages: tuple[tuple[int, bytes], ...]
    results: int
    tokens: int
    why: str = ""
    same: int = 0

    @property
    def key(self) -> str:
        return f"{self.session}/turn/{self.turn}/cleared/{self.results}/{self.tokens}"


@frozen
class Compacted:
    """A summary stands for the older turns from this turn on.

    Attributes:
        message: the message that the transcript begins with now.
        kept: how many of the latest messages follow it, unchanged.
        tokens: how many tokens less that is, as they were estimated.
        why: the reason, for people.
        same: bytes of the last request that stay as they were.
        asked: whether the model wrote the summary; else it only tells what the journal knows.
    """

    session: str
    turn: int
    message: bytes
    kept: int
    tokens: int
    why: str = ""
    same: int = 0
    asked: bool = True

    @property
    def key(self) -> str:
        return f"{self.session}/turn/{self.turn}/compacted/{self.tokens}"


ContextEvent = ResultsCleared | Compacted


def told(event: ContextEvent) -> str:
    """Say in one line what was done."""
    less = f"{event.tokens / 1000:.0f}k tokens less"
    reason = f" ({event.why})" if event.why else ""
    if isinstance(event, ResultsCleared):
        what = "1 old result" if event.results == 1 else f"{event.results} old results"
        return f"turn {event.turn}: {what} left out, {less}{reason}"
    by = "a summary of the model's" if event.asked else "what the journal knows"
    return f"turn {event.turn}: {by} stands for older turns, {less}{reason}"
