"""Doubles for tests of code that embeds the runtime: a scripted model, a tracker, a journal."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from orchestrator.errors import IssueNotFound, JournalError, ModelError, ModelRefused, TrackerError
from orchestrator.events import Event, encode
from orchestrator.models.replay import ReplayClient, load_replies
from orchestrator.pullrequests import (
    Comment,
    FailedCheck,
    Feedback,
    PullRequest,
    PullRequestState,
    PullRequestWish,
    Thread,
)
from orchestrator.records import CLOSED, Issue, ModelReply, ModelRequest, Outcome, Usage
from orchestrator_tools.contract import Block

__all__ = [
    "MemoryHost",
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


def _nothing(_: str) -> None:
    """Do nothing before a call."""


class MemoryHost:
    """Pull requests in memory, kept as a code host keeps them.

    Args:
        address: where branches are pushed to.
        settings: git's environment for that, as ``CodeHost.push_url`` gives it.

    Attributes:
        requests: every pull request, the oldest first.
        comments: text by number and marker.
        acts: what was changed, in order; a call that changes nothing leaves no trace.
        faults: an error to raise instead of what a method does, by the method's name.
        before: is called with a method's name before that does anything.
        account: who opens pull requests and answers.
    """

    def __init__(self, address: str = "", settings: Mapping[str, str] | None = None) -> None:
        self.account = "orchestrate-bot"
        self.requests: list[PullRequest] = []
        self.reviewers: dict[str, tuple[str, ...]] = {}
        self.comments: dict[tuple[str, str], str] = {}
        self.acts: list[tuple[str, str]] = []
        self.faults: dict[str, Exception] = {}
        self.before: Callable[[str], None] = _nothing
        self._address = address
        self._settings = dict(settings or {})
        self._threads: dict[str, list[Thread]] = {}
        self._answers: dict[str, list[str]] = {}
        self._failed: dict[str, tuple[FailedCheck, ...]] = {}
        self._pending: dict[str, int] = {}

    # -- what people and checks do ---------------------------------------------------------

    def says(
        self,
        number: str,
        body: str,
        *,
        author: str = "ada",
        thread: str = "",
        kind: Literal["lines", "whole"] = "lines",
    ) -> str:
        """Have somebody who may write say something; returns the thread's id.

        What is said of the whole is a thread of its own each time, as hosts have it.
        """
        comment = Comment(author, body, association="MEMBER", trusted=True)
        threads = self._threads.setdefault(number, [])
        for at, one in enumerate(threads):
            if one.id == thread:
                threads[at] = dataclasses.replace(one, comments=(*one.comments, comment))
                return thread
        name = f"{number}/{len(threads) + 1}"
        threads.append(Thread(name, (comment,), kind=kind))
        return name

    def resolves(self, thread: str) -> None:
        """Have somebody resolve a thread."""
        self._change(thread, resolved=True)

    def fails(self, number: str, *checks: FailedCheck, pending: int = 0) -> None:
        """Have checks fail, and none any more where none is given."""
        self._failed[number] = checks
        self._pending[number] = pending

    def closes(self, number: str, state: PullRequestState = "closed") -> None:
        """Have somebody close or merge a pull request."""
        self._set(number, state=state)

    def edits(self, number: str, *, title: str, body: str) -> None:
        """Have somebody edit a pull request."""
        self._set(number, title=title, body=body)

    def answers(self, thread: str) -> list[str]:
        """Return what this account has said in a thread."""
        return list(self._answers.get(thread, ()))

    # -- the port --------------------------------------------------------------------------

    async def find(self, branch: str) -> PullRequest | None:
        """Return the pull request of a branch: an open one first, else the newest."""
        self._fail("find")
        found = [one for one in self.requests if one.branch == branch]
        opened = [one for one in found if one.state == "open"]
        return next(reversed(opened or found), None)

    async def open(self, wish: PullRequestWish) -> PullRequest:
        """Open a pull request, or return the one that is open."""
        self._fail("open")
        for one in self.requests:
            if (one.branch, one.state) == (wish.branch, "open"):
                return one
        number = str(len(self.requests) + 1)
        made = PullRequest(
            number=number,
            url=f"https://host.example/pull/{number}",
            state="open",
            branch=wish.branch,
            base=wish.base,
            title=wish.title,
            body=wish.body,
            draft=wish.draft,
            author=self.account,
            labels=wish.labels,
        )
        self.requests.append(made)
        self.reviewers[number] = wish.reviewers
        self.acts.append(("open", number))
        return made

    async def amend(self, found: PullRequest, wish: PullRequestWish) -> PullRequest:
        """Make an open pull request what is wished."""
        self._fail("amend")
        now = self._request(found.number)
        if now.state != "open":
            raise TrackerError(f"pull request {now.number} is {now.state}")
        labels = tuple(dict.fromkeys((*now.labels, *wish.labels)))
        changed = dataclasses.replace(
            now,
            title=wish.title,
            body=wish.body,
            base=wish.base,
            draft=wish.draft,
            labels=labels,
        )
        if changed != now:
            self.requests[self.requests.index(now)] = changed
            self.acts.append(("amend", now.number))
        return changed

    async def comment(
        self, number: str, marker: str, body: str, *, on: Literal["issue", "pull request"]
    ) -> str:
        """Write a comment, or edit the one that has the marker."""
        self._fail("comment")
        key = (f"{on} {number}", marker)
        if self.comments.get(key) != body:
            self.comments[key] = body
            self.acts.append(("comment", number))
        return f"https://host.example/{number}#{marker}"

    async def feedback(self, found: PullRequest) -> Feedback:
        """Return unresolved threads and failed checks."""
        self._fail("feedback")
        number = found.number
        threads = tuple(one for one in self._threads.get(number, []) if not one.resolved)
        failed = self._failed.get(number, ())
        return Feedback(threads, failed, found.sha, self._pending.get(number, 0))

    async def answer(self, thread: str, marker: str, body: str) -> None:
        """Answer a thread, once for a marker."""
        self._fail("answer")
        found = self._thread(thread)
        if marker in found.markers:
            return
        self._answers.setdefault(thread, []).append(body)
        self.acts.append(("answer", thread))
        if found.kind == "lines":
            said = Comment(self.account, body, trusted=True)
            comments = (*found.comments, said)
            self._change(thread, comments=comments, markers=(*found.markers, marker))
            return
        for one in list(self._threads[thread.partition("/")[0]]):
            if one.kind == "whole":
                self._change(one.id, markers=(*one.markers, marker))

    async def push_url(self) -> tuple[str, Mapping[str, str]]:
        """Return where branches are pushed to."""
        self._fail("push_url")
        return self._address, dict(self._settings)

    # -- what it keeps ---------------------------------------------------------------------

    def _fail(self, name: str) -> None:
        self.before(name)
        if name in self.faults:
            raise self.faults[name]

    def _request(self, number: str) -> PullRequest:
        found = next((one for one in self.requests if one.number == number), None)
        if found is None:
            raise TrackerError(f"no pull request {number}")
        return found

    def _set(self, number: str, **changes: str) -> None:
        found = self._request(number)
        self.requests[self.requests.index(found)] = dataclasses.replace(found, **changes)  # type: ignore[arg-type]

    def _thread(self, thread: str) -> Thread:
        found = [one for some in self._threads.values() for one in some if one.id == thread]
        if not found:
            raise TrackerError(f"no thread {thread}")
        return found[0]

    def _change(self, thread: str, **changes: object) -> None:
        found = self._thread(thread)
        threads = self._threads[thread.partition("/")[0]]
        threads[threads.index(found)] = dataclasses.replace(found, **changes)  # type: ignore[arg-type]
