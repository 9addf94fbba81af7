"""What became of a night, as data: the same for the page, the Markdown and the JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Literal

from orchestrator.batches.forecast import together
from orchestrator.batches.nights import (
    Expected,
    Fate,
    IssueBegun,
    IssueEnded,
    IssueId,
    IssuePassedOver,
    IssueTriedAgain,
    LaneName,
    Night,
    NightEvent,
    Planned,
)
from orchestrator.batches.views import IssueView, NightView
from orchestrator.batches.words import KINDS, counted, fate_words, why_words
from orchestrator.delivery import evidence_line, finding_line, gate_line, review_line
from orchestrator.records import DiffStat, Outcome, Usage, VerdictState
from orchestrator.values import frozen

FORM = 1
"""The form of the JSON; keys are added, never changed, while it is the same."""

Standing = Literal["running", "cut_off", "complete", "unfinished"]
"""Worked on; its process is gone without an end; nothing left for a resume; or something."""

ShownFate = Literal[
    "done", "not_done", "infrastructure", "parked", "passed_over", "vanished", "open"
]


@frozen
class Bar:
    """One try of an issue on the line of time; seconds since 1970.

    Attributes:
        ended: None while it goes on, or where a process was killed in it.
    """

    began: float
    ended: float | None
    fate: ShownFate


@frozen
class GateReport:
    """What one gate said in the end."""

    gate: str
    state: VerdictState
    said: str
    details: str = ""


@frozen
class Totals:
    """What all issues of a night took together.

    Attributes:
        wall_s: from its beginning to its end, or until now.
    """

    usd: float
    turns: int
    usage: Usage
    wall_s: float
    issues: int

    @property
    def cache_share(self) -> float | None:
        """Return how much of what went in was read from the cache."""
        return cache_share(self.usage)


@frozen
class IssueReport:
    """What became of one issue.

    Attributes:
        fate: ``open`` where it has none yet.
        outcome: the fate in words.
        why: why it ended so, as far as there is more to say.
        hint: what a person can do next.
        tries: what became of earlier tries, oldest first.
        scripted: its replies were played from a recording.
        cache_share: of its prompts' tokens, how many were read from the cache; None without any.
        wall_s: seconds of work, all tries together.
    """

    repo: str
    issue: str
    title: str
    url: str
    agent: str
    reason: str
    priority: str
    fate: ShownFate
    outcome: str
    why: str
    hint: str
    run: str
    attempts: int
    tries: tuple[str, ...]
    usd: float
    expected: Expected
    turns: int
    usage: Usage
    cache_share: float | None
    wall_s: float
    bars: tuple[Bar, ...]
    branch: str
    commit: str
    pushed: str
    pull_request: str
    diff: DiffStat
    model: str
    summary: str
    gates: tuple[GateReport, ...]
    reviews: tuple[str, ...]
    evidence: tuple[str, ...]
    notes: tuple[str, ...]
    scripted: bool


@frozen
class TurnsReport:
    """The half-price lane of a night."""

    batches: int
    waiting: int
    requests: int
    succeeded: int
    failed: int


@frozen
class NightReport:
    """What became of a night.

    Attributes:
        form: of this data.
        hit_ceiling: whether the ceiling kept an issue from being begun or ended.
        counted: how many issues had each fate, in words.
        notes: what has to be known beside the numbers.
        forecast: what all of the plan was expected to take.
    """

    form: int
    night: str
    standing: Standing
    stopped_by: str
    hit_ceiling: bool
    repos: tuple[str, ...]
    began: float
    ended: float | None
    now: float
    ceiling_usd: float | None
    per_issue_usd: float | None
    parallel: int
    until: float | None
    lane: LaneName
    wanted: str
    counts: Mapping[str, int]
    counted: str
    totals: Totals
    forecast: Expected
    turns: TurnsReport
    issues: tuple[IssueReport, ...]
    notes: tuple[str, ...] = field(default=())


def reported(
    night: Night,
    events: Iterable[NightEvent],
    outcomes: Mapping[str, Outcome],
    *,
    now: float,
    is_worked_on: bool = True,
) -> NightReport:
    """Return what became of a night, or how it stands.

    Args:
        night: as it was begun.
        events: all of its events, in order.
        outcomes: the last outcome of each run of the night that has one, by the run's id.
        now: seconds since 1970.
        is_worked_on: whether a process that lives works on it, where no end is recorded.
    """
    events = list(events)
    view = NightView(night, events)
    bars = _bars(events)
    issues = tuple(
        _issue(one, outcomes, tuple(bars.get(key, ()))) for key, one in view.issues.items()
    )
    end = view.ended
    return NightReport(
        form=FORM,
        night=view.night.night,
        standing=_standing(view, is_worked_on=is_worked_on),
        stopped_by=view.stopping,
        hit_ceiling=view.hit_ceiling,
        repos=tuple(site.top for site in view.night.sites),
        began=view.began,
        ended=end,
        now=now,
        ceiling_usd=view.night.ceiling.usd,
        per_issue_usd=view.night.per_issue.usd,
        parallel=view.night.parallel,
        until=view.night.until,
        lane=view.night.lane,
        wanted=_wanted(view.night),
        counts=view.counts(),
        counted=counted(view.counts()),
        totals=_totals(issues, (now if end is None else end) - view.began),
        forecast=together(view.night.plan, view.night.parallel),
        turns=_turns(view),
        issues=issues,
        notes=_notes(issues),
    )


def _notes(issues: tuple[IssueReport, ...]) -> tuple[str, ...]:
    """Return what has to be known beside the numbers."""
    scripted = sum(one.scripted for one in issues)
    if not scripted:
        return ()
    what, whom = ("1 run was", "it") if scripted == 1 else (f"{scripted} runs were", "them")
    return (f"{what} played from a recording: no model was asked for {whom}",)


def cache_share(usage: Usage) -> float | None:
    """Return how much of what went in was read from the cache; None where nothing went in."""
    return usage.cache_read_tokens / usage.prompt_tokens if usage.prompt_tokens else None


def _standing(view: NightView, *, is_worked_on: bool) -> Standing:
    if view.ended is None:
        return "running" if is_worked_on else "cut_off"
    return "complete" if view.complete else "unfinished"


def _wanted(night: Night) -> str:
    wanted = night.wanted
    parts = [f"label {one}" for one in wanted.labels]
    if wanted.issues:
        shown = ", ".join(wanted.issues[:20])
        more = len(wanted.issues) - 20
        parts.append(f"issues {shown}{f' and {more} more' if more > 0 else ''}")
    if wanted.agent:
        parts.append(f"agent {wanted.agent}")
    return "; ".join(parts)


def _totals(issues: tuple[IssueReport, ...], wall_s: float) -> Totals:
    return Totals(
        usd=sum(one.usd for one in issues),
        turns=sum(one.turns for one in issues),
        usage=sum((one.usage for one in issues), Usage()),
        wall_s=max(wall_s, 0.0),
        issues=len(issues),
    )


def _turns(view: NightView) -> TurnsReport:
    sent = view.turns.values()
    return TurnsReport(
        batches=len(view.turns),
        waiting=view.waiting_turns(),
        requests=sum(len(one.items) for one in sent),
        succeeded=sum(one.succeeded for one in sent),
        failed=sum(one.failed for one in sent),
    )


def _bars(events: Iterable[NightEvent]) -> dict[IssueId, list[Bar]]:
    """Return each issue's tries on the line of time; one that a kill cut off has no end."""
    found: dict[IssueId, list[Bar]] = {}
    for event in events:
        match event:
            case IssueBegun(repo=repo, issue=issue, at=at):
                found.setdefault((repo, issue), []).append(Bar(at, None, "open"))
            case IssueEnded() | IssueTriedAgain():
                bars = found.get((event.repo, event.issue))
                if bars and bars[-1].ended is None:
                    bars[-1] = Bar(bars[-1].began, event.at, event.fate.kind)
            case IssuePassedOver():
                pass  # it took no time
            case _:
                pass  # not of one issue
    return found


