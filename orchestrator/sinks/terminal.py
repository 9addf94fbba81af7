"""What a person sees while a run goes on: a line a turn and a line a tool."""

from __future__ import annotations

import re
from typing import TextIO

import orjson

from orchestrator.contextevents import Compacted, ResultsCleared, told
from orchestrator.deliveryevents import (
    AnswerIntended,
    BranchPushed,
    IssueCommented,
    IssueMoved,
    PullRequestIntended,
    PullRequestSet,
    PushIntended,
    RoundNoted,
    ThreadAnswered,
)
from orchestrator.events import (
    AUTHOR,
    BaseMerged,
    BranchIntended,
    BranchSet,
    CallSummary,
    Collected,
    Event,
    GateJudged,
    ModelReplied,
    Notice,
    Prompted,
    Reviewed,
    RunFinished,
    RunParked,
    RunResumed,
    RunStarted,
    Signal,
    SnapshotTaken,
    ToolOutput,
    ToolsReturned,
    ToolStarted,
    TranscriptOpened,
    Waiting,
)
from orchestrator.lifeevents import RunAbandoned, RunTakenOver
from orchestrator.modelevents import ModelSwitched, RequestFailed, RequestIntended, switched
from orchestrator.records import Finding, VerdictState
from orchestrator.sinks.plain import line
from orchestrator.wayoutevents import EgressDecided, EgressEnded, WorkspaceSetUp

SLOW_S = 2.0
STYLES = {"dim": "2", "red": "31", "green": "32", "bold": "1"}
TAIL = 3
"""Lines that one piece of a running command's output is shown by."""
MARKS = {
    "passed": ("passed", "green"),
    "failed": ("FAILED", "red"),
    "not_executed": ("not executed", "dim"),
}


class TerminalSink:
    """Writes progress lines.

    Args:
        stream: where to; usually stderr.
        colour: whether styles may be used.
        live: whether output of running commands is shown; left out where nobody looks on.
    """

    def __init__(self, stream: TextIO, *, colour: bool, live: bool = False) -> None:
        self._stream = stream
        self._colour = colour
        self._live = live

    async def __call__(self, event: Event | Signal) -> None:
        """Show one event or signal."""
        lines = self._tail(event) if isinstance(event, ToolOutput) else self._lines(event)
        for text in lines:
            self._stream.write(f"{text}\n")
        self._stream.flush()

    def _lines(self, event: Event | Signal) -> list[str]:
        text = ""
        match event:
            case RunStarted():
                return self._beginning(event)
            case ToolsReturned(calls=calls):
                return [
                    self._ended(one) for one in calls if one.is_error or one.duration_s >= SLOW_S
                ]
            case RunResumed(run=run):
                text = self._styled(line(f"run {run.run_id} goes on"), "bold")
            case ModelReplied(missed=missed):
                missing = [self._styled(f"  cache: {line(missed, 150)}", "dim")] if missed else []
                return [self._turn(event), *missing]
            case ToolStarted(tool=tool, about=about):
                text = f"  {line(tool):<5} {line(about, 90)}"
            case Collected() | BaseMerged() | GateJudged() | Reviewed():
                return self._judging(event)
            case BranchSet(branch=branch):
                text = f"branch {line(branch)}"
            case BranchPushed() | PullRequestSet() | IssueMoved() | IssueCommented():
                text = _delivered(event)
            case (
                RequestFailed()
                | Waiting()
                | Notice()
                | EgressDecided()
                | WorkspaceSetUp()
                | ResultsCleared()
                | Compacted()
                | ModelSwitched()
            ):
                text = self._styled(line(_told(event), 160), "dim")
            case _:
                _untold(event)
        return [text] if text else []

    def _beginning(self, event: RunStarted) -> list[str]:
        run = event.run
        model = "scripted replies: no model is asked" if run.scripted else run.model
        about = f"issue {run.issue.key} -> {event.agent.name} ({run.route.reason}), {model}"
        return [self._styled(line(about), "bold")]

    def _judging(self, event: Collected | BaseMerged | GateJudged | Reviewed) -> list[str]:
        """Return what is told of work that is judged."""
        match event:
            case Collected(commit=commit):
                return [self._styled(f"collected commit {commit[:12]}", "dim")]
            case BaseMerged():
                return [self._styled(line(_of_merge(event), 160), "dim")]
            case GateJudged(verdict=verdict):
                told = self._state(verdict.state, verdict.reason)
                return [f"gate {line(verdict.gate)}: {told}"]
            case Reviewed(review=review):
                told = self._state(review.state, review.reason)
                findings = [line(about_finding(one), 150) for one in review.findings]
                dim = [self._styled(f"  {one}", "dim") for one in findings]
                return [f"review {review.number}: {told}", *dim]

    def _state(self, state: VerdictState, reason: str) -> str:
        word, style = MARKS[state]
        return f"{self._styled(word, style)} ({line(reason)})"

    def _tail(self, event: ToolOutput) -> list[str]:
        """Return the last lines of a running command's output, where somebody looks on."""
        if not self._live:
            return []
        lines = [one for one in map(line, re.split(r"[\r\n]+", event.text)) if one]
        return [self._styled(f"    {one}", "dim") for one in lines[-TAIL:]]

    def _ended(self, call: CallSummary) -> str:
        word = "failed" if call.is_error else "took"
        return self._styled(f"  {line(call.tool)} {word} {call.duration_s:.1f} s", "dim")

    def _turn(self, event: ModelReplied) -> str:
        usage = event.usage
        blocks = orjson.loads(event.message)["content"]
        said = next((str(one["text"]) for one in blocks if one.get("type") == "text"), "")
        of = "" if event.session == AUTHOR else f"{line(event.session, 20)} "
        parts = [self._styled(f"{of}turn {event.turn}", "bold"), line(said, 70)]
        if usage.prompt_tokens:
            counts = f"{usage.prompt_tokens} in, {usage.output_tokens} out, ${event.cost_usd:.4f}"
            parts.append(self._styled(f"({counts})", "dim"))
        return " ".join(part for part in parts if part)

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if self._colour else text


