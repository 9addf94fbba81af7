"""All gates judge a change; a verdict that is journaled for this very tree stands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from orchestrator.events import Event, GateJudged
from orchestrator.ports import Change, Gate
from orchestrator.records import Verdict


async def judge_change(
    change: Change,
    gates: Sequence[Gate],
    events: Sequence[Event],
    emit: Callable[..., Awaitable[None]],
    *,
    number: int,
) -> list[Verdict]:
    """Let every gate judge, in order.

    Args:
        change: what is judged.
        gates: who judges.
        events: the run's events so far, with the verdicts that stand.
        emit: records a new verdict.
        number: the round.
    """
    verdicts: list[Verdict] = []
    for gate in gates:
        verdict = _known(gate.name, change.tree, events)
        if verdict is None:
            verdict = await gate.judge(change)
            await emit(GateJudged(number, verdict))
        verdicts.append(verdict)
    return verdicts


def _known(gate: str, tree: str, events: Sequence[Event]) -> Verdict | None:
    for event in events:
        if isinstance(event, GateJudged) and (event.verdict.gate, event.verdict.tree) == (
            gate,
            tree,
        ):
            return event.verdict
    return None
