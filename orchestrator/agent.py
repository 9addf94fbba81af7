"""One agent: the turn loop. A turn is one reply of the model and the results of its tool calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import anyio

from orchestrator.asking import Asking, Ending
from orchestrator.care import Care
from orchestrator.events import (
    CallSummary,
    Cause,
    Event,
    ModelReplied,
    Notice,
    Prompted,
    Signal,
    ToolOutput,
    ToolsReturned,
    ToolStarted,
)
from orchestrator.limits import Ledger
from orchestrator.ports import Clock, Tools
from orchestrator.session import Session, about_call, calls_of, words_of
from orchestrator.transcript import encode_message, result_block, text_block
from orchestrator_tools.contract import StateChange, ToolCall, ToolResult, ToolState, text_result

if TYPE_CHECKING:
    from orchestrator.shortening import Shortening
    from orchestrator.stuck import Finding, Watch

GO_ON = "Your reply was cut at its length limit. Go on where it stopped, in smaller steps."
CUT_CALL = "This call was cut off or was not valid JSON, so it was not run. Make it again, smaller."

STUCK_HINT = "say in the issue what it lacks, and run it again with --new"

SMALL = 48 * 1024
"""Bytes of a transcript that is not looked at: it is left as it is whatever the model."""

Emit = Callable[..., Awaitable[None]]
Show = Callable[[Signal], None]


class Snapshots(Protocol):
    """Keeps the state of the workspace after turns whose calls cannot be repeated."""

    def begin(self, turn: int) -> None:
        """Start keeping the state after a turn; returns at once."""
        ...

    async def settled(self) -> None:
        """Wait until the last state is kept and journaled."""
        ...

    def state(self) -> tuple[int, str]:
        """Return turn and name of the last state that was kept; equal names are equal states."""
        ...


class Agent:
    """Works turn by turn until the model is done or something stops it.

    Args:
        session: where the work stands.
        asking: asks for the replies.
        tools: what the agent may use.
        ledger: what it may still use up.
        snapshots: keeps the state of the workspace.
        notes: tells, once, what the model should know of its surroundings beside the results.
        emit: records events together; when it returns they are on disk.
        show: shows a signal; never waits.
        care: looks after it.
        until: tells of a reply with calls whether it ends the work; then none of them is run.
        opened: events by which the session began; they are recorded with the first request.
    """

    def __init__(  # noqa: PLR0913 - every collaborator is passed in
        self,
        *,
        session: Session,
        asking: Asking,
        tools: Tools,
        ledger: Ledger,
        snapshots: Snapshots,
        notes: Callable[[], list[str]],
        emit: Emit,
        show: Show,
        clock: Clock,
        care: Care,
        until: Callable[[ModelReplied], bool] = lambda _: False,
        opened: Sequence[Event] = (),
    ) -> None:
        self.session = session
        self._until = until
        self._asking = asking
        self._tools = tools
        self._ledger = ledger
        self._snapshots = snapshots
        self._notes = notes
        self._emit = emit
        self._show = show
        self._clock = clock
        self._care = care
        self._watch: Watch | None = None
        self._shortening: Shortening | None = None
        self._stuck: Ending | None = None
        self._word = ""
        specs = tools.specs()
        self._read_only = {spec.name for spec in specs if spec.effect == "none"}
        self._repeatable = {spec.name for spec in specs if spec.effect == "repeatable"}
        self._unrecorded: list[Event] = list(opened)
        self._ran_now = 0

    def prompt(self, text: str, cause: Cause) -> None:
        """Add a user message before the next turn; it is recorded with the next request."""
        message = encode_message("user", [text_block(text)])
        event = Prompted(self.session.name, self.session.turn, message, cause)
        self.session.apply(event)
        self._unrecorded.append(event)
        if self._watch is not None:
            self._watch.prompted(cause)

    async def run(self) -> Ending:
        """Go on until the work ends; everything that counts is recorded on the way."""
        while True:
            ending = await self._step()
            if ending is not None:
                await self._record()
                return ending

    async def _step(self) -> Ending | None:
        """Do the next thing: run the calls of the last reply, or ask for the next one."""
        session = self.session
        if session.reply is not None:
            if self._until(session.reply):
                return Ending("finished", words_of(session.reply))
            await self._run_calls(session.reply)
            return None
        if session.turn > 1:
            self._watching()  # what an earlier process made of its last turn holds here as well
        if self._stuck is not None:
            return self._stuck
        if session.final is not None:
            return self._over(session.final)
        if session.cut:
            self.prompt(f"{GO_ON} {self._word}".strip(), "continue")
        return await self._ask()

    def _over(self, final: ModelReplied) -> Ending | None:
        """Say what the last reply means; an agent that has done nothing is asked once more."""
        ending = _ending_of(final)
        if ending.kind == "finished" and self._watching().only_talked():
            self.prompt(self._watching().talked, "stuck")
            return None
        return ending

    async def _ask(self) -> Ending | None:
        """Ask for the next reply, on a transcript that is short enough."""
        session = self.session
        ending = None
        if session.full or session.transcript.size() >= SMALL:
            ending = await self._shorter().before(self._record)
        while ending is None:
            ending = await self._asking.ask(self._record)
            if ending is None:
                self._replied()
                return None
            if ending.kind == "full":
                ending = await self._shorter().exceeded(ending.error, self._record)
        return ending

    def _replied(self) -> None:
        session = self.session
        known = self._watch
        if session.reply is not None or session.final is not None:
            return
        if known is not None:
            self._word = self._judge(known.said(session.turn - 1))
        else:
            self._watching()  # made from the journal, it has seen this reply

    # -- going round in circles ------------------------------------------------------------

    def _watching(self) -> Watch:
        if self._watch is None:
            self._watch = self._care.watch()
            self._word = self._judge(self._watch.pending)
        return self._watch

    def _shorter(self) -> Shortening:
        if self._shortening is None:
            self._shortening = self._care.shortening(self._owe)
        return self._shortening

    def _owe(self, event: Event) -> None:
        """Have an event recorded with the next request."""
        self._unrecorded.append(event)

    def _judge(self, found: Finding | None) -> str:
        """Take note of repetition: return a word for the agent, or have the run end."""
        if found is None:
            return ""
        self._show(Notice(found.evidence))
        if not found.final:
            return found.nudge
        self._stuck = Ending("stuck", error=f"stuck: {found.evidence}", hint=STUCK_HINT)
        return ""

    async def _record(self, *more: Event) -> None:
        events, self._unrecorded = [*self._unrecorded, *more], []
        if events:
            await self._emit(*events)
        if self._ran_now:
            turn, self._ran_now = self._ran_now, 0
            self._snapshots.begin(turn)

    # -- tools -----------------------------------------------------------------------------

    async def _run_calls(self, reply: ModelReplied) -> None:
        """Run a reply's calls, reads side by side and writes in order, and note the results."""
        calls = calls_of(reply)
        results: dict[str, tuple[ToolResult, StateChange, CallSummary]] = {}
        state = self.session.tools
        ran = False
        for batch in self._batches(calls):
            if batch[0].tool not in self._read_only:
                await self._snapshots.settled()
                ran = ran or batch[0].tool not in self._repeatable
            for call, done in zip(batch, await self._together(batch, state, reply), strict=True):
                results[call.call_id] = done
                state = state.after(done[1])
        self._note(reply.turn, calls, results, ran=ran)

    def _batches(self, calls: Sequence[ToolCall]) -> list[list[ToolCall]]:
        """Group calls: neighbouring reads together, everything else alone."""
        batches: list[list[ToolCall]] = []
        for call in calls:
            reads = call.tool in self._read_only
            if reads and batches and batches[-1][0].tool in self._read_only:
                batches[-1].append(call)
            else:
                batches.append([call])
        return batches

    async def _together(
        self, batch: Sequence[ToolCall], state: ToolState, reply: ModelReplied
    ) -> list[tuple[ToolResult, StateChange, CallSummary]]:
        done: dict[int, tuple[ToolResult, StateChange, CallSummary]] = {}

        async def one(index: int) -> None:
            done[index] = await self._call(batch[index], state, reply)

        if len(batch) == 1:
            await one(0)
        else:
            async with anyio.create_task_group() as tasks:
                for index in range(len(batch)):
                    tasks.start_soon(one, index)
        return [done[index] for index in range(len(batch))]

    async def _call(
        self, call: ToolCall, state: ToolState, reply: ModelReplied
    ) -> tuple[ToolResult, StateChange, CallSummary]:
        about = about_call(call)
        self._show(ToolStarted(reply.turn, call.tool, about))
        started = self._clock()
        if call.call_id in reply.broken_calls:
            result, change = text_result(CUT_CALL, is_error=True), StateChange()
        else:
            result, change = await self._tools.call(
                call.tool,
                call.arguments,
                state,
                show=lambda text: self._show(ToolOutput(reply.turn, call.tool, text)),
            )
        took = self._clock() - started
        return result, change, CallSummary(call.tool, about, result.is_error, round(took, 4))

    def _note(
        self,
        turn: int,
        calls: Sequence[ToolCall],
        results: dict[str, tuple[ToolResult, StateChange, CallSummary]],
        *,
        ran: bool,
    ) -> None:
        blocks = [result_block(call.call_id, results[call.call_id][0]) for call in calls]
        watch = self._watching()
        watch.tree(*self._snapshots.state())
        took = [results[call.call_id][2].duration_s for call in calls]
        nudge = self._judge(watch.returned(turn, calls, blocks, took=took))
        told = [note for note in (*self._notes(), self._ledger.notice(), nudge) if note]
        blocks += [text_block(note) for note in told]
        seen: dict[str, str] = {}
        cwd = None
        for call in calls:
            change = results[call.call_id][1]
            seen |= change.seen
            cwd = change.cwd or cwd
        event = ToolsReturned(
            session=self.session.name,
            turn=turn,
            message=encode_message("user", blocks),
            calls=tuple(results[call.call_id][2] for call in calls),
            cwd=cwd,
            seen=seen,
            ran=ran,
        )
        self.session.apply(event)
        self._unrecorded.append(event)
        self._ran_now = turn if ran else self._ran_now


def _ending_of(reply: ModelReplied) -> Ending:
    """Say honestly what a last reply means."""
    words = words_of(reply)
    match reply.stop_reason:
        case "end_turn" | "stop_sequence" | "tool_use":
            return Ending("finished", words)
        case "refusal":
            return Ending("refused", words, error="the model refused to go on")
        case other:
            return Ending(
                "failed", words, error=f"the model stopped for an unknown reason: {other}"
            )
