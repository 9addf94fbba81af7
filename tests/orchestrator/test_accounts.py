"""Accounts in a tree: no level spends what it has not got, also where many reserve side by side."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts import RUN, TOGETHER, Account, Hold
from orchestrator.amounts import Reached
from orchestrator.limits import LEAST_OUTPUT, Ledger
from orchestrator.places import PlacedTools
from orchestrator.prices import with_cache_rates
from orchestrator.records import Limits, ModelRequest, Usage
from orchestrator_tools.contract import StateChange, ToolResult, ToolSpec, ToolState, text_result
from tests.builders import a_request

OPUS = with_cache_rates(4, 20)


def sized(size: int) -> ModelRequest:
    """Build a request of so many bytes."""
    return a_request(b"x" * (size - 1), head=b"")


def a_run(above: Account | Ledger | None, *, max_output: int = 128_000, **limits: float) -> Ledger:
    """Build a run's ledger below an account."""
    values = {name: int(one) if name != "usd" else one for name, one in limits.items()}
    return Ledger(Limits(**values), OPUS, max_output=max_output, above=above)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Step:
    """One run does one thing: it reserves, or its reply comes, or its attempt is lost."""

    run: int
    added: int
    input_share: float
    output_share: float
    lost: bool


STEPS = st.lists(
    st.builds(
        Step,
        run=st.integers(0, 4),
        added=st.integers(1, 300_000),
        input_share=st.floats(0, 1),
        output_share=st.floats(0, 1),
        lost=st.booleans(),
    ),
    max_size=60,
)
LIMIT = st.one_of(st.none(), st.floats(0.01, 20))
TOKENS = st.one_of(st.none(), st.integers(1, 3_000_000))


@given(steps=STEPS, top=LIMIT, own=LIMIT, top_tokens=TOKENS, own_tokens=TOKENS)
def test_no_level_is_overdrawn_while_many_reserve(
    steps: list[Step],
    top: float | None,
    own: float | None,
    top_tokens: int | None,
    own_tokens: int | None,
) -> None:
    """At no time is spent and reserved more than a limit, on any level, in dollars or tokens."""
    together = Account(Limits(usd=top, tokens=top_tokens), whose=TOGETHER)
    runs = [
        Ledger(Limits(usd=own, tokens=own_tokens), OPUS, max_output=128_000, above=together)
        for _ in range(4)
    ]
    runs.append(Ledger(Limits(usd=own), OPUS, max_output=64_000, above=runs[0]))  # a review
    sizes, asked = [0] * 5, [0] * 5
    together.sharing = 4
    for step in steps:
        run = runs[step.run]
        if not asked[step.run]:
            sizes[step.run] += step.added
            reserved = None if run.reached() else run.reserve(sized(sizes[step.run]))
            asked[step.run] = reserved.max_tokens if reserved else 0
        elif step.lost:
            run.lose(
                run.input_usd(sized(sizes[step.run])), run.input_tokens(sized(sizes[step.run]))
            )
            asked[step.run] = 0
        else:
            # A service that counts the input as it was estimated, or as less.
            new = int(run.fresh_tokens(sized(sizes[step.run])) * step.input_share)
            out = int(asked[step.run] * step.output_share)
            usage = Usage(cache_write_tokens=new, output_tokens=out)
            run.settle(sizes[step.run], usage, run.cost(usage))
            asked[step.run] = 0
        for account in (together, *(one.account for one in runs)):
            limits = account.limits
            if limits.usd is not None:
                assert account.spent_usd + account.held_usd <= limits.usd + 1e-6
            if limits.tokens is not None:
                assert account.spent_tokens + account.held_tokens <= limits.tokens
    below = sum(one.account.spent_usd for one in runs[:4])
    assert together.spent_usd == pytest.approx(below)


def test_what_is_reserved_counts_on_every_level_until_it_is_settled() -> None:
    """A hold of a review is the run's and the process's, and comes back as what it came to."""
    together = Account(Limits(usd=10.0, tokens=1000))
    run = Account(Limits(usd=5.0), above=together)
    review = Account(Limits(usd=1.0, turns=3), above=run, own_turns=True)
    hold = review.hold(0.75, 400)
    assert isinstance(hold, Hold)
    assert [one.left_usd() for one in (review, run, together)] == [0.25, 4.25, 9.25]
    assert [one.left_tokens() for one in (review, run, together)] == [600, 600, 600]
    assert review.hold(0.5, 0) is None
    assert run.hold(0.5, 700) is None
    hold.settle(0.5, 100, turns=1)
    hold.settle(9.0, 9000)
    assert [one.spent_usd for one in (review, run, together)] == [0.5, 0.5, 0.5]
    assert [one.turns for one in (review, run, together)] == [1, 0, 0]
    run.book(0.0, 0, turns=1)
    assert [one.turns for one in (review, run, together)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(usd=1.0), Reached("usd", TOGETHER, "the limit of $1 for all runs together")),
        (
            Limits(tokens=10),
            Reached("tokens", TOGETHER, "the limit of 10 tokens for all runs together"),
        ),
        (Limits(turns=1), Reached("turns", TOGETHER, "the limit of 1 turn for all runs together")),
        (
            Limits(wall_s=60),
            Reached("wall_s", TOGETHER, "the limit of 1 minute for all runs together"),
        ),
        (Limits(usd=2.0, tokens=20, turns=2, wall_s=61), None),
    ],
)
def test_a_limit_above_is_named_with_whose_it_is(limits: Limits, said: Reached | None) -> None:
    """A run that stops for what all runs have used up says so."""
    together = Account(limits, whose=TOGETHER, elapsed_s=lambda: 60.0)
    run = Account(Limits(), above=together)
    run.book(1.0, 10, turns=1)
    assert run.reached() == said


