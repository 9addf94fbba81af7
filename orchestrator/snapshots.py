"""The state of a run's workspace: kept beside the turns, and put back after an interruption.

A turn whose calls cannot be repeated (Bash) is followed by a snapshot. Writes and edits need
none: on files that were put back they are repeated from the journal, and give the same files.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeGuard

import anyio
import anyio.abc
import anyio.to_thread

from orchestrator import toolbox
from orchestrator.errors import DiskFull, OrchestratorError, WorkspaceError, only
from orchestrator.events import AUTHOR, Event, ModelReplied, SnapshotTaken, ToolsReturned
from orchestrator.hostgit import is_full
from orchestrator.session import Session, calls_of
from orchestrator.toolserver import Ask, ServerGone, ToolServer
from orchestrator.transcript import encode_message, text_block
from orchestrator.workspaces import Workspace
from orchestrator_tools.contract import StateChange, ToolState

OPERATION_S = 180.0
YIELD_S = 0.004
RESTARTED = "The sandbox was started anew: processes in the background are gone, files are kept."


async def put_back(
    workspace: Workspace,
    launch: Callable[[], Awaitable[Ask]],
    events: Sequence[Event],
    *,
    interrupted: bool,
) -> None:
    """Make a run's workspace, start its server, and undo what an interrupted turn did.

    Args:
        workspace: the run's workspace; what is there already is kept.
        launch: starts the tool server and returns what asks it.
        events: the run's events so far.
        interrupted: whether the last reply's calls may have been begun.

    Raises:
        WorkspaceError: the workspace cannot be made, or not be put back; DiskFull where there is
            no room.
    """
    kept = next((e for e in reversed(events) if isinstance(e, SnapshotTaken)), None)
    at = kept.turn if kept else 0
    ran = max((e.turn for e in events if _is_returned(e) and e.ran), default=0)
    # Where the snapshot after the last turn that ran something is missing, no call has been
    # started since that changes files: the state is that turn's.
    undo = interrupted and ran <= at

    def lay_out() -> tuple[bool, bool]:
        seeded = workspace.is_seeded
        if seeded or (undo and kept is None):
            workspace.clear()
        else:
            workspace.move()
        return seeded, workspace.lay_out()

    seeded, fresh = await anyio.to_thread.run_sync(lay_out)
    ask = await _filled(workspace, launch, fresh=fresh)
    if undo or seeded:
        try:
            if kept is not None:
                await _asked(ask, {"op": "restore", "snapshot": kept.snapshot})
            await _redo(ask, events, after=at, cwd=workspace.layout.workspace)
        except WorkspaceError as error:
            raise DiskFull(str(error)) if is_full(workspace.folder) else error from None
    if seeded:
        await anyio.to_thread.run_sync(workspace.is_put_back)


async def _filled(
    workspace: Workspace, launch: Callable[[], Awaitable[Ask]], *, fresh: bool
) -> Ask:
    """Fill the work tree, where it is a fresh one, while the server starts."""
    started: list[Ask] = []
    try:
        async with anyio.create_task_group() as tasks:
            if fresh:
                tasks.start_soon(anyio.to_thread.run_sync, workspace.check_out)
            started.append(await launch())
    except BaseExceptionGroup as group:
        # One error, so that who waits for the workspace can tell it from others.
        raise only(group) from None
    return started[0]


async def _redo(ask: Ask, events: Sequence[Event], *, after: int, cwd: str) -> None:
    """Repeat the writes and edits of the finished turns that came after the last snapshot."""
    state = ToolState(cwd=cwd)
    specs = toolbox.specs(toolbox.every_tool())
    repeatable = {spec.name for spec in specs if spec.effect == "repeatable"}
    replies = {e.turn: e for e in events if isinstance(e, ModelReplied) and e.session == AUTHOR}
    for event in events:
        if not _is_returned(event):
            continue
        reply = replies[event.turn]
        for call in calls_of(reply) if event.turn > after else []:
            if call.tool in repeatable and call.call_id not in reply.broken_calls:
                message = {"op": "redo", "tool": call.tool, "arguments": call.arguments}
                message |= {"cwd": state.cwd, "seen": dict(state.seen), "after": event.seen}
                said = await _asked(ask, message)
                state = state.after(StateChange(seen=dict(said.get("seen") or {})))
        state = state.after(StateChange(cwd=event.cwd, seen=event.seen))


def _is_returned(event: Event) -> TypeGuard[ToolsReturned]:
    """Tell whether an event holds results of the author's calls: a reviewer has other files."""
    return isinstance(event, ToolsReturned) and event.session == AUTHOR


