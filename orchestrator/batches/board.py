"""What a person sees of a night while it goes on: each issue's turn, last event, dollars, lane."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

import orjson

from orchestrator.amounts import counted as amount
from orchestrator.batches.nights import (
    IssueBegun,
    IssueEnded,
    IssueId,
    IssuePassedOver,
    IssueTriedAgain,
    NightBegun,
    NightEnded,
    NightEvent,
    NightStopping,
    TurnsGathered,
    TurnsReadBack,
    TurnsSent,
)
from orchestrator.batches.views import NightView
from orchestrator.batches.words import counted, dollars, fate_words, seconds, why_words
from orchestrator.events import (
    AUTHOR,
    Event,
    GateJudged,
    ModelReplied,
    Notice,
    Reviewed,
    Signal,
    ToolsReturned,
    ToolStarted,
    Waiting,
)
from orchestrator.modelevents import RequestFailed, RequestIntended
from orchestrator.values import frozen

UNTOLD = frozenset({"SnapshotTaken", "TranscriptOpened", "Prompted", "ToolOutput", "EgressEnded"})
"""Kinds of events that tell a person nothing."""

Lane = Literal["now", "batch", ""]


@dataclass(slots=True)
class LiveRun:
    """What was heard of the run of an issue in this process.

    Attributes:
        said: the last event, in a few words.
        at: when it was.
        usd: what its replies have cost since it was begun here.
    """

    run: str
    turn: int = 0
    said: str = "begins"
    at: float = 0.0
    usd: float = 0.0


@frozen
class Row:
    """One issue as a table shows it; everything is text of anybody, not yet made safe.

    Attributes:
        age_s: seconds since its last event.
    """

    issue: str
    title: str
    agent: str
    turn: int
    said: str
    age_s: float
    usd: float
    lane: Lane


@dataclass(slots=True)
class Board:
    """Folds what is heard of a night into what is shown of it."""

    view: NightView
    live: dict[IssueId, LiveRun] = field(default_factory=dict)
    heard_at: float = 0.0

    def begun(self, issue: IssueId, run: str, at: float) -> None:
        """Take up that an issue is worked on."""
        self.live[issue] = LiveRun(run, at=at)
        self.heard_at = at

    def look(self, issue: IssueId, run: str, event: Event | Signal, at: float) -> None:
        """Take up what a run does."""
        one = self.live.get(issue)
        if one is None:
            one = self.live[issue] = LiveRun(run, at=at)
        self.heard_at = at
        if isinstance(event, ModelReplied | RequestFailed):
            one.usd += event.cost_usd
        if isinstance(event, ModelReplied) and event.session == AUTHOR:
            one.turn = max(one.turn, event.turn)
        words = event_words(event)
        if words:
            one.said, one.at = words, at

    def ended(self, issue: IssueId, at: float) -> None:
        """Take up that an issue is not worked on any more."""
        self.live.pop(issue, None)
        self.heard_at = at

    # -- what is shown ---------------------------------------------------------------------

    def rows(self, now: float) -> list[Row]:
        """Return the issues that are worked on, in the order of the plan."""
        sent = {run for turns in self.view.turns.values() if turns.read is None
                for run in turns.runs}  # fmt: skip
        usual: Lane = "now" if self.view.night.lane == "now" else ""
        found = []
        for id_, one in self.view.issues.items():
            live = self.live.get(id_)
            if live is None:
                continue
            planned = one.planned
            found.append(
                Row(planned.issue, planned.title, planned.agent, live.turn, live.said,
                    max(now - live.at, 0.0), self._before(id_) + live.usd,
                    "batch" if live.run in sent else usual)
            )  # fmt: skip
        return found

    def _before(self, issue: IssueId) -> float:
        """Return what the night had spent on an issue before it was begun in this process."""
        return self.view.issues[issue].usd

    @property
    def spent_usd(self) -> float:
        """Return what the night has spent, replies of runs under way included."""
        return self.view.settled_usd + sum(one.usd for one in self.live.values())

    def progress(self) -> tuple[int, int]:
        """Return how many issues have a fate, and how many there are."""
        ended = sum(one.standing == "ended" for one in self.view.issues.values())
        return ended, len(self.view.issues)

    def totals(self, now: float) -> str:
        """Return how the night stands, as one line."""
        night = self.view.night
        ceiling = night.ceiling.usd
        of = f" of {dollars(ceiling)}" if ceiling is not None else ""
        parts = [counted(self.view.counts()), f"{dollars(self.spent_usd)}{of}"]
        parts.append(f"since {seconds(now - self.view.began)}")
        if night.until is not None:
            left = night.until - now
            parts.append(f"{seconds(left)} left" if left > 0 else "its time is over")
        waiting = self.view.waiting_turns()
        if waiting:
            parts.append(f"{amount(waiting, 'turn')} in batches")
        if self.view.stopping:
            parts.append("stopping")
        return "; ".join(one for one in parts if one)

    def heartbeat(self, now: float) -> str:
        """Return a line that tells that the night lives, and when something last happened."""
        age = seconds(now - self.heard_at) if self.heard_at else "a while"
        quiet = max(self.rows(now), key=lambda row: row.age_s, default=None)
        told = f"{self.totals(now)}; last event {age} ago"
        if quiet is not None and quiet.age_s >= 60:
            told += f"; {quiet.issue} is silent for {seconds(quiet.age_s)} ({quiet.said})"
        return told


def night_words(event: NightEvent, view: NightView) -> str:  # noqa: PLR0911 - a case a kind
    """Return what an event of a night tells a person; mostly one line, empty where nothing."""
    match event:
        case NightBegun(epoch=epoch, night=night):
            again = " goes on" if epoch > 1 else ""
            issues = amount(len(night.plan), "issue")
            return f"batch {night.night}{again}: {issues}, {night.parallel} at once"
        case IssueBegun(repo=repo, issue=issue, attempt=attempt, run=run):
            planned = view.issues[repo, issue].planned
            again = f", try {attempt}" if attempt > 1 else ""
            return (
                f"{issue} begins: {planned.agent}, run {run or 'unknown'}{again}: {planned.title}"
            )
        case IssueEnded(issue=issue, fate=fate):
            parts = [dollars(fate.usd), amount(fate.turns, "turn"), seconds(fate.wall_s)]
            place = fate.pull_request or fate.branch
            parts += [place] if place else []
            why = why_words(fate) if fate.kind != "done" else ""
            return f"{issue} {fate_words(fate)} ({', '.join(parts)}){f': {why}' if why else ''}"
        case IssuePassedOver(issue=issue, fate=fate):
            return f"{issue} {fate_words(fate)}: {why_words(fate)}"
        case IssueTriedAgain(issue=issue, fate=fate, wait_s=wait):
            return f"{issue} is tried again in {seconds(wait)}: {why_words(fate)}"
        case NightStopping(why=why):
            reason = {"stopped": "stopped by a person", "until": "its time is over",
                      "ceiling": "its ceiling is reached"}[why]  # fmt: skip
            return f"nothing more is begun: {reason}"
        case TurnsSent(number=number, batch=batch):
            count = len(view.turns[number].items)
            return f"half-price batch {number} with {amount(count, 'turn')} is sent: {batch}"
        case TurnsReadBack(number=number, succeeded=succeeded, failed=failed):
            lost = f", {failed} failed" if failed else ""
            return f"half-price batch {number} is back: {amount(succeeded, 'turn')}{lost}"
        case TurnsGathered() | NightEnded():
            return ""


def event_words(event: Event | Signal) -> str:  # noqa: PLR0911 - a case a kind
    """Return what a run's event tells a person, in a few words; empty where nothing."""
    match event:
        case ModelReplied(message=message):
            return _said(message) or "replied"
        case RequestIntended():
            return "asks the model"
        case RequestFailed(error=error):
            return f"no reply: {error}"
        case ToolStarted(tool=tool, about=about):
            return f"{tool} {about}"
        case ToolsReturned(calls=calls):
            failed = sum(one.is_error for one in calls)
            return f"{len(calls)} tools returned{f', {failed} failed' if failed else ''}"
        case GateJudged(verdict=verdict):
            return f"gate {verdict.gate}: {verdict.state.replace('_', ' ')}"
        case Reviewed(review=review):
            return f"review {review.number}: {review.state.replace('_', ' ')}"
        case Waiting(reason=reason, seconds=wait):
            return f"waits {wait:.0f} s: {reason}"
        case Notice(text=text):
            return text
        case _:
            name = type(event).__name__
            return "" if name in UNTOLD else re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def _said(message: bytes) -> str:
    blocks = orjson.loads(message)["content"]
    return next((str(one["text"]) for one in blocks if one.get("type") == "text"), "")
