"""Charts of a night as inline SVG: dollars by issue, and the line of time."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from datetime import datetime, tzinfo

from orchestrator.batches.markup import Html, tag, theirs, together
from orchestrator.batches.nights import FateKind
from orchestrator.batches.report import Bar, IssueReport, NightReport, ShownFate
from orchestrator.batches.words import KINDS, dollars, seconds

MARKS: dict[ShownFate, str] = {
    "done": "\N{CHECK MARK}",
    "not_done": "\N{MULTIPLICATION SIGN}",
    "infrastructure": "!",
    "parked": "\N{DOUBLE VERTICAL LINE}",
    "passed_over": "\N{EM DASH}",
    "vanished": "?",
    "open": "\N{HORIZONTAL ELLIPSIS}",
}
"""A sign beside each colour, for those who cannot tell colours apart."""
ROW, GAP = 20, 4
AXIS = 22
TICKS = (60, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
"""Distances, in seconds, that marks on the line of time may have."""
SHOWN = 40
"""Issues that the chart of dollars has a line for."""


def word_of(fate: ShownFate) -> str:
    """Return a fate's word."""
    return "open" if fate == "open" else KINDS[fate]


def fates_bar(counts: Sequence[tuple[ShownFate, int]]) -> Html:
    """Return one bar that is divided among fates, with its words below."""
    total = sum(count for _, count in counts) or 1
    at, parts = 0.0, []
    for fate, count in counts:
        width = 100 * count / total
        parts.append(
            tag("rect", x=f"{at:.3f}%", y=0, width=f"{width:.3f}%", height=14, class_=f"f-{fate}")
        )
        at += width
    words = ", ".join(f"{count} {word_of(fate)}" for fate, count in counts)
    image = tag(
        "svg", tag("title", words), parts,
        width="100%", height=14, role="img", aria_label=words, class_="split",
    )  # fmt: skip
    legend = [
        tag("li", tag("span", MARKS[fate], class_=f"mark b-{fate}", aria_hidden="true"),
            f" {count} {word_of(fate)}")
        for fate, count in counts
    ]  # fmt: skip
    return together(image, tag("ul", legend, class_="legend"))


def dollars_chart(issues: Sequence[IssueReport]) -> Html:
    """Return a line for each of the dearest issues: what it cost, and what was expected."""
    dear = sorted(issues, key=lambda one: -one.usd)[:SHOWN]
    most = max((max(one.usd, one.expected.usd_high) for one in dear), default=0.0) or 1.0
    rows = [tag("li", _dollar_row(one, most)) for one in dear]
    rest = len(issues) - len(dear)
    left = sum(one.usd for one in issues) - sum(one.usd for one in dear)
    more = tag("p", f"{rest} more issues cost {dollars(left)} together.") if rest > 0 else ""
    return together(tag("ol", rows, class_="bars"), more)


def _dollar_row(one: IssueReport, most: float) -> Html:
    def at(usd: float) -> str:
        return f"{100 * usd / most:.3f}%"

    low, high = one.expected.usd_low, one.expected.usd_high
    said = f"{dollars(one.usd)}, expected {dollars(one.expected.usd)}"
    bar = tag(
        "svg",
        tag("title", said),
        tag("rect", x=0, y=3, width=at(one.usd), height=10, class_=f"f-{one.fate}"),
        tag("rect", x=at(low), y=7, width=at(max(high - low, 0)), height=2, class_="range"),
        tag("rect", x=at(one.expected.usd), y=2, width=2, height=12, class_="expected"),
        width="100%", height=16, role="img", aria_label=said,
    )  # fmt: skip
    name = tag("span", theirs(one.issue, limit=40), " ", theirs(one.title, limit=80), class_="name")
    return together(name, bar, tag("span", dollars(one.usd), class_="amount"))


def timeline(night: NightReport, zone: tzinfo | None) -> Html:
    """Return when each issue was worked on: a row for each that was worked on at once."""
    ends = night.ended if night.ended is not None else night.now
    bars = sorted(
        ((bar, one) for one in night.issues for bar in one.bars), key=lambda pair: pair[0].began
    )
    if not bars:
        return tag("p", "No issue was begun.")
    first = min(night.began, bars[0][0].began)
    last = max(ends, *(bar.ended or ends for bar, _ in bars), first + 1)
    rows, pieces = _rows([(bar.began, bar.ended or last) for bar, _ in bars]), []
    height = (max(rows) + 1) * (ROW + GAP)
    for (bar, one), row in zip(bars, rows, strict=True):
        pieces.append(_time_bar(bar, one, row, first=first, last=last))
    said = (
        f"{len(night.issues)} issues from {clock(first, zone)} to {clock(last, zone)}, "
        f"at most {max(rows) + 1} at once; the table has the numbers"
    )
    return tag(
        "svg", tag("title", said), _axis(first, last, height, zone), pieces,
        width="100%", height=height + AXIS, role="img", aria_label=said, class_="timeline",
    )  # fmt: skip


def _time_bar(bar: Bar, one: IssueReport, row: int, *, first: float, last: float) -> Html:
    span = last - first
    end = last if bar.ended is None else bar.ended
    x, width = 100 * (bar.began - first) / span, max(100 * (end - bar.began) / span, 0.15)
    told = f"{one.issue}: {word_of(bar.fate)}, {seconds(end - bar.began)}"
    # An inner picture cuts off what does not fit into it.
    return tag(
        "svg",
        tag("title", told),
        tag("rect", x=0, y=0, width="100%", height=ROW, rx=3, class_=f"f-{bar.fate}"),
        tag("text", f"{MARKS[bar.fate]} {one.issue[:40]}", x=4, y=14, class_=f"t-{bar.fate}"),
        x=f"{x:.3f}%", y=row * (ROW + GAP), width=f"{width:.3f}%", height=ROW, overflow="hidden",
    )  # fmt: skip


def _rows(spans: Sequence[tuple[float, float]]) -> list[int]:
    """Return a row for each span, so that none covers another; spans come in order."""
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    rows, made = [], 0
    for began, ended in spans:
        while busy and busy[0][0] <= began:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if not free:
            heapq.heappush(free, made)
            made += 1
        row = heapq.heappop(free)
        heapq.heappush(busy, (ended, row))
        rows.append(row)
    return rows


def _axis(first: float, last: float, height: int, zone: tzinfo | None) -> list[Html]:
    distance = next((one for one in TICKS if (last - first) / one <= 6), TICKS[-1])
    offset = datetime.fromtimestamp(first, zone).astimezone().utcoffset()
    shift = offset.total_seconds() if zone is None and offset else 0.0
    at = ((first + shift) // distance + 1) * distance - shift
    pieces = []
    while at < last:
        x = 100 * (at - first) / (last - first)
        pieces.append(tag("line", x1=f"{x:.3f}%", x2=f"{x:.3f}%", y1=0, y2=height, class_="tick"))
        if x < 94:
            pieces.append(tag("text", clock(at, zone), x=f"{x:.3f}%", y=height + 15, class_="when"))
        at += distance
    return pieces


def clock(at: float, zone: tzinfo | None) -> str:
    """Return what the clock shows at a moment."""
    return datetime.fromtimestamp(at, zone).strftime("%H:%M")


def fates_of(issues: Sequence[IssueReport]) -> list[tuple[ShownFate, int]]:
    """Return how many issues had each fate, in the order of the words."""
    order: list[ShownFate] = [*_kinds(), "open"]
    counts = {fate: sum(one.fate == fate for one in issues) for fate in order}
    return [(fate, count) for fate, count in counts.items() if count]


def _kinds() -> list[FateKind]:
    return list(KINDS)
