"""A night's report as Markdown: what issues and models wrote is text in it, and does nothing."""

from __future__ import annotations

import re
from datetime import tzinfo

from orchestrator.amounts import counted
from orchestrator.batches.page import moment, share
from orchestrator.batches.report import IssueReport, NightReport
from orchestrator.batches.words import dollars, seconds, usd_range
from orchestrator.calm import calm
from orchestrator.prompts import cleaned

MARKS = re.compile(r"([\\`*_\[\]|~<>&$])")
"""What Markdown and its readers give a meaning to, wherever it stands."""
FIRST = re.compile(r"^([-+=#]|\d{1,9}(?=[.)]))")
"""What has one at the beginning of a line alone."""
LINKING = re.compile(r"(?i)://|\bwww\.")
"""What some readers make a link of."""
HEAD = ("Issue", "Outcome", "Agent", "Dollars", "Expected", "Turns", "Cache", "Time", "Change",
        "Where")  # fmt: skip
NUMBERS = frozenset({"Dollars", "Expected", "Turns", "Cache", "Time"})
FENCE = "`" * 3


def markdown(night: NightReport, *, zone: tzinfo | None = None) -> str:
    """Return the report as Markdown.

    It notifies nobody, closes and links no issue, and loads nothing, wherever it is pasted.

    Args:
        night: what is told.
        zone: whose clock is shown; None is this machine's.
    """
    lines = [f"# Night {said(night.night)}", "", *_summary(night, zone), "", "## Issues", ""]
    lines += [_row(*HEAD), _row(*("--:" if name in NUMBERS else "---" for name in HEAD))]
    lines += [_issue_row(one) for one in night.issues]
    lines += ["", "## In full", ""]
    for one in night.issues:
        lines += [*_in_full(one), ""]
    return "\n".join(lines).rstrip() + "\n"


def said(text: str, limit: int = 300) -> str:
    """Return text of anybody as one line of Markdown that means nothing but itself."""
    flat = " ".join(cleaned(text).split())
    short = flat if len(flat) <= limit else f"{flat[:limit]}\N{HORIZONTAL ELLIPSIS}"
    marked = MARKS.sub(_spelled, calm(short))
    marked = LINKING.sub(lambda found: _entities(found[0]), marked)
    return FIRST.sub(lambda found: _entities(found[0]), marked)


def _spelled(mark: re.Match[str]) -> str:
    """Return a mark so that it is only shown: HTML's own as entities, others after a backslash."""
    return _entities(mark[1]) if mark[1] in "<>&" else f"\\{mark[1]}"


def _entities(text: str) -> str:
    """Return text in which every character that is no letter is spelled by its number."""
    return "".join(one if one.isalpha() else f"&#{ord(one)};" for one in text)


def _summary(night: NightReport, zone: tzinfo | None) -> list[str]:
    totals = night.totals
    ended = moment(night.ended, zone) if night.ended is not None else "not ended yet"
    ceiling = f" of {dollars(night.ceiling_usd)}" if night.ceiling_usd is not None else ""
    rows = [
        f"**{said(night.counted)}**; {said(night.standing.replace('_', ' '))}",
        f"{moment(night.began, zone)} to {ended}, {seconds(totals.wall_s)}",
        f"{dollars(totals.usd)}{ceiling}; expected {usd_range(night.forecast)}",
        f"{totals.turns} turns, {share(totals.cache_share)} of all prompts from the cache",
        f"lane {night.lane}, {night.parallel} at once",
        said(f"{night.wanted}; in {', '.join(night.repos)}", 600),
    ]
    if night.turns.batches:
        turns = night.turns
        rows.append(f"{turns.batches} batches of {turns.requests} requests, {turns.failed} failed")
    return [f"- {one}" for one in [*rows, *map(said, night.notes)]]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _issue_row(one: IssueReport) -> str:
    diff = one.diff
    return _row(
        f"{said(one.issue, 80)} {said(one.title, 100)}",
        said(one.outcome),
        said(one.agent, 60),
        dollars(one.usd),
        dollars(one.expected.usd),
        str(one.turns),
        share(one.cache_share),
        seconds(one.wall_s) if one.bars else "",
        str(diff),
        _where(one),
    )


def _where(one: IssueReport) -> str:
    return _address(one.pull_request) or said(one.branch, 120)


def _address(url: str) -> str:
    """Return an address of the web as a link; of any other kind, as text."""
    if re.fullmatch(r"https?://[\w.:/?=%&~@#+,;-]+", url):
        return f"<{url}>"
    return said(url)


def _in_full(one: IssueReport) -> list[str]:
    title = f"### {said(one.issue, 80)} {said(one.title)}"
    took = f"{dollars(one.usd)}, {counted(one.turns, 'turn')}, {seconds(one.wall_s)}"
    facts = [
        ("Outcome", said(one.outcome)),
        ("Why", said(one.why, 1200)),
        ("Next", said(one.hint, 600)),
        ("Agent", said(f"{one.agent} ({one.reason})" if one.reason else one.agent)),
        ("Run", said(one.run)),
        ("Expected", usd_range(one.expected)),
        ("Took", took),
        ("Branch", said(one.branch)),
        ("Commit", said(one.commit)),
        ("Pull request", _address(one.pull_request)),
    ]  # fmt: skip
    lines = [title, "", *(f"- {name}: {value}" for name, value in facts if value)]
    for name, listed in (
        ("Earlier tries", one.tries),
        ("Gates", tuple(gate.said for gate in one.gates)),
        ("Review", one.reviews),
        ("Evidence", one.evidence),
        ("Notes", one.notes),
    ):
        if listed:
            lines += ["", f"{name}:", "", *(f"- {said(each, 600)}" for each in listed)]
    for gate in one.gates:
        if gate.details:
            lines += ["", f"Output of {said(gate.gate, 80)}:", "", *_fenced(gate.details)]
    if one.summary:
        lines += ["", "What the agent says:", "", *_fenced(one.summary)]
    return lines


def _fenced(text: str) -> list[str]:
    """Return text between fences that it cannot end, as it does not hold one as long."""
    shown = calm(cleaned(text))[:4000]
    longest = max((len(one) for one in re.findall(r"`+", shown)), default=0)
    fence = "`" * max(longest + 1, len(FENCE))
    return [f"{fence}text", shown, fence]