def _issue(view: IssueView, outcomes: Mapping[str, Outcome], bars: tuple[Bar, ...]) -> IssueReport:
    planned, fate = view.planned, view.fate
    run = (fate.run if fate is not None and fate.run else "") or view.run
    outcome = outcomes.get(run)
    known = outcome if outcome is not None else Outcome("failed", run, planned.issue, "", "")
    return IssueReport(
        repo=planned.repo,
        issue=planned.issue,
        title=planned.title,
        url=planned.url,
        agent=known.agent or planned.agent,
        reason=planned.reason,
        priority=planned.priority,
        fate=fate.kind if fate is not None and view.standing == "ended" else "open",
        outcome=fate_words(fate if view.standing == "ended" else None, view.standing),
        why=_why(planned, fate, outcome),
        hint=(fate.hint if fate is not None else "") or known.hint,
        run=run,
        attempts=view.attempt,
        tries=tuple(f"{KINDS[one.kind]}: {why_words(one)}" for one in view.tries),
        usd=view.usd,
        expected=planned.expected,
        turns=known.turns or (fate.turns if fate is not None else 0),
        usage=known.usage,
        cache_share=cache_share(known.usage),
        wall_s=sum(one.ended - one.began for one in bars if one.ended is not None),
        bars=bars,
        branch=known.branch or (fate.branch if fate is not None else ""),
        commit=known.commit,
        pushed=known.pushed,
        pull_request=known.pull_request or (fate.pull_request if fate is not None else ""),
        diff=known.diff,
        model=known.model,
        summary=known.summary,
        gates=tuple(
            GateReport(one.gate, one.state, gate_line(one), _details(one.state, one.details))
            for one in known.verdicts
        ),
        reviews=tuple(
            line
            for one in known.reviews
            for line in (review_line(one), *map(finding_line, one.findings))
        ),
        evidence=tuple(evidence_line(one) for one in known.evidence),
        notes=known.notes,
        scripted=known.scripted,
    )


DETAILS = 4000
"""Characters of a failed gate's output that a report holds."""


def _details(state: VerdictState, details: str) -> str:
    return details[-DETAILS:] if state == "failed" else ""


def _why(planned: Planned, fate: Fate | None, outcome: Outcome | None) -> str:
    """Return why an issue ended so: what the night says, and what its run says beside it."""
    if fate is not None and fate.kind == "done":
        return ""  # what its agent says stands by itself
    told = why_words(fate)
    error = outcome.error if outcome is not None else ""
    if error and error not in told:
        told = f"{told}: {error}" if told else error
    if not told and fate is None and planned.blocked_by:
        return f"it comes after {', '.join(planned.blocked_by)}"
    return told