async def _asked(ask: Ask, message: Mapping[str, object]) -> dict[str, Any]:
    try:
        with anyio.fail_after(OPERATION_S):
            answer = await ask(message)
    except (ServerGone, TimeoutError, ValueError) as error:
        raise WorkspaceError(f"the workspace cannot be put back: {error}") from None
    if "error" in answer:
        raise WorkspaceError(
            f"the workspace cannot be put back to where it was: {answer['error']}",
            hint="start anew with --new",
        )
    return answer


class ServerSnapshots:
    """Keeps the workspace's state through the tool server, beside the next request."""

    def __init__(
        self,
        server: ToolServer,
        emit: Callable[..., Awaitable[None]],
        tasks: anyio.abc.TaskGroup,
    ) -> None:
        self._server = server
        self._emit = emit
        self._tasks = tasks
        self._done: anyio.Event | None = None
        self._wanted = anyio.Event()
        self._problem: Exception | None = None
        self._owed = 0
        self._notes: list[str] = []
        self._state = (0, "")

    def resume(self, session: Session, events: Sequence[Event]) -> None:
        """Take up a snapshot that an earlier process owed."""
        for event in events:
            if isinstance(event, SnapshotTaken):
                self._state = (event.turn, event.snapshot)
        taken = max((e.turn for e in events if isinstance(e, SnapshotTaken)), default=0)
        self._owed = session.ran if session.ran > taken else 0
        for number, event in enumerate(events):
            if isinstance(event, SnapshotTaken):
                self._notes += [one for one in event.notes if not _is_told(one, events[number:])]

    def begin(self, turn: int) -> None:
        """Start keeping the state after a turn; returns at once."""
        self._owed = 0
        self._done = anyio.Event()
        self._wanted = anyio.Event()
        self._tasks.start_soon(self._take, turn, self._done)

    async def settled(self) -> None:
        """Wait until the last state is kept and journaled.

        Raises:
            WorkspaceError: it could not be kept.
        """
        if self._owed:
            self.begin(self._owed)
        if self._done is not None:
            self._wanted.set()
            await self._done.wait()
            self._done = None
        if self._problem is not None:
            raise self._problem

    def state(self) -> tuple[int, str]:
        """Return turn and name of the last state that was kept; equal names are equal states."""
        return self._state

    def notes(self) -> list[str]:
        """Return what the model should be told, once."""
        notes, self._notes = self._notes, []
        return notes

    async def _take(self, turn: int, done: anyio.Event) -> None:
        try:
            # The next request goes out first, unless someone waits already.
            with anyio.move_on_after(YIELD_S):
                await self._wanted.wait()
            said = await operation(self._server, {"op": "snapshot", "turn": turn})
            notes = [RESTARTED] if said["restarted"] else []
            aside = [str(one) for one in said.get("aside") or []]
            if aside:
                named = ", ".join(aside[:5])
                notes.append(
                    f"A git repository inside the workspace was set aside ({named}); "
                    "its files stay as plain files."
                )
            # On disk before it can be told: what a kill cuts off is told by who goes on.
            await self._emit(SnapshotTaken(AUTHOR, turn, str(said["snapshot"]), tuple(notes)))
            self._notes += notes
            self._state = (turn, str(said["snapshot"]))
        except OrchestratorError as error:
            self._problem = error
        finally:
            done.set()


def _is_told(note: str, later: Sequence[Event]) -> bool:
    """Tell whether the model was told something, in the results of a turn that came later."""
    words = encode_message("user", [text_block(note)]).partition(b'"text":')[2].rstrip(b"}]")
    return any(_is_returned(one) and words in one.message for one in later)


async def operation(server: ToolServer, message: dict[str, object]) -> dict[str, Any]:
    """Have the server do one thing to the workspace; the second try is made where nothing runs.

    Returns:
        The answer; ``restarted`` in it says that what ran inside was ended for the second try.

    Raises:
        WorkspaceError: it failed twice; DiskFull where there is no room.
    """
    failure = ""
    for restarted in (False, True):
        try:
            answer = await server.ask(message, seconds=OPERATION_S)
        except ServerGone as gone:
            failure = str(gone)
            continue
        if "error" not in answer:
            return {**answer, "restarted": restarted}
        failure = str(answer["error"])
        # Processes that were left running may be what is in the way.
        await server.stop()
    said = f"the workspace's {message['op']} failed: {failure}"
    raise DiskFull(said) if server.is_full() else WorkspaceError(said)
