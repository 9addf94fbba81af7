"""All gates judge a change, side by side; a verdict that is journaled for it stands."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress

import anyio

from orchestrator.errors import JournalError, is_machine_fault, only
from orchestrator.events import Event, GateJudged
from orchestrator.ports import Change, Gate
from orchestrator.rebuilding import as_kept
from orchestrator.records import SECRETS_GATE, Verdict

MOST = 4
"""Gates that judge at once, unless the settings say otherwise."""

SOON_S = 0.02
"""How long a verdict waits for others before it is recorded."""

Emit = Callable[..., Awaitable[None]]


async def judge_change(  # noqa: PLR0913 - all that judging depends on
    change: Change,
    gates: Sequence[Gate],
    events: Sequence[Event],
    emit: Emit,
    *,
    number: int,
    parallel: int = 0,
    place: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
) -> list[Verdict]:
    """Let every gate judge; verdicts are recorded as they come, and returned in the gates' order.

    Args:
        change: what is judged.
        gates: who judges; no two have one name.
        events: the run's events so far, with the verdicts that stand.
        emit: records a new verdict.
        number: the round.
        parallel: how many judge at once; 0 means one a processor, at most four.
        place: gives what each has to have while it judges.

    Raises:
        JournalError: a verdict cannot be recorded.
        OrchestratorError: the machine is at fault, which says nothing of the change.
    """
    verdicts: dict[int, Verdict] = {}
    # Not a limiter that lends to tasks: those of one name would be told apart by who asks.
    room = anyio.Semaphore(parallel or min(MOST, os.cpu_count() or 1))
    judged = [one for one in events if isinstance(one, GateJudged)]
    known = [_known(gate.name, change, judged) for gate in gates]
    record = _Record(emit, left=known.count(None))

    async def judge(index: int, gate: Gate) -> None:
        async with room, place():
            verdicts[index] = await _judged(gate, change)
        await record.take(GateJudged(number, verdicts[index], change.base))

    try:
        async with anyio.create_task_group() as tasks:
            for index, gate in enumerate(gates):
                verdict = known[index]
                if verdict is None:
                    tasks.start_soon(judge, index, gate)
                else:
                    verdicts[index] = verdict
    except BaseExceptionGroup as group:
        raise only(group) from None
    finally:
        await record.rest()
    return [verdicts[index] for index in range(len(gates))]


class _Record:
    """Records verdicts soon after they come; those that come close together, together.

    Most gates only read, and ten of them have judged within some milliseconds.
    """

    def __init__(self, emit: Emit, left: int) -> None:
        self._emit = emit
        self._left = left
        self._waiting: list[Event] = []
        self._all_came = anyio.Event()
        self._is_written = False

    async def take(self, judged: GateJudged) -> None:
        """Record a verdict; whoever waits to write takes it along."""
        self._waiting.append(judged)
        self._left -= 1
        if not self._left:
            self._all_came.set()
        if self._is_written:
            return
        self._is_written = True
        try:
            with anyio.move_on_after(SOON_S):
                await self._all_came.wait()
            await self._write()
        finally:
            self._is_written = False

    async def _write(self) -> None:
        while self._waiting:
            judged, self._waiting = self._waiting, []
            await self._emit(*judged)

    async def rest(self) -> None:
        """Record what came before something went wrong: it need not be judged again."""
        with anyio.CancelScope(shield=True), suppress(JournalError):
            await self._write()


async def _judged(gate: Gate, change: Change) -> Verdict:
    """Return a gate's verdict; whatever it does, the verdict is on this change and has its name."""
    try:
        said: object = await gate.judge(change)
    except JournalError:
        raise
    except Exception as error:
        if is_machine_fault(error):
            raise
        return _failed(gate, change, _raised(error))
    except anyio.get_cancelled_exc_class():
        if anyio.current_effective_deadline() == -math.inf:
            raise
        # Nobody here has cancelled it: let through, it would end the judging of all others.
        return _failed(gate, change, "the gate broke: it was cancelled")
    if not isinstance(said, Verdict):
        return _failed(gate, change, f"it returned no verdict but {type(said).__name__}")
    try:
        said = as_kept(Verdict, said)
    except TypeError as error:
        return _failed(gate, change, f"it returned a verdict that cannot be kept: {error}")
    return dataclasses.replace(said, gate=gate.name, commit=change.commit, tree=change.tree)


def _failed(gate: Gate, change: Change, reason: str) -> Verdict:
    return Verdict(gate.name, "failed", reason, commit=change.commit, tree=change.tree)


def _raised(error: Exception) -> str:
    said = f"the gate broke: {type(error).__name__}: {error}"[:500]
    return said.encode("utf-8", "replace").decode()


def _known(gate: str, change: Change, judged: Sequence[GateJudged]) -> Verdict | None:
    """Return the verdict that a gate gave on the same tree, as a change of the same base."""
    wanted = (gate, change.tree, change.base)
    for event in judged:
        verdict = event.verdict
        if (verdict.gate, verdict.tree, event.base) != wanted:
            continue
        # The way to a tree can hold a secret that the tree no longer has.
        if gate != SECRETS_GATE or verdict.commit == change.commit:
            return verdict
    return None
