"""Gates judge side by side: what they may do, and what becomes of it."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import pytest

from orchestrator.errors import (
    JournalError,
    LeaseLost,
    OrchestratorError,
    SandboxUnavailable,
    WorkspaceError,
)
from orchestrator.events import Event, GateJudged, decode, encode
from orchestrator.judging import judge_change
from orchestrator.ports import Change
from orchestrator.records import SECRETS_GATE, Verdict
from orchestrator.testing import MemoryJournal
from tests.builders import a_verdict

pytestmark = pytest.mark.asyncio
DEADLINE_S = 20


@dataclass
class Asked:
    """As much of a change as judging itself looks at."""

    commit: str = "b" * 40
    tree: str = "c" * 40
    base: str = "a" * 40
    issue_key: str = "7"
    branch: str = "feature/7-x"


@dataclass
class Says:
    """A gate that says what it was told to, or raises it."""

    name: str
    said: Any = None
    asked: int = 0

    async def judge(self, change: Change) -> Verdict:
        """Say it."""
        assert change.tree
        self.asked += 1
        if isinstance(self.said, BaseException):
            raise self.said
        return self.said if self.said is not None else a_verdict(gate=self.name)


async def judge(
    *gates: Any, events: Sequence[Event] = (), parallel: int = 2, **change: Any
) -> tuple[list[Verdict], list[Event]]:
    """Let gates judge; return their verdicts, and what was recorded."""
    journal = MemoryJournal(events)
    asked: Any = replace(Asked(), **change)
    with anyio.fail_after(DEADLINE_S):
        found = await judge_change(
            asked, gates, events, journal.append, number=1, parallel=parallel
        )
    return found, (await journal.events())[len(events) :]


@dataclass
class Meeting:
    """Gates that wait for each other: where they ran in turn, they would wait for ever."""

    most: int
    inside: int = 0
    peak: int = 0
    full: anyio.Event = field(default_factory=anyio.Event)

    def gate(self, name: str) -> Any:
        """Return a gate that ends once so many are inside."""
        meeting = self

        class Waits:
            """Waits for the others."""

            def __init__(self) -> None:
                self.name = name

            async def judge(self, change: Change) -> Verdict:
                """Wait."""
                assert change.tree
                meeting.inside += 1
                meeting.peak = max(meeting.peak, meeting.inside)
                if meeting.inside == meeting.most:
                    meeting.full.set()
                await meeting.full.wait()
                await anyio.lowlevel.checkpoint()
                meeting.inside -= 1
                return a_verdict(gate=name)

        return Waits()


async def test_gates_judge_side_by_side() -> None:
    """As many judge at once as is allowed, and no more."""
    meeting = Meeting(most=3)
    names = [f"gate-{number}" for number in range(7)]
    found, recorded = await judge(*map(meeting.gate, names), parallel=3)
    assert meeting.peak == 3
    assert [one.gate for one in found] == names
    assert len(recorded) == 7


async def test_the_slowest_is_returned_in_its_place() -> None:
    """Verdicts are recorded as they come, and returned in the order of the gates."""
    done = anyio.Event()

    class Slow:
        """Ends after the other one."""

        name = "slow"

        async def judge(self, change: Change) -> Verdict:
            """Wait for it."""
            assert change.tree
            await done.wait()
            return a_verdict(gate="slow")

    class Quick:
        """Ends first."""

        name = "quick"

        async def judge(self, change: Change) -> Verdict:
            """Let the other one go."""
            assert change.tree
            done.set()
            return a_verdict(gate="quick")

    found, recorded = await judge(Slow(), Quick())
    assert [one.gate for one in found] == ["slow", "quick"]
    kept = [one.verdict.gate for one in recorded if isinstance(one, GateJudged)]
    assert kept == ["quick", "slow"]


async def test_verdicts_that_come_together_are_recorded_together() -> None:
    """Ten gates that only read cost one commit, not ten; none is returned before it is recorded."""
    writes: list[int] = []

    async def emit(*events: Event) -> None:
        writes.append(len(events))

    gates = [Says(f"gate-{number}", a_verdict(gate="x")) for number in range(10)]
    asked: Any = Asked()
    await judge_change(asked, gates, [], emit, number=1, parallel=2)
    assert sum(writes) == 10
    assert len(writes) <= 2


async def test_a_verdict_is_recorded_while_another_gate_still_judges() -> None:
    """One that takes minutes keeps no other verdict waiting: a crash would lose it."""
    recorded = anyio.Event()

    class Slow:
        """Ends once the other verdict is recorded."""

        name = "slow"

        async def judge(self, change: Change) -> Verdict:
            """Wait for that."""
            assert change.tree
            await recorded.wait()
            return a_verdict(gate="slow")

    async def emit(*events: Event) -> None:
        assert events
        recorded.set()

    asked: Any = Asked()
    quick = Says("quick", a_verdict(gate="quick"))
    with anyio.fail_after(DEADLINE_S):
        found = await judge_change(asked, [Slow(), quick], [], emit, number=1, parallel=2)
    assert [one.gate for one in found] == ["slow", "quick"]


async def test_what_was_judged_before_a_fault_is_kept() -> None:
    """Where the walls fail under one gate, the verdicts of the others need not be found again."""
    written: list[str] = []

    async def emit(*events: Event) -> None:
        written.extend(one.verdict.gate for one in events if isinstance(one, GateJudged))

    asked: Any = Asked()
    broken = Says("broken", SandboxUnavailable("no walls"))
    with pytest.raises(SandboxUnavailable):
        await judge_change(
            asked, [Says("whole", a_verdict(gate="whole")), broken], [], emit, number=1, parallel=1
        )
    assert written == ["whole"]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (ValueError("no such thing"), "the gate broke: ValueError: no such thing"),
        (WorkspaceError("workspace.setup: `make` ended 2"), "workspace.setup: `make` ended 2"),
        (OSError(errno.EACCES, "Permission denied"), "Permission denied"),
        (AssertionError(), "the gate broke: AssertionError"),
        ("passed", "it returned no verdict but str"),
        (True, "it returned no verdict but bool"),
        (a_verdict(state="ok"), "cannot be kept: 'ok' is none of ('passed', 'failed'"),
        (a_verdict(state=["passed"]), "cannot be kept: ['passed'] is none of"),
        (a_verdict(reason=None), "cannot be kept: expected str, not NoneType"),
        (a_verdict(reason="\udc80"), "cannot be kept: str is not valid UTF-8"),
        (a_verdict(details=b"x"), "cannot be kept"),
        (a_verdict(argv=("make", 1)), "cannot be kept: expected str, not int"),
        (a_verdict(counts="3"), "cannot be kept"),
        (ValueError("\udc80"), "the gate broke: ValueError: ?"),
        (asyncio.CancelledError(), "the gate broke: it was cancelled"),
    ],
    ids=ascii,
)
async def test_a_gate_that_breaks_has_failed(said: object, reason: str) -> None:
    """Whatever a gate raises or returns instead of a verdict is a failure, with its reason."""
    found, recorded = await judge(Says("broken", said), Says("whole"))
    assert [one.state for one in found] == ["failed", "passed"]
    assert reason in found[0].reason
    assert found[0].gate == "broken" and found[0].tree == Asked().tree
    assert len(recorded) == 2
    assert all(decode(type(one).__name__, encode(one)) == one for one in recorded)


@pytest.mark.parametrize("error", [JournalError("disk"), LeaseLost("taken over")])
async def test_what_stops_a_run_is_no_verdict(error: OrchestratorError) -> None:
    """A journal that fails stops everything: no verdict is made of it."""
    with pytest.raises(type(error)):
        await judge(Says("one", error), Says("two"))


@pytest.mark.parametrize(
    "error",
    [SandboxUnavailable("no walls"), OSError(errno.ENOSPC, "No space left on device")],
)
async def test_the_machine_s_fault_says_nothing_of_the_work(error: Exception) -> None:
    """No walls or a full disk stop the run, which can go on later; no agent is blamed for it."""
    with pytest.raises(type(error)):
        await judge(Says("one", error), Says("two"))


async def test_a_full_disk_that_is_told_anew() -> None:
    """A full disk is found behind the error that tells of it."""

    def write() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    class Full:
        """Cannot make its checkout."""

        name = "full"

        async def judge(self, change: Change) -> Verdict:
            """Fail as a workspace does."""
            assert change.tree
            try:
                write()
            except OSError:
                raise WorkspaceError("the workspace cannot be made") from None
            return a_verdict()

    with pytest.raises(WorkspaceError, match="cannot be made"):
        await judge(Full())


async def test_cancellation_passes() -> None:
    """A run that is being stopped does not wait for its gates, and records nothing of them."""
    never = anyio.Event()

    class Hangs:
        """Never ends."""

        name = "hangs"

        async def judge(self, change: Change) -> Verdict:
            """Hang."""
            assert change.tree
            await never.wait()
            return a_verdict()

    journal = MemoryJournal()
    asked: Any = Asked()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:

            async def run() -> None:
                await judge_change(asked, [Hangs()], (), journal.append, number=1)

            tasks.start_soon(run)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert await journal.events() == []


async def test_a_gate_that_cancels_itself_ends_no_other() -> None:
    """What a gate cancelled of its own is its own affair; another one that waits goes on."""
    broke = anyio.Event()

    class Cancelled:
        """Waits for work of its own that was cancelled."""

        name = "cancelled"

        async def judge(self, change: Change) -> Verdict:
            """Wait for it."""
            assert change.tree
            work = asyncio.ensure_future(anyio.sleep_forever())
            work.cancel()
            broke.set()
            await work
            return a_verdict()

    class Later:
        """Judges after that."""

        name = "later"

        async def judge(self, change: Change) -> Verdict:
            """Judge."""
            assert change.tree
            await broke.wait()
            await anyio.wait_all_tasks_blocked()
            return a_verdict(gate="later")

    found, recorded = await judge(Later(), Cancelled())
    assert [one.state for one in found] == ["passed", "failed"]
    assert len(recorded) == 2


async def test_a_verdict_is_on_what_was_judged() -> None:
    """A gate cannot speak for another gate, another commit, or another tree."""
    lie = a_verdict(gate="tests", commit="f" * 40, tree="f" * 40)
    found, _ = await judge(Says("mine", lie))
    assert (found[0].gate, found[0].commit, found[0].tree) == ("mine", "b" * 40, "c" * 40)


KNOWN = GateJudged(1, a_verdict(gate="tests", reason="before"), "a" * 40)


@pytest.mark.parametrize(
    ("known", "change", "again"),
    [
        (KNOWN, {}, False),
        (KNOWN, {"commit": "d" * 40}, False),
        (KNOWN, {"tree": "d" * 40}, True),
        (KNOWN, {"base": "d" * 40}, True),
        (replace(KNOWN, base=""), {}, True),
        (replace(KNOWN, verdict=a_verdict(gate="other")), {}, True),
    ],
    ids=["the same", "commit", "tree", "base", "an older journal", "gate"],
)
async def test_when_a_verdict_stands(
    known: GateJudged, change: dict[str, Any], again: bool
) -> None:
    """A journaled verdict is used for the same gate, tree and base, and for nothing else."""
    gate = Says("tests")
    found, recorded = await judge(gate, events=[known], **change)
    assert gate.asked == (1 if again else 0)
    assert len(recorded) == gate.asked
    assert (found[0].reason == "before") is not again


async def test_not_executed_stays_so() -> None:
    """What was not executed has not passed."""
    found, _ = await judge(Says("one", a_verdict(state="not_executed", reason="no runner")))
    assert found[0].state == "not_executed"


async def test_secrets_are_looked_for_in_every_commit_anew() -> None:
    """The way to a tree can hold a secret that the tree has not: that gate's verdict is by commit."""
    secrets, other = Says(SECRETS_GATE), Says("other")
    _, events = await judge(secrets, other)
    again, more = await judge(secrets, other, events=events, commit="d" * 40)
    assert (secrets.asked, other.asked) == (2, 1)
    assert [one.commit for one in again] == ["d" * 40, "b" * 40]
    await judge(secrets, other, events=[*events, *more], commit="d" * 40)
    assert (secrets.asked, other.asked) == (2, 1)
