"""Nights for tests: plans, events and outcomes with small defaults, and a hostile one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orchestrator.batches.nights import (
    Expected,
    Fate,
    FateKind,
    IssueBegun,
    IssueEnded,
    IssuePassedOver,
    IssueTriedAgain,
    Night,
    NightBegun,
    NightEnded,
    NightEvent,
    Planned,
    Site,
    TurnsGathered,
    TurnsReadBack,
    TurnsSent,
    Wanted,
)
from orchestrator.batches.report import NightReport, reported
from orchestrator.records import DiffStat, Finding, Limits, Outcome, Review, Usage
from orchestrator.stages import Evidence
from tests.builders import a_verdict, an_outcome

REPO = "/repo/.git"
BEGAN = 1_796_000_400.0
EXPECTED = Expected(1.0, 0.4, 2.5, 8.0, 3.0, 20.0, from_runs=12)
HOSTILE = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=1"><svg onload=alert(1)>',
    "</style></title><style>body{display:none}</style>",
    "\u202egnp.exe\u2066 \u200bzero\u2028line\u2029",
    "\x1b[31mred\x1b]0;title\x07 \x00 nul \udc80",
    "x" * 5000,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f \u65e5\u672c\u8a9e \u05e2\u05d1\u05e8\u05d9\u05ea",
    "| a | b |\n|---|---|\n# heading\n[x](javascript:alert(1)) `code` ![i](http://evil/x.png) @bob fixes #1",
    "{{7*7}} ${7*7} <%= 7*7 %> &amp; &lt;b&gt;",
)


def a_plan(count: int, **changes: Any) -> tuple[Planned, ...]:
    """Build a plan of some issues."""
    return tuple(
        replace(
            Planned(
                REPO,
                str(number),
                f"Issue number {number} asks for something",
                "backend-engineer",
                "description",
                EXPECTED,
                priority="P2",
            ),
            **changes,
        )
        for number in range(1, count + 1)
    )


def a_night(plan: tuple[Planned, ...], **changes: Any) -> Night:
    """Build a night."""
    night = Night(
        night="n-20261129-01",
        sites=(Site(REPO, "/home/ada/shop"),),
        wanted=Wanted(labels=("ready",)),
        plan=plan,
        ceiling=Limits(usd=40.0),
        per_issue=Limits(usd=3.0),
        parallel=4,
        until=BEGAN + 8 * 3600,
        lane="auto",
        began=BEGAN,
    )
    return replace(night, **changes)


FATES: tuple[tuple[FateKind, dict[str, Any]], ...] = (
    ("done", {"status": "done"}),
    ("done", {"status": "done"}),
    ("done", {"status": "done"}),
    (
        "not_done",
        {"status": "gate_failed", "said": "gate tests: 2 of 31 tests failed", "hint": "look at it"},
    ),
    ("not_done", {"status": "needs_human", "said": "a protected file was changed"}),
    ("infrastructure", {"status": "unavailable", "said": "529 overloaded, five times"}),
    ("parked", {"status": "limit_reached", "why": "limit", "said": "the limit of $3"}),
    ("passed_over", {"why": "blocked", "said": "issue 4 is not done"}),
    ("vanished", {"said": "there is no issue 9 any more"}),
    ("passed_over", {"why": "ceiling", "said": "$0.20 are left"}),
)


def lived(night: Night) -> tuple[list[NightEvent], dict[str, Outcome]]:
    """Play a night in which every kind of fate occurs; return its events and outcomes."""
    events: list[NightEvent] = [NightBegun(1, night, night.began)]
    outcomes = {}
    free = [night.began] * night.parallel
    for at, one in enumerate(night.plan):
        kind, more = FATES[at % len(FATES)]
        slot = min(range(len(free)), key=free.__getitem__)
        began, took = free[slot], 200.0 + 97 * (at * 7 % 11)
        run = f"{at + 1}-{at:08x}"
        fate = Fate(kind=kind, **more)
        if kind == "passed_over":
            events.append(IssuePassedOver(one.repo, one.issue, 1, fate, began))
            continue
        events.append(IssueBegun(one.repo, one.issue, 1, run, began))
        if kind == "vanished":
            events.append(IssueEnded(one.repo, one.issue, 1, fate, began + 2))
            continue
        fate = replace(fate, run=run, usd=0.3 + 0.37 * (at % 9), turns=9 + at % 20, wall_s=took)
        if kind == "infrastructure":
            again = IssueTriedAgain(one.repo, one.issue, 1, fate, 60.0, began + 50)
            events += [again, IssueBegun(one.repo, one.issue, 2, run, began + 110)]
        attempt = 2 if kind == "infrastructure" else 1
        free[slot] = began + took
        events.append(IssueEnded(one.repo, one.issue, attempt, fate, free[slot]))
        outcomes[run] = an_ending(one, fate)
    last = max(free)
    events += [
        TurnsGathered(1, ("a", "b", "c"), ("1", "2", "3"), night.began + 60),
        TurnsSent(1, "msgbatch_1", night.began + 61),
        TurnsReadBack(1, 2, 1, night.began + 900),
        NightEnded(1, complete=False, at=last + 5),
    ]
    return sorted(events, key=lambda one: one.at), outcomes


def an_ending(one: Planned, fate: Fate) -> Outcome:
    """Build the outcome of an issue's run."""
    passed = fate.status == "done"
    tests = a_verdict(tests=31, duration_s=4.2)
    if not passed:
        tests = replace(
            tests, state="failed", reason="2 of 31 failed", details="E   assert 3 == 4\n" * 30
        )
    finding = Finding("major", "shop/cart.py", 12, "the sum is off by one", "begin at 1")
    return an_outcome(
        status=fate.status or "failed",
        run=fate.run,
        issue=one.issue,
        agent=one.agent,
        branch=f"feature/{one.issue}-asks-for-something",
        pull_request=f"https://github.com/acme/shop/pull/{one.issue}" if passed else "",
        verdicts=(a_verdict(gate="secrets", reason="no secret in 29 added lines"), tests),
        reviews=(Review(1, "passed", "no finding", findings=(finding,), agent="reviewer"),),
        evidence=(Evidence("test", passed, required=True, what="31 tests executed"),),
        diff=DiffStat(4, 29, 2),
        usage=Usage(4_000, 9_000, 180_000, 11_000),
        turns=fate.turns,
        cost_usd=fate.usd,
        error="" if passed else fate.said,
        hint="" if passed else "orchestrate runs show it",
        summary=f"I mended issue {one.issue}.",
        notes=("nothing was tested on Windows",),
    )


