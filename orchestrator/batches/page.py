"""A night's report as one page of HTML: nothing outside it, nothing that runs in it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from datetime import datetime, tzinfo
from pathlib import Path

from orchestrator.amounts import counted
from orchestrator.batches.charts import (
    MARKS,
    dollars_chart,
    fates_bar,
    fates_of,
    timeline,
)
from orchestrator.batches.markup import Html, link, tag, theirs, together
from orchestrator.batches.report import IssueReport, NightReport, ShownFate
from orchestrator.batches.words import dollars, seconds, usd_range
from orchestrator.prompts import cleaned

STYLE = Path(__file__).with_name("page.css")
COLUMNS = (
    ("Issue", ""), ("Outcome", ""), ("Agent", ""), ("Dollars", "num"), ("Turns", "num"),
    ("Cache", "num"), ("Time", "num"), ("Change", "num"), ("Where", ""),
)  # fmt: skip
SUMMARY = 6000
"""Characters of an agent's own words that are shown."""


def page(night: NightReport, *, zone: tzinfo | None = None) -> str:
    """Return the report as HTML.

    It needs no script and no file beside it, and its policy lets neither run nor load; whatever
    issues and models wrote is text in it.

    Args:
        night: what is told.
        zone: whose clock is shown; None is this machine's.
    """
    style = STYLE.read_text(encoding="utf-8")
    name = f"Night {night.night}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy(style)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{name}: {night.counted}"),
        tag("style", Html(style)),  # our own file; it holds no end of an element
    )
    body = tag(
        "body",
        tag("a", "Skip to the issues", class_="skip", href="#issues"),
        _header(night, name, zone),
        tag(
            "main",
            _section("summary", "In short", _cards(night), fates_bar(fates_of(night.issues))),
            _for_people(night),
            _section("issues", "Issues", _table(night)),
            _section("dollars", "Dollars by issue", DOLLARS_NOTE, dollars_chart(night.issues)),
            _section("time", "When", timeline(night, zone)),
            _section("details", "In full", [_details(one, at) for at, one in _numbered(night)]),
        ),
        tag("footer", tag("p", "Written by orchestrate batch report, ", moment(night.now, zone))),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en').markup}\n"


DOLLARS_NOTE = tag(
    "p",
    "The mark is what was expected, the thin line its range.",
    class_="soft",
)


def policy(style: str) -> str:
    """Return the page's policy: its own style sheet, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def moment(at: float, zone: tzinfo | None) -> str:
    """Return date and time, with the zone."""
    local = datetime.fromtimestamp(at, zone).astimezone(zone)
    return local.strftime("%Y-%m-%d %H:%M %Z")


def _section(ident: str, title: str, *content: Html | str | Sequence[Html]) -> Html:
    heading = tag("h2", title, id=f"{ident}-title")
    return tag("section", heading, *content, id=ident, aria_labelledby=f"{ident}-title")


def _numbered(night: NightReport) -> list[tuple[int, IssueReport]]:
    return list(enumerate(night.issues, 1))


def _header(night: NightReport, name: str, zone: tzinfo | None) -> Html:
    ended = moment(night.ended, zone) if night.ended is not None else "not ended yet"
    standing = {
        "running": "It is being worked on.",
        "cut_off": f"It was cut off. Go on with: orchestrate batch resume {night.night}",
        "complete": "Complete.",
        "unfinished": f"Not finished. Go on with: orchestrate batch resume {night.night}",
    }[night.standing]
    reason = {"ceiling": " The ceiling ended it.", "until": " Its time was over.",
              "stopped": " Somebody stopped it."}.get(night.stopped_by, "")  # fmt: skip
    return tag(
        "header",
        tag("h1", name),
        tag("p", f"{moment(night.began, zone)} to {ended}. {standing}{reason}"),
        [tag("p", tag("strong", note)) for note in night.notes],
        tag("p", theirs(f"{night.wanted}; in {', '.join(night.repos)}", limit=600), class_="soft"),
    )


def _cards(night: NightReport) -> Html:
    totals = night.totals
    done = sum(one.fate == "done" for one in night.issues)
    ceiling = f"of {dollars(night.ceiling_usd)}" if night.ceiling_usd is not None else "no ceiling"
    lane = {"now": "normal price", "batches": "half-price batches", "auto": "batches while there "
            "is time"}[night.lane]  # fmt: skip
    cards = [
        ("Done", f"{done} of {totals.issues}", night.counted),
        ("Dollars", dollars(totals.usd), ceiling),
        ("Forecast", dollars(night.forecast.usd), f"expected {usd_range(night.forecast)}"),
        ("Turns", f"{totals.turns:,}", f"lane: {lane}"),
        ("From the cache", share(totals.cache_share), "of all tokens that went in"),
        ("Time", seconds(totals.wall_s), f"{night.parallel} at once"),
    ]
    if night.turns.batches:
        turns = night.turns
        sent = (
            f"{counted(turns.requests, 'request')}, {turns.failed} failed, {turns.waiting} waiting"
        )
        cards.append(("Batches", str(turns.batches), sent))
    return tag(
        "dl",
        [
            tag("div", tag("dt", name), tag("dd", value, tag("small", more)))
            for name, value, more in cards
        ],
        class_="cards",
    )


def share(part: float | None) -> str:
    """Return a share as people read it."""
    return "\N{EN DASH}" if part is None else f"{part:.0%}"


def fate_mark(fate: ShownFate, words: str) -> Html:
    """Return a fate with its sign and colour."""
    mark = tag("span", MARKS[fate], class_=f"mark b-{fate}", aria_hidden="true")
    return tag("span", mark, " ", words, class_="fate")


def _for_people(night: NightReport) -> Html:
    """Return what is left for a person to do."""
    rows = [
        tag(
            "li",
            fate_mark(one.fate, one.outcome), " ", _anchor(one, at), " ",
            theirs(one.title, limit=160), tag("br"), theirs(one.why, limit=600),
            [tag("br"), "Next: ", theirs(one.hint, limit=400)] if one.hint else "",
        )
        for at, one in _numbered(night)
        if one.fate != "done"
    ]  # fmt: skip
    if not rows:
        return Html("")
    return _section("next", f"Not done: {len(rows)}", tag("ul", rows, class_="next"))


def _anchor(one: IssueReport, at: int) -> Html:
    return tag("a", theirs(one.issue, limit=80), href=f"#issue-{at}")


def _table(night: NightReport) -> Html:
    head = [tag("th", name, scope="col", class_=kind or None) for name, kind in COLUMNS]
    rows = [_row(one, at) for at, one in _numbered(night)]
    return tag(
        "div",
        tag(
            "table",
            tag("caption", "Each issue in the order of the plan; dollars with what was expected."),
            tag("thead", tag("tr", head)),
            tag("tbody", rows),
        ),
        class_="scroll", tabindex="0", role="region", aria_label="Table of issues",
    )  # fmt: skip


def _row(one: IssueReport, at: int) -> Html:
    diff = one.diff
    change = counted(diff.files, "file") if diff.files else "\N{EN DASH}"
    lines = tag("small", f"+{diff.added} \N{MINUS SIGN}{diff.removed}") if diff.files else ""
    return tag(
        "tr",
        tag(
            "th", _anchor(one, at), tag("span", theirs(one.title, limit=300), class_="title"),
            scope="row",
        ),
        tag(
            "td", fate_mark(one.fate, one.outcome), tag("small", theirs(one.why, limit=160)),
            class_="what",
        ),
        tag(
            "td", theirs(one.agent, limit=60), tag("small", theirs(one.reason, limit=80)),
            class_="who",
        ),
        tag("td", dollars(one.usd), tag("small", dollars(one.expected.usd)), class_="num"),
        tag("td", str(one.turns), class_="num"),
        tag("td", share(one.cache_share), class_="num"),
        tag("td", seconds(one.wall_s) if one.bars else "\N{EN DASH}", class_="num"),
        tag("td", change, lines, class_="num"),
        tag("td", _where(one), class_="where"),
    )  # fmt: skip


def _where(one: IssueReport) -> Html:
    parts: list[Html | str] = []
    if one.pull_request:
        parts += [link(_short(one.pull_request), one.pull_request)]
    if one.branch:
        parts += [*([tag("br")] if parts else []), tag("code", theirs(one.branch, limit=120))]
    return together(parts) if parts else Html("\N{EN DASH}")


def _short(address: str) -> str:
    """Return what is shown of a pull request's address."""
    found = re.search(r"/(?:pull|merge_requests)/(\d+)/?$", address)
    return f"pull request {found[1]}" if found else address


def _details(one: IssueReport, at: int) -> Html:
    took = f"{dollars(one.usd)}, {counted(one.turns, 'turn')}, {seconds(one.wall_s)}"
    if one.cache_share is not None:
        took += f", {share(one.cache_share)} of its prompts from the cache"
    facts: list[tuple[str, Html | str]] = [
        ("Issue", link(one.issue, one.url) if one.url else theirs(one.issue)),
        ("Why", theirs(one.why, limit=1200)),
        ("Next", theirs(one.hint, limit=600)),
        ("Agent", theirs(f"{one.agent} ({one.reason})" if one.reason else one.agent)),
        ("Model", theirs(one.model)),
        ("Run", theirs(one.run)),
        ("Expected", usd_range(one.expected)),
        ("Took", took),
        ("Branch", theirs(one.branch)),
        ("Commit", theirs(one.commit)),
        ("Pushed to", theirs(one.pushed)),
        ("Pull request", link(one.pull_request, one.pull_request)),
    ]  # fmt: skip
    listed = [
        together(tag("dt", name), tag("dd", value))
        for name, value in facts
        if value not in {"", theirs("")}
    ]
    lists = [
        ("Earlier tries", one.tries), ("Gates", tuple(gate.said for gate in one.gates)),
        ("Review", one.reviews), ("Evidence", one.evidence), ("Notes", one.notes),
    ]  # fmt: skip
    return tag(
        "details",
        tag(
            "summary", fate_mark(one.fate, one.outcome), " ", tag("strong", theirs(one.issue)), " ",
            theirs(one.title, limit=600),
        ),
        tag("dl", listed, id=f"issue-{at}"),
        [together(tag("h3", name), _list(lines)) for name, lines in lists if lines],
        [
            together(tag("h3", "Output of ", theirs(gate.gate)), tag("pre", cleaned(gate.details)))
            for gate in one.gates
            if gate.details
        ],
        [tag("h3", "What the agent says"), tag("pre", tag("bdi", cleaned(one.summary)[:SUMMARY]))]
        if one.summary
        else "",
    )  # fmt: skip


def _list(lines: Sequence[str]) -> Html:
    return tag("ul", [tag("li", theirs(line, limit=1000)) for line in lines])
