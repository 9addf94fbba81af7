"""Whether an agent goes round in circles: told from what it did, turn by turn, in constant time.

What is kept of a call and its result is a digest. Fed with a session's events in order, a new
watch stands where the old one stood, so a resumed run goes on as it would have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

import orjson

from orchestrator.events import (
    Event,
    ModelReplied,
    Prompted,
    RunResumed,
    RunStarted,
    SnapshotTaken,
    ToolsReturned,
)
from orchestrator.session import FULL, about_call, calls_of
from orchestrator.values import frozen
from orchestrator_tools.contract import ToolCall

if TYPE_CHECKING:
    from orchestrator.settings import StuckSettings

PERIODS = (1, 2, 3, 4)
"""Lengths of a cycle, in turns; 1 is the same thing again."""

WAITS = re.compile(r"\b(sleep|wait|inotifywait)\b|\btail\b.*--pid|\bgh run watch\b")
SLOW_S = 5.0
WAITING, SLOW, CHANGING = 4, 2, 3
"""How much more of the same is let pass while it waits, takes its time, or changes files."""

TOOK = re.compile(r"\b\d+\.\d+ ?(?:ms|s|sec|seconds)\b")
TIMES_READ = 1500
"""Characters at the end of an output in which times are looked for."""

NUMBER = re.compile(r"\b(?:0x[0-9a-f]+|[0-9a-f]{7,40}|\d+)\b", re.IGNORECASE)
ERROR_READ = 2000
"""Characters of an error that are compared."""

ERRORS_MOST = 32
"""Errors that are remembered; the oldest are forgotten."""

ONLY_CODE = re.compile(r"Exit code \d+(\s*\(no output\))?\s*")
GOES_ON = frozenset({"max_tokens", FULL, "pause_turn"})
"""Why replies stop after which another one is asked for."""

WRITERS = frozenset({"Write", "Edit"})
ABOUT_MOST = 100

Kind = Literal["same", "cycle", "error", "idle", "talk"]

ADVICE = (
    "It will not come out otherwise by itself. Look at what you assumed, try another way, or, if "
    "nothing that you can do here helps, stop and say what stops you."
)
IDLE_ADVICE = (
    "If you know enough, make the change now. If something keeps you from it, stop and say what."
)
TALKED = (
    "You ended your turn without using a tool, so nothing has been read or changed. Do the work "
    "with your tools. If there is nothing to be done, or it cannot be done, say why once more."
)


@frozen
class Finding:
    """What is repeated.

    Attributes:
        count: how often it was seen.
        since: the turn in which it began.
        what: the call or error, in a few words.
        final: whether the run is to end for it; else the agent is told.
    """

    kind: Kind
    count: int
    since: int
    what: str = ""
    final: bool = False

    @property
    def evidence(self) -> str:
        """Return in one line what was seen."""
        of = f" ({self.what})" if self.what else ""
        since = f"since turn {self.since}"
        match self.kind:
            case "same":
                return f"the same call gave the same result {self.count} times {since}{of}"
            case "cycle":
                return f"the same calls gave the same results {self.count} times over {since}{of}"
            case "error":
                return f"the same error came {self.count} times {since}, and no file changed{of}"
            case "idle":
                return f"no file has changed for {self.count} turns, {since}"
            case "talk":
                return f"{self.count} replies in a row used no tool, {since}"

    @property
    def nudge(self) -> str:
        """Return what the agent is told."""
        said = f"{self.evidence[0].upper()}{self.evidence[1:]}."
        return f"{said} {IDLE_ADVICE if self.kind in {'idle', 'talk'} else ADVICE}"


@dataclass(slots=True)
class _Streak:
    """Something that goes on: how long, since when, whether the agent was told."""

    count: int = 0
    since: int = 0
    told: bool = False


@dataclass(slots=True)
class _Done:
    """One turn's calls and results, as they are compared."""

    digest: bytes
    about: str
    errors: dict[bytes, str] = field(default_factory=dict)
    patience: int = 1
    wrote: bool = False


