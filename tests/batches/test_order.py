"""The order of a night: blockers, urgency, turns of repositories and agents, files."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.batches.order import Waiting, key_order, ordered, rank_of
from tests.builders import an_issue


def one(key: str, repo: str = "", agent: str = "", age: int = 0, **changes: Any) -> Waiting:
    """Build an issue that waits."""
    changes = {"title": "A wish", "body": ""} | changes
    return Waiting(an_issue(key=key, **changes), repo, agent, age)


def keys(*waiting: Waiting, **how: Any) -> list[str]:
    """Return the keys in the order they are begun in."""
    return [each.issue.key for each in ordered(waiting, **how).turns]


def test_urgent_ones_first_then_old_ones_then_by_number() -> None:
    """Priority decides, then age, then the key, by its value."""
    found = keys(
        one("10"), one("9"), one("8", priority="low"), one("7", priority="P0"),
        one("6", age=3), one("5", age=2), one("12", priority="urgent"),
    )  # fmt: skip
    assert found == ["7", "12", "9", "10", "5", "6", "8"]


def test_blockers_come_first_and_are_as_urgent_as_what_waits_for_them() -> None:
    """What an urgent issue waits for is done before other urgent-free work."""
    found = keys(
        one("1", priority="high"),
        one("2", priority="P0", blocked_by=("3",)),
        one("3", priority="low", blocked_by=("#4",)),
        one("4", priority="lowest"),
    )
    assert found == ["4", "3", "2", "1"]


def test_circles_are_told_and_nobody_waits_for_ever() -> None:
    """Issues in a circle, and those that wait for one, are told and not begun."""
    order = ordered([
        one("1", blocked_by=("2",)), one("2", blocked_by=("3",)), one("3", blocked_by=("1",)),
        one("4", blocked_by=("3",)), one("5", blocked_by=("4",)), one("6"),
        one("7", blocked_by=("7",)),
    ])  # fmt: skip
    assert [each.issue.key for each in order.turns] == ["6"]
    assert order.circles == ((("", "1"), ("", "2"), ("", "3")), (("", "7"),))
    assert order.stuck == {("", "4"): ("", "3"), ("", "5"): ("", "4")}


def test_blockers_that_are_not_in_the_night_are_named() -> None:
    """What an issue waits for elsewhere is told, and does not keep it from its place."""
    order = ordered([one("1", blocked_by=("99", "2")), one("2")])
    assert [each.issue.key for each in order.turns] == ["2", "1"]
    assert order.outside == {("", "1"): ("99",)}
    assert order.blockers == {("", "1"): ("2",)}


def test_repositories_and_agents_take_turns() -> None:
    """No repository waits until another one is through, and no agent in it either."""
    waiting = [one(str(number), "a", "web") for number in range(1, 5)]
    waiting += [one(str(number), "a", "db") for number in range(5, 7)]
    waiting += [one(str(number), "b", "web") for number in range(1, 3)]
    found = [(each.repo, each.agent) for each in ordered(waiting).turns]
    assert found[:4] == [("a", "web"), ("b", "web"), ("a", "db"), ("b", "web")]
    assert found[4:] == [("a", "web"), ("a", "db"), ("a", "web"), ("a", "web")]


def test_urgency_counts_more_than_turns() -> None:
    """Turns are taken among issues of one urgency only."""
    found = ordered([one("1", "a", priority="high"), one("2", "a", priority="high"), one("3", "b")])
    assert [each.issue.key for each in found.turns] == ["1", "2", "3"]


def test_issues_that_name_the_same_files_are_kept_apart() -> None:
    """Same repository and same file: one after the other, unless told otherwise."""
    waiting = [
        one("1", "a", body="Mend `shop/pricing.py:12`."),
        one("2", "a", title="pricing.py rounds down"),
        one("3", "a", body="see https://github.com/acme/shop/blob/main/shop/cart.py#L3"),
        one("4", "b", body="shop/pricing.py"),
        one("5", "a", body="other/pricing.py and README.md"),
        one("6", "a", body="README.md"),
    ]
    order = ordered(waiting)
    assert order.apart == {
        ("a", "1"): {"2": "shop/pricing.py"},
        ("a", "2"): {"1": "pricing.py", "5": "pricing.py"},
        ("a", "5"): {"2": "other/pricing.py"},
    }
    assert ordered(waiting, side_by_side=True).apart == {}


@pytest.mark.parametrize(
    ("priority", "rank"),
    [
        ("P0", 0), ("p3", 3), ("0", 0), ("1", 1), ("prio: 2", 2), ("Priority-4", 4), ("17", 9),
        ("Urgent", 0), ("Highest", 0), ("High", 1), ("", 2), ("Medium", 2), ("Low", 3),
        ("Lowest", 4), ("high (customer)", 1), ("P" + "9" * 50, 2), ("what ever", 2),
    ],
)  # fmt: skip
def test_priorities_of_all_trackers(priority: str, rank: int) -> None:
    """Words and numbers of every tracker have a rank; what nobody knows is usual."""
    assert rank_of(priority) == rank


def test_keys_sort_by_their_numbers() -> None:
    """Numbers in keys count by their value."""
    found = sorted(["SHOP-10", "SHOP-9", "10", "9", "api-1"], key=key_order)
    assert found == ["9", "10", "api-1", "SHOP-9", "SHOP-10"]


@given(st.integers(0, 10_000))
def test_no_graph_of_blockers_loses_or_hangs_an_issue(seed: int) -> None:
    """Every issue is begun after its blockers, or told to be in a circle or behind one."""
    dice = random.Random(seed)
    count = dice.randint(1, 14)
    waiting = [
        one(
            str(number),
            dice.choice("ab"),
            dice.choice("xy"),
            blocked_by=tuple(str(dice.randint(1, count)) for _ in range(dice.choice([0, 0, 1, 2]))),
            priority=dice.choice(["", "P0", "P3"]),
        )
        for number in range(1, count + 1)
    ]
    order = ordered(waiting)
    circling = {each for circle in order.circles for each in circle}
    begun = [each.id for each in order.turns]
    assert sorted([*begun, *circling, *order.stuck]) == sorted(each.id for each in waiting)
    assert len(begun) + len(circling) + len(order.stuck) == len(waiting)
    for at, each in enumerate(order.turns):
        assert {(each.repo, key) for key in order.blockers.get(each.id, ())} <= set(begun[:at])
    assert order == ordered(waiting)


def test_a_long_chain_and_a_great_circle_are_no_problem() -> None:
    """Thousands of issues in one chain or circle need no recursion."""
    chain = [one(str(number), blocked_by=(str(number + 1),)) for number in range(1, 2000)]
    assert keys(*chain, one("2000"))[:2] == ["2000", "1999"]
    (circle,) = ordered([*chain, one("2000", blocked_by=("1",))]).circles
    assert len(circle) == 2000