def a_report(count: int = 10, **changes: Any) -> NightReport:
    """Build the report of a night in which every kind of fate occurs."""
    night = a_night(a_plan(count), **changes)
    events, outcomes = lived(night)
    return reported(night, events, outcomes, now=events[-1].at + 60)


def a_hostile_report() -> NightReport:
    """Build the report of a night whose issues and models wrote whatever could do harm."""
    plan = tuple(
        replace(
            one,
            issue=f"{one.issue}{evil[:60]}",
            title=evil,
            agent=evil,
            reason=evil,
            url=f"javascript:{evil}",
        )
        for one, evil in zip(a_plan(len(HOSTILE)), HOSTILE, strict=True)
    )
    night = a_night(plan, wanted=Wanted(labels=HOSTILE))
    events: list[NightEvent] = [NightBegun(1, night, BEGAN)]
    outcomes = {}
    for at, (one, evil) in enumerate(zip(plan, HOSTILE, strict=True)):
        fate = Fate("not_done", status="gate_failed", run=f"run-{at}", said=evil, hint=evil, usd=1)
        events += [
            IssueBegun(one.repo, one.issue, 1, fate.run, BEGAN + at),
            IssueEnded(one.repo, one.issue, 1, fate, BEGAN + at + 60),
        ]
        verdict = a_verdict(gate=evil, state="failed", reason=evil, details=evil)
        outcomes[fate.run] = replace(
            an_ending(one, fate),
            branch=evil,
            pull_request=f"javascript:{evil}",
            error=evil,
            summary=evil,
            notes=(evil,),
            verdicts=(verdict,),
            model=evil,
        )
    events.append(NightEnded(1, complete=True, at=BEGAN + 600))
    return reported(night, events, outcomes, now=BEGAN + 700)
