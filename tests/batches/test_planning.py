"""The plan of a night: its order, who gets what, and what cannot be begun and why."""

from __future__ import annotations

from typing import Any

from orchestrator.batches.nights import Expected
from orchestrator.batches.order import Waiting, ordered
from orchestrator.batches.planning import Considered, NightPlan, night_plan
from tests.builders import an_issue

EXPECTED = Expected(1.0, 0.5, 2.0, 10.0, 5.0, 20.0)


def one(key: str, agent: str = "web", **changes: Any) -> Considered:
    """Build an issue of which enough is known."""
    changes = {"title": "A wish", "body": ""} | changes
    return Considered(Waiting(an_issue(key=key, **changes), "r", agent), agent, "label", EXPECTED)


def plan(*known: Considered, outside: dict[str, str] | None = None, **how: Any) -> NightPlan:
    """Build a plan."""
    return night_plan(
        (),
        ordered([each.waiting for each in known]),
        {each.waiting.id: each for each in known},
        open_outside={("r", key): blocker for key, blocker in (outside or {}).items()},
        not_planned=(),
        parallel=2,
        ceiling_usd=how.get("ceiling"),
        minutes_left=None,
    )


def test_what_cannot_be_begun_comes_last_and_says_why() -> None:
    """Circles, blockers elsewhere, and issues for nobody are in the plan, and told."""
    found = plan(
        one("1", blocked_by=("2",)),
        one("2", blocked_by=("1",)),
        one("3", blocked_by=("2",)),
        one("4", blocked_by=("99",)),
        one("5", blocked_by=("4",)),
        one("6", agent=""),
        one("7"),
        one("8", blocked_by=("7",)),
        outside={"4": "99"},
    )
    assert [each.issue for each in found.plan][:2] == ["7", "8"]
    assert found.plan[1].blocked_by == ("7",)
    assert {key: why for (_, key), why in found.hindered.items()} == {
        "1": "a circle: 1 waits for 2 waits for 1",
        "2": "a circle: 1 waits for 2 waits for 1",
        "3": "it waits for 2, which is in a circle or waits for one",
        "4": "it waits for 99, which is not done",
        "5": "it waits for 4, which cannot be begun",
        "6": "no agent fits it: name one with --agent, or set routing.default",
    }
    assert set(found.forecast.left_out.values()) == {"blocked"}
    assert found.forecast.expected.usd == 2.0
    assert found.forecast.fits


def test_a_plan_knows_agents_priorities_and_files() -> None:
    """What a person wants to know of an issue is in its line of the plan."""
    found = plan(one("1", priority="P1", body="in shop/cart.py"), one("2", body="shop/cart.py"))
    first, second = found.plan
    assert (first.issue, first.agent, first.reason, first.priority) == ("1", "web", "label", "P1")
    assert first.apart_from == ("2",)
    assert second.apart_from == ("1",)
    assert found.forecast.expected.minutes == 20


def test_the_ceiling_is_asked_of_what_can_be_begun() -> None:
    """What cannot be begun costs nothing, and does not keep the rest from fitting."""
    found = plan(one("1"), one("2", agent=""), one("3"), ceiling=2.0)
    assert found.forecast.left_out == {("r", "2"): "blocked"}
    assert found.forecast.wanted_usd == 2.0