def test_many_runs_share_what_is_left() -> None:
    """Ten runs at work may each ask at once; the first does not reserve everything."""
    together = Account(Limits(usd=2.0))
    runs = [a_run(together) for _ in range(10)]
    with_all = [one.at_work() for one in runs]
    for one in with_all:
        one.__enter__()
    reserved = [one.reserve(sized(3000)) for one in runs]
    assert all(one is not None and one.max_tokens > 4096 for one in reserved)
    assert together.held_usd <= 2.0
    for one in with_all:
        one.__exit__(None, None, None)
    assert (together.held_usd, together.holds, together.sharing) == (0.0, 0, 0)


def test_who_waits_for_others_and_who_has_come_to_an_end() -> None:
    """Only a run that would be paid for once others have settled is worth waiting for."""
    together = Account(Limits(usd=0.2))
    first, second = a_run(together), a_run(together)
    poor = a_run(together, usd=0.001)
    assert first.reserve(sized(3000)) is not None
    for run, waits in ((second, True), (poor, False)):
        assert run.reserve(sized(3000)) is None
        assert run.is_held_up(sized(3000)) is waits
    first.settle(3000, Usage(output_tokens=10), 0.001)
    assert second.reserve(sized(3000)) is not None
    together.book(1.0, 0)
    assert second.reserve(sized(3000)) is None
    assert not second.is_held_up(sized(3000))


def test_tokens_cut_a_reply_and_then_refuse_it() -> None:
    """A limit of tokens bounds what a request may ask for, at a model with a price or without."""
    for price in (OPUS, None):
        run = Ledger(Limits(tokens=10_000), price, max_output=128_000)
        reserved = run.reserve(sized(3000))
        assert reserved is not None
        assert reserved.max_tokens == 10_000 - 1100
        run.settle(3000, Usage(input_tokens=1000, output_tokens=9000 - LEAST_OUTPUT), 0.0)
        assert run.reserve(sized(3000)) is None
        run.lose(0.0, LEAST_OUTPUT)
        assert run.reached() == Reached("tokens", RUN, "the limit of 10000 tokens")


@pytest.mark.asyncio
async def test_what_others_settle_wakes_who_waits() -> None:
    """A waiting run goes on as soon as another one's request is settled."""
    together = Account(Limits(usd=1.0))
    one, other = Account(Limits(), above=together), Account(Limits(), above=together)
    hold = one.hold(1.0, 0)
    assert hold is not None
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other.changed)
            await anyio.wait_all_tasks_blocked()
            hold.settle(0.1, 0)
    assert other.left_usd() == pytest.approx(0.9)


class SlowTools:
    """A command that runs until it is let go, and a read."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.go = anyio.Event()

    def specs(self) -> list[ToolSpec]:
        """Return one tool that starts programs and one that does not."""
        return [ToolSpec("Bash", "", {}, "any"), ToolSpec("Read", "", {}, "none")]

    async def call(self, tool: str, *_: object, **__: object) -> tuple[ToolResult, StateChange]:
        """Count what runs at once."""
        if tool == "Bash":
            self.running += 1
            self.most = max(self.most, self.running)
            await self.go.wait()
            self.running -= 1
        return text_result("done"), StateChange()


@pytest.mark.asyncio
async def test_commands_of_all_runs_have_so_many_places() -> None:
    """No more commands run at once than there are places; reads need none; a cancelled one waits no more."""
    together = Account(Limits(tools=2))
    told: list[object] = []
    slow = SlowTools()
    runs = [PlacedTools(slow, Account(Limits(), above=together), told.append) for _ in range(4)]
    state = ToolState(cwd="/")
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, anyio.create_task_group() as given_up:
            for run in runs[:3]:
                tasks.start_soon(run.call, "Bash", {}, state)
            given_up.start_soon(runs[3].call, "Bash", {}, state)
            await anyio.wait_all_tasks_blocked()
            assert (slow.running, len(told)) == (2, 2)
            await runs[3].call("Read", {}, state)
            given_up.cancel_scope.cancel()
            slow.go.set()
    assert (slow.most, slow.running) == (2, 0)
    assert not together.is_full()


def test_a_review_takes_no_second_share_of_what_all_runs_have() -> None:
    """A run at work with its review is one of those that share; what it lets go is free again."""
    together = Account(Limits(usd=2.0))
    run = a_run(together)
    review = a_run(run)
    with run.at_work(), review.at_work():
        assert (together.sharing, run.account.sharing) == (1, 1)
        assert review.reserve(sized(3000)) is not None
        assert together.holds == 1
        review.let_go()
        assert (together.holds, together.held_usd, together.spent_usd) == (0, 0.0, 0.0)
    assert (together.sharing, run.account.sharing) == (0, 0)