class Watch:
    """Watches one session for repetition.

    Args:
        settings: how much of it is let pass.
        writes: whether the agent is there to change files.
        answers: whether its words alone may be all that is wanted of it.

    Attributes:
        pending: what the last of the events that it was made from comes to, where nobody has acted
            on that yet.
    """

    def __init__(self, settings: StuckSettings, *, writes: bool, answers: bool = False) -> None:
        self._settings = settings
        self._answers = answers
        self._writes = writes
        self._last: list[_Done] = []
        self._cycles = {period: _Streak() for period in PERIODS}
        self._errors: dict[bytes, _Streak] = {}
        self._idle = 0.0
        self._idle_since = 1
        self._idle_told = False
        self._talk = _Streak()
        self._tree = ""
        self._changed_at = 0
        self._acted = False
        self._asked_to_act = False
        self._calls: dict[int, list[ToolCall]] = {}
        self.pending: Finding | None = None

    @classmethod
    def rebuilt(
        cls,
        settings: StuckSettings,
        session: str,
        events: Sequence[Event],
        *,
        writes: bool,
        answers: bool = False,
    ) -> Watch:
        """Return a watch that has seen a session's events."""
        watch = cls(settings, writes=writes, answers=answers)
        forked = False
        for event in events:
            match event:
                case RunStarted():
                    forked = bool(event.run.forked_from)
                case RunResumed() if forked:
                    # Whoever forks a run that went round in circles means it to begin anew.
                    forked = False
                    watch.prompted("fork")
                case ModelReplied() if event.session == session:
                    calls = calls_of(event)
                    watch._calls, watch.pending = {event.turn: calls}, None
                    if not calls and event.stop_reason in GOES_ON:
                        watch.pending = watch.said(event.turn)
                case ToolsReturned() if event.session == session:
                    blocks = orjson.loads(event.message)["content"]
                    took = [one.duration_s for one in event.calls]
                    calls = watch._calls.get(event.turn, [])
                    found = watch.returned(event.turn, calls, blocks, took=took)
                    # A word to the agent stands in the message; an end is still to be made.
                    watch.pending = found if found is not None and found.final else None
                case SnapshotTaken() if event.session == session:
                    watch.tree(event.turn, event.snapshot)
                case Prompted() if event.session == session:
                    watch.prompted(event.cause)
                case _:
                    pass
        return watch

    # -- what is seen ----------------------------------------------------------------------

    def prompted(self, cause: str) -> None:
        """Take note of a message to the agent; new work begins with most of them."""
        self.pending = None
        if cause == "stuck":
            self._asked_to_act = True
        elif cause != "continue":
            self._forget()

    def _forget(self) -> None:
        self._last.clear()
        self._errors.clear()
        for streak in self._cycles.values():
            streak.count = streak.since = 0
            streak.told = False
        self._talk = _Streak()
        self._idle, self._idle_told = 0.0, False

    def tree(self, turn: int, snapshot: str) -> None:
        """Take note of the state of the workspace after a turn; equal names are equal states."""
        if self._tree and snapshot != self._tree:
            self._changed(turn)
        self._tree = snapshot or self._tree

    def said(self, turn: int) -> Finding | None:
        """Take note of a reply that calls no tool, and return what that makes of it."""
        if self._talk.count == 0:
            self._talk.since = turn
        self._talk.count += 1
        return self._judged("talk", self._talk, self._settings.talk, "")

    @property
    def talked(self) -> str:
        """Return what such an agent is told."""
        return TALKED

    def only_talked(self) -> bool:
        """Tell whether an agent that says it is done has never done anything, and was not told."""
        meant_to = self._writes and not self._answers and self._settings.talk > 0
        return meant_to and not self._acted and not self._asked_to_act

    def returned(
        self,
        turn: int,
        calls: Sequence[ToolCall],
        blocks: Sequence[Mapping[str, Any]],
        *,
        took: Sequence[float],
    ) -> Finding | None:
        """Take note of a turn's calls and results, and return what they make of it.

        Args:
            turn: whose they are.
            calls: as the model made them.
            blocks: of the message that carries the results; others than results are passed over.
            took: seconds of each call.
        """
        self._acted = True
        self._talk = _Streak()
        done = _compared(calls, blocks, took)
        if done.wrote:
            self._changed(turn)
        found = [self._repeated(turn, done), self._failed(turn, done), self._rested(turn, done)]
        seen = [one for one in found if one is not None]
        return next((one for one in seen if one.final), seen[0] if seen else None)

    # -- what it makes of it -----------------------------------------------------------------

    def _changed(self, turn: int) -> None:
        self._changed_at = max(self._changed_at, turn)
        self._errors.clear()
        self._idle, self._idle_told = 0.0, False
        self._idle_since = turn + 1

    def _repeated(self, turn: int, done: _Done) -> Finding | None:
        found: list[Finding | None] = []
        for period, streak in self._cycles.items():
            if len(self._last) < period or self._last[-period].digest != done.digest:
                streak.count, streak.told = 0, False
                continue
            if streak.count == 0:
                streak.since = turn - period
            streak.count += 1
            if streak.count % period == 0 and not self._is_shorter(period):
                found.append(self._cycling(period, streak, done))
        self._last = [*self._last[1 - max(PERIODS) :], done]
        return next((one for one in found if one is not None), None)

    def _is_shorter(self, period: int) -> bool:
        """Tell whether a cycle is a shorter one, several times."""
        return any(
            period % shorter == 0 and self._cycles[shorter].count >= period
            for shorter in PERIODS
            if shorter < period
        )

    def _cycling(self, period: int, streak: _Streak, done: _Done) -> Finding | None:
        times = _Streak(streak.count // period + 1, streak.since, streak.told)
        turns = [*self._last[len(self._last) - period + 1 :], done]
        patience = max(one.patience for one in turns)
        about = "; ".join(one.about for one in turns)
        if period == 1:
            changing = CHANGING if self._changed_at >= streak.since else 1
            most = self._settings.same * max(patience, changing)
            found = self._judged("same", times, most, about)
        else:
            found = self._judged("cycle", times, self._settings.cycles * patience, about)
        streak.told = times.told
        return found

    def _failed(self, turn: int, done: _Done) -> Finding | None:
        found = None
        for digest, said in done.errors.items():
            streak = self._errors.pop(digest, None) or _Streak(0, turn)
            self._errors[digest] = streak
            while len(self._errors) > ERRORS_MOST:
                del self._errors[next(iter(self._errors))]
            streak.count += 1
            most = self._settings.errors * done.patience
            found = self._judged("error", streak, most, said) or found
        return found

    def _rested(self, turn: int, done: _Done) -> Finding | None:
        if not self._writes or done.wrote:
            return None
        self._idle += 1 / done.patience
        streak = _Streak(int(self._idle), min(self._idle_since, turn), self._idle_told)
        found = self._judged("idle", streak, self._settings.idle_turns, "")
        self._idle_told = streak.told
        return found

    def _judged(self, kind: Kind, streak: _Streak, most: int, what: str) -> Finding | None:
        """Return a finding where a streak is long enough for a word, or for the end."""
        if most <= 0:
            return None
        if streak.count >= most and streak.told:
            return Finding(kind, streak.count, streak.since, what[:ABOUT_MOST], final=True)
        if streak.count >= (most + 1) // 2 and not streak.told:
            streak.told = True
            return Finding(kind, streak.count, streak.since, what[:ABOUT_MOST])
        return None


def _compared(
    calls: Sequence[ToolCall], blocks: Sequence[Mapping[str, Any]], took: Sequence[float]
) -> _Done:
    results = {
        str(one.get("tool_use_id")): one for one in blocks if one.get("type") == "tool_result"
    }
    whole = blake2b(digest_size=16)
    done = _Done(b"", "; ".join(f"{one.tool}: {about_call(one)}" for one in calls))
    for call in calls:
        result = results.get(call.call_id, {})
        failed = bool(result.get("is_error"))
        text = _text(result.get("content"))
        given = {k: v for k, v in call.arguments.items() if k != "description"}
        for part in (
            call.tool.encode(),
            orjson.dumps(given, option=orjson.OPT_SORT_KEYS),
            _without_times(call.tool, text).encode("utf-8", "replace"),
        ):
            whole.update(b"%d:" % len(part) + part)
        if failed and not ONLY_CODE.fullmatch(text):
            # The end of a long error says what it was; its beginning is what came before.
            said = NUMBER.sub("0", TOOK.sub("#", text[-ERROR_READ:]))
            key = blake2b(f"{call.tool}:{said}".encode("utf-8", "replace"), digest_size=16)
            done.errors[key.digest()] = f"{call.tool}: {' '.join(text.split())}"
        done.wrote = done.wrote or (call.tool in WRITERS and not failed)
        if WAITS.search(str(call.arguments.get("command", ""))):
            done.patience = WAITING
    if max(took, default=0.0) >= SLOW_S:
        done.patience = max(done.patience, SLOW)
    done.digest = whole.digest()
    return done


def _without_times(tool: str, text: str) -> str:
    """Return what a command printed without the times that it took: they stand at the end."""
    if tool != "Bash":
        return text
    return text[:-TIMES_READ] + TOOK.sub("#", text[-TIMES_READ:])


def _text(content: object) -> str:
    """Return what a result says; pictures are compared by their data."""
    if isinstance(content, str):
        return content
    return orjson.dumps(content).decode() if isinstance(content, list) else ""
