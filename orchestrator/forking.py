"""A run that begins where another one stood after a turn: the events that it begins with."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from orchestrator.errors import ConfigError
from orchestrator.events import (
    AUTHOR,
    BaseMerged,
    Collected,
    Event,
    GateJudged,
    ModelReplied,
    Reviewed,
    RunStarted,
    SnapshotTaken,
    ToolsReturned,
)
from orchestrator.modelevents import RequestFailed, RequestIntended
from orchestrator.records import Run, Usage
from orchestrator.session import calls_of

JUDGED = Collected | BaseMerged | GateJudged | Reviewed
"""What was said of earlier rounds; it led to the messages that the transcript holds."""


def whole_turns(events: Sequence[Event]) -> list[int]:
    """Return the author's turns after which a fork can begin: all their calls have results.

    A turn that ran something which cannot be repeated counts only where the workspace was kept
    after it.
    """
    returned = {one.turn for one in events if _is_author(one) and isinstance(one, ToolsReturned)}
    ran = [
        one.turn for one in events if _is_author(one) and isinstance(one, ToolsReturned) and one.ran
    ]
    taken = {one.turn for one in events if isinstance(one, SnapshotTaken)}
    found = []
    for one in events:
        if not (_is_author(one) and isinstance(one, ModelReplied)):
            continue
        whole = one.turn in returned or not calls_of(one)
        last = max((turn for turn in ran if turn <= one.turn), default=0)
        if whole and (not last or last in taken):
            found.append(one.turn)
    return found


def forked(events: Sequence[Event], at: int, run: Run) -> list[Event]:
    """Return the events that a fork begins with: those of its parent up to a turn.

    What the copied replies cost was paid by the parent, and is not counted again. What belongs to
    the parent alone is left out: its connections, its set-up, its delivery, its ends.

    Args:
        events: the parent's.
        at: the author's turn after which the fork goes on.
        run: the fork.

    Raises:
        ConfigError: the parent was never whole after that turn.
    """
    turns = whole_turns(events)
    started = next((one for one in events if isinstance(one, RunStarted)), None)
    if started is None or at not in turns:
        raise ConfigError(
            f"run {run.forked_from} cannot be forked at turn {at}",
            hint=f"turns that can be: {_listed(turns)}",
        )
    end = max(number for number, one in enumerate(events) if _ends(one, at))
    # Who was talked to; where the fork is to ask another, that is told by how it is taken up.
    talked = dataclasses.replace(run, model=started.run.model, scripted=started.run.scripted)
    found: list[Event] = [RunStarted(talked, started.agent)]
    found += [_unpaid(one) for one in events[: end + 1] if _goes_along(one)]
    # A workspace is kept beside the next request, so that may stand after it.
    found += [one for one in events[end + 1 :] if _is_kept(one, at)]
    return found


def kept_state(events: Sequence[Event]) -> str:
    """Return the name of the workspace's last kept state; empty where nothing was kept."""
    taken = [one.snapshot for one in events if isinstance(one, SnapshotTaken)]
    return taken[-1] if taken else ""


def _is_author(event: Event) -> bool:
    return getattr(event, "session", None) == AUTHOR


def _ends(event: Event, at: int) -> bool:
    return (
        isinstance(event, ModelReplied | ToolsReturned)
        and event.session == AUTHOR
        and event.turn <= at
    )


def _is_kept(event: Event, at: int) -> bool:
    return isinstance(event, SnapshotTaken) and event.session == AUTHOR and event.turn <= at


def _goes_along(event: Event) -> bool:
    return isinstance(event, JUDGED) or hasattr(event, "session")


def _unpaid(event: Event) -> Event:
    """Return what was asked and answered as if it cost nothing; everything else as it is."""
    if isinstance(event, RequestIntended):
        return dataclasses.replace(event, reserved_usd=0.0, reserved_tokens=0)
    if isinstance(event, RequestFailed):
        return dataclasses.replace(event, cost_usd=0.0, tokens=0)
    if isinstance(event, ModelReplied):
        return dataclasses.replace(
            event, cost_usd=0.0, usage=Usage(), regained_usd=0.0, regained_tokens=0
        )
    return event


def _listed(turns: Sequence[int]) -> str:
    """Return numbers for people: neighbours as a range."""
    parts: list[list[int]] = []
    for turn in turns:
        if parts and turn == parts[-1][-1] + 1:
            parts[-1].append(turn)
        else:
            parts.append([turn])
    shown = [str(one[0]) if len(one) == 1 else f"{one[0]}-{one[-1]}" for one in parts]
    return ", ".join(shown) or "none"
