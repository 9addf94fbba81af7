"""Doubles for tests of code that embeds the runtime: a scripted model, a tracker, a journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.errors import IssueNotFound, JournalError, ModelError, ModelRefused
from orchestrator.events import Event, encode
from orchestrator.models.replay import ReplayClient, load_replies
from orchestrator.records import CLOSED, Issue, ModelReply, ModelRequest, Outcome, Usage
from orchestrator_tools.contract import Block

__all__ = [
    "MemoryJournal",
    "MemoryTracker",
    "ReplayClient",
    "ScriptedModel",
    "load_replies",
    "says",
]


def says(
    text: str = "",
    *calls: tuple[str, Mapping[str, object]],
    stop_reason: str | None = None,
    usage: Usage | None = None,
) -> ModelReply:
    """Build a reply: some text, then tool calls as pairs of name and arguments."""
    blocks: list[Block] = [{"type": "text", "text": text}] if text else []
    for number, (tool, arguments) in enumerate(calls, 1):
        call_id = f"toolu_{len(text)}_{number}"
        blocks.append({"type": "tool_use", "id": call_id, "name": tool, "input": dict(arguments)})
    return ModelReply(
        blocks=tuple(blocks),
        stop_reason=stop_reason or ("tool_use" if calls else "end_turn"),
        usage=usage or Usage(input_tokens=100, output_tokens=20),
    )


class ScriptedModel:
    """Gives scripted replies, one a request; an error in the script is raised instead.

    Attributes:
        requests: every request that was made.
    """

    def __init__(self, script: Sequence[ModelReply | ModelError]) -> None:
        self._script = list(script)
        self.requests: list[ModelRequest] = []

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Return the next reply, with tool call ids that no other reply has."""
        self.requests.append(request)
        if not self._script:
            raise ModelRefused("the script has ended")
        step = self._script.pop(0)
        if isinstance(step, ModelError):
            raise step
        turn = len(self.requests)
        blocks = tuple(
            {**block, "id": f"{block['id']}_{turn}"} if block["type"] == "tool_use" else block
            for block in step.blocks
        )
        broken = tuple(f"{one}_{turn}" for one in step.broken_calls)
        return ModelReply(blocks, step.stop_reason, step.usage, step.request_id, broken)

    async def aclose(self) -> None:
        """Nothing to close."""


class MemoryTracker:
    """Issues in memory.

    Attributes:
        reports: the outcomes that were reported, by key.
    """

    def __init__(self, issues: Sequence[Issue]) -> None:
        self._issues = {issue.key: issue for issue in issues}
        self.reports: dict[str, list[Outcome]] = {}

    async def fetch(self, key: str) -> Issue:
        """Return an issue."""
        if key not in self._issues:
            raise IssueNotFound(f"no issue {key}")
        return self._issues[key]

    async def solved(self, most: int) -> Sequence[Issue]:
        """Return closed issues that had an assignee, the last ones first."""
        closed = [one for one in self._issues.values() if one.state in CLOSED and one.assignees]
        return closed[::-1][:most]

    async def candidates(self, labels: Sequence[str], most: int) -> Sequence[Issue]:
        """Return open issues that carry all of the labels, the first ones first."""
        open_ = [one for one in self._issues.values() if one.state not in CLOSED]
        return [one for one in open_ if set(labels) <= set(one.labels)][:most]

    async def report(self, issue: Issue, outcome: Outcome) -> None:
        """Keep the outcome."""
        self.reports.setdefault(issue.key, []).append(outcome)


class MemoryJournal:
    """The journal of one run in memory."""

    def __init__(self, events: Sequence[Event] = ()) -> None:
        self._events = list(events)
        self._keys = {event.key for event in events}

    async def append(self, *events: Event) -> None:
        """Record events; a key that is there already is refused, as on disk."""
        try:
            keys = [event.key for event in events if encode(event)]
        except TypeError as error:
            raise JournalError(f"an event that cannot be kept: {error}") from None
        if len(set(keys)) != len(keys) or self._keys & set(keys):
            raise JournalError(f"recorded already: {sorted(self._keys & set(keys)) or keys}")
        self._keys |= set(keys)
        self._events += events

    async def events(self) -> list[Event]:
        """Return all events in order."""
        return list(self._events)