def _untold(
    event: Prompted
    | TranscriptOpened
    | RequestIntended
    | SnapshotTaken
    | BranchIntended
    | PushIntended
    | PullRequestIntended
    | AnswerIntended
    | ThreadAnswered
    | RoundNoted
    | EgressEnded
    | RunParked
    | RunFinished
    | RunTakenOver
    | RunAbandoned
    | ToolOutput,
) -> None:
    """Say nothing of these: each is named, so that a new kind is a decision."""


def _delivered(event: BranchPushed | PullRequestSet | IssueMoved | IssueCommented) -> str:
    match event:
        case BranchPushed(remote=remote, branch=branch, rescue=rescue):
            why = " (to be looked at: it was not let through)" if rescue else ""
            return f"pushed to {line(remote)} {line(branch)}{why}"
        case PullRequestSet(url=url):
            return f"pull request {line(url, 200)}"
        case IssueMoved(issue=issue, to=to):
            return f"issue {line(issue)} is shown as {line(to)}"
        case IssueCommented(url=url):
            return f"comment {line(url, 200)}"


def about_finding(finding: Finding) -> str:
    """Return one finding as a line."""
    place = f"{finding.path}:{finding.line}" if finding.line else finding.path
    return f"{finding.severity}: {place or 'the change as a whole'}: {finding.problem}"


def _of_merge(event: BaseMerged) -> str:
    base = f"your branch has moved to {event.base[:12]}"
    if event.commit:
        return f"{base}: merged in, commit {event.commit[:12]}"
    if event.conflicts:
        return f"{base}, and does not merge: {', '.join(event.conflicts)}"
    return f"{base}, and cannot be merged: {event.error}"


def _told(
    event: RequestFailed
    | Waiting
    | Notice
    | EgressDecided
    | WorkspaceSetUp
    | ModelSwitched
    | ResultsCleared
    | Compacted,
) -> str:
    match event:
        case ModelSwitched():
            text = switched(event)
        case EgressDecided(host=host, port=port):
            refused = "" if event.allowed else f" refused: {event.reason}"
            text = f"network: {host}:{port}{refused}"
        case WorkspaceSetUp(kept=kept, duration_s=took):
            how = "from what an earlier run installed" if kept else f"in {took:.1f} s"
            text = f"workspace set up {how}"
        case RequestFailed(error=error):
            text = f"no reply: {error}"
        case Waiting(reason=reason, seconds=seconds):
            text = f"trying again in {seconds:.1f} s" if seconds else f"waiting: {reason}"
        case Notice(text=said):
            text = said
        case ResultsCleared() | Compacted():
            text = told(event)
    return text
