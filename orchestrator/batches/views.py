"""How a night stands: its record and its events, folded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, assert_never

from orchestrator.batches.nights import (
    FINAL,
    Fate,
    IssueBegun,
    IssueEnded,
    IssueId,
    IssuePassedOver,
    IssueTriedAgain,
    Night,
    NightBegun,
    NightEnded,
    NightEvent,
    NightStopping,
    Planned,
    TurnsGathered,
    TurnsReadBack,
    TurnsSent,
)

Standing = Literal["waiting", "working", "resting", "ended"]
"""Not begun; worked on; waiting to be tried again; with a fate."""


@dataclass(slots=True)
class IssueView:
    """How one issue stands.

    Attributes:
        attempt: the latest try; 0 means it was never begun.
        run: the latest run's id.
        runs: what this night has spent on each of its runs that came to a fate.
        fate: the latest one; None while it is worked on or waits for its first try.
        tries: fates of the tries that were made again, oldest first.
        began: of the latest try; ``ended`` likewise.
        again_at: when it may be tried again.
    """

    planned: Planned
    standing: Standing = "waiting"
    attempt: int = 0
    run: str = ""
    runs: dict[str, float] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)
    fate: Fate | None = None
    tries: list[Fate] = field(default_factory=list)
    first_began: float | None = None
    began: float | None = None
    ended: float | None = None
    again_at: float | None = None

    @property
    def usd(self) -> float:
        """Return what this night has spent on it, as far as its tries have ended."""
        return sum(self.runs.values())

    @property
    def is_done(self) -> bool:
        """Tell whether it is done."""
        return self.standing == "ended" and self.fate is not None and self.fate.kind == "done"

    @property
    def is_final(self) -> bool:
        """Tell whether a resume leaves it as it is."""
        return self.standing == "ended" and self.fate is not None and self.fate.kind in FINAL


@dataclass(slots=True)
class SentTurns:
    """One batch of the half-price lane.

    Attributes:
        batch: the service's id; empty until it is known.
        items: custom ids; ``runs`` has whose they are.
    """

    number: int
    items: tuple[str, ...]
    runs: tuple[str, ...]
    gathered: float
    batch: str = ""
    sent: float | None = None
    read: float | None = None
    succeeded: int = 0
    failed: int = 0


class NightView:
    """How a night stands; ``apply`` moves it on by one event.

    Attributes:
        night: as it is now; a resume may have changed its limits.
        issues: by id, in the order of the plan.
        turns: batches of the half-price lane, by number.
        stopping: why nothing more is begun; empty while there is no such reason.
        ended: when the latest process came to its end; None while one works, or was killed.
    """

    def __init__(self, night: Night, events: Iterable[NightEvent] = ()) -> None:
        self.night = night
        self.issues: dict[IssueId, IssueView] = {one.id: IssueView(one) for one in night.plan}
        self.turns: dict[int, SentTurns] = {}
        self.epoch = 0
        self.began = night.began
        self.stopping = ""
        self.ended: float | None = None
        self.complete = False
        for event in events:
            self.apply(event)

    def apply(self, event: NightEvent) -> None:  # noqa: C901 - one case a kind
        """Move on by one event."""
        match event:
            case NightBegun():
                self._begun(event)
            case IssueBegun():
                self._issue_begun(event)
            case IssueEnded():
                self._fate(self.issues[event.repo, event.issue], event.fate, event.at)
            case IssuePassedOver():
                self._fate(self.issues[event.repo, event.issue], event.fate, event.at)
            case IssueTriedAgain():
                self._again(event)
            case NightStopping(why=why):
                self.stopping = self.stopping or why
            case NightEnded(at=at, complete=complete):
                self.ended, self.complete = at, complete
            case TurnsGathered(number=number, items=items, runs=runs, at=at):
                self.turns[number] = SentTurns(number, items, runs, at)
            case TurnsSent(number=number, batch=batch, at=at):
                self.turns[number].batch, self.turns[number].sent = batch, at
            case TurnsReadBack():
                self._read(event)
            case _:
                assert_never(event)

    # -- totals ----------------------------------------------------------------------------

    @property
    def settled_usd(self) -> float:
        """Return what the tries that have ended have cost; runs that go on are not in it."""
        return sum(one.usd for one in self.issues.values())

    def counts(self) -> dict[str, int]:
        """Return how many issues wait, are worked on, or have each kind of fate."""
        found: dict[str, int] = {}
        for one in self.issues.values():
            name = one.fate.kind if one.standing == "ended" and one.fate else one.standing
            found[name] = found.get(name, 0) + 1
        return found

    def unfinished(self) -> list[IssueView]:
        """Return what a resume goes on with, in the order of the plan."""
        return [one for one in self.issues.values() if not one.is_final]

    @property
    def all_done(self) -> bool:
        """Tell whether every issue is done."""
        return all(one.is_done for one in self.issues.values())

    @property
    def hit_ceiling(self) -> bool:
        """Tell whether the ceiling kept an issue from being begun or ended."""
        return any(
            one.standing == "ended" and one.fate is not None and one.fate.why == "ceiling"
            for one in self.issues.values()
        )

    def waiting_turns(self) -> int:
        """Return how many requests are with the service as batches."""
        return sum(len(one.items) for one in self.turns.values() if one.read is None)

    # -- folding ---------------------------------------------------------------------------

    def _begun(self, event: NightBegun) -> None:
        self.night, self.epoch = event.night, event.epoch
        self.stopping, self.ended, self.complete = "", None, False
        for one in self.issues.values():
            if one.standing == "working":
                # The process that worked on it is gone; its run stands in the journal of runs.
                one.standing = "waiting"
            elif one.standing == "resting" or not one.is_final:
                one.standing, one.again_at = "waiting", None

    def _issue_begun(self, event: IssueBegun) -> None:
        one = self.issues[event.repo, event.issue]
        one.standing, one.attempt, one.run = "working", event.attempt, event.run
        one.before.setdefault(event.run, event.before_usd)
        one.began, one.ended, one.fate, one.again_at = event.at, None, None, None
        if one.first_began is None:
            one.first_began = event.at

    @staticmethod
    def _fate(one: IssueView, fate: Fate, at: float) -> None:
        one.standing, one.fate, one.ended = "ended", fate, at
        if fate.run:
            one.runs[fate.run] = fate.usd

    def _again(self, event: IssueTriedAgain) -> None:
        one = self.issues[event.repo, event.issue]
        one.standing, one.ended, one.again_at = "resting", event.at, event.at + event.wait_s
        one.tries.append(event.fate)
        if event.fate.run:
            one.runs[event.fate.run] = event.fate.usd

    def _read(self, event: TurnsReadBack) -> None:
        one = self.turns[event.number]
        one.read, one.succeeded, one.failed = event.at, event.succeeded, event.failed
