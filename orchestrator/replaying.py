"""A run's recorded calls, made again by the real tools in a fresh workspace, and what differs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from orchestrator import prompts
from orchestrator.agent import CUT_CALL
from orchestrator.errors import WorkspaceError
from orchestrator.events import (
    BaseMerged,
    Collected,
    Event,
    ModelReplied,
    SnapshotTaken,
    ToolsReturned,
)
from orchestrator.ports import Tools
from orchestrator.records import Run
from orchestrator.session import about_call, calls_of
from orchestrator.snapshots import operation
from orchestrator.toolserver import ToolServer
from orchestrator.transcript import result_block
from orchestrator.values import frozen
from orchestrator_tools.contract import StateChange, ToolCall, ToolState, text_result

MOST_LINES = 12
"""Lines of a difference that are told."""


@frozen
class Difference:
    """A result that is not the recorded one.

    Attributes:
        about: what the call does, in a few words.
        lines: how the recorded result (-) and the new one (+) differ, as far as is told.
    """

    turn: int
    tool: str
    about: str
    lines: tuple[str, ...]


@frozen
class Replayed:
    """What came of making a run's calls again.

    Attributes:
        calls: how many were made.
        stopped: why it went no further; empty where all were made.
    """

    turns: int
    calls: int
    differences: tuple[Difference, ...]
    stopped: str = ""


class Replay:
    """Makes the calls of one run again.

    Args:
        run: the run; its issue names the commits that the runtime made on the way.
        tools: what its agent might use.
        server: runs them, in a workspace that is at the run's base.
        cwd: where the first call starts.
    """

    def __init__(self, run: Run, tools: Tools, server: ToolServer, *, cwd: str) -> None:
        self._run = run
        self._tools = tools
        self._server = server
        self._state = ToolState(cwd=cwd)
        self._replies: dict[int, ModelReplied] = {}
        self._differences: list[Difference] = []
        self._head = ""
        self._turns = 0
        self._calls = 0

    async def replay(self, events: Sequence[Event]) -> Replayed:
        """Make all calls again, in order, and what the runtime did between them."""
        for event in events:
            match event:
                case ModelReplied(session="author"):
                    self._replies[event.turn] = event
                case ToolsReturned(session="author"):
                    await self._turn(event)
                case SnapshotTaken(session="author", turn=turn):
                    await operation(self._server, {"op": "snapshot", "turn": turn})
                case Collected():
                    await self._commit()
                case BaseMerged(base=base, error="") if not await self._merge(base):
                    return self._done(f"the base that was merged in, {base[:12]}, does not merge")
                case _:
                    pass
        return self._done()

    def _done(self, stopped: str = "") -> Replayed:
        return Replayed(self._turns, self._calls, tuple(self._differences), stopped)

    async def _turn(self, recorded: ToolsReturned) -> None:
        reply = self._replies[recorded.turn]
        before = {
            str(block["tool_use_id"]): block
            for block in orjson.loads(recorded.message)["content"]
            if block.get("type") == "tool_result"
        }
        self._turns += 1
        for call in calls_of(reply):
            now = await self._call(call, cut=call.call_id in reply.broken_calls)
            self._calls += 1
            lines = _differs(before.get(call.call_id, {}), now)
            if lines:
                about = about_call(call)
                self._differences.append(Difference(recorded.turn, call.tool, about, lines))

    async def _call(self, call: ToolCall, *, cut: bool) -> Mapping[str, Any]:
        if cut:
            result, change = text_result(CUT_CALL, is_error=True), StateChange()
        else:
            result, change = await self._tools.call(call.tool, call.arguments, self._state)
        self._state = self._state.after(change)
        return result_block(call.call_id, result)

    async def _commit(self) -> None:
        """Commit what is left, as the runtime did when it brought the work out."""
        await self._server.stop()
        message = prompts.commit_message(self._run.issue)
        said = await operation(self._server, {"op": "commit", "message": message})
        self._head = str(said.get("head"))
        await self._server.stop()

    async def _merge(self, base: str) -> bool:
        name = self._run.base_ref.removeprefix("refs/heads/")
        message = f"Merge {name or base[:12]} into {self._run.branch}"
        asked: dict[str, object] = {"op": "merge", "commit": self._head, "base": base}
        try:
            await operation(self._server, {**asked, "message": message})
        except WorkspaceError:
            return False
        await self._server.stop()
        return True


def _differs(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """Return how two results differ; empty where they are the same."""
    if before == now:
        return ()
    old, new = (_said(one).splitlines() for one in (before, now))
    found = [
        one
        for one in difflib.unified_diff(old, new, lineterm="", n=0)
        if not one.startswith(("---", "+++", "@@"))
    ]
    if bool(before.get("is_error")) != bool(now.get("is_error")):
        found.insert(0, "+ it fails now" if now.get("is_error") else "+ it does not fail now")
    more = len(found) - MOST_LINES
    told = found[:MOST_LINES] + ([f"  ({more} more lines)"] if more > 0 else [])
    return tuple(told) or ("  they differ in what is no text",)


def _said(block: Mapping[str, Any]) -> str:
    content = block.get("content", "")
    if isinstance(content, str):
        return content
    return "\n".join(str(one.get("text", "")) for one in content)
