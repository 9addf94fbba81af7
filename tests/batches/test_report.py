"""The report of a night: its data, and the same as HTML and Markdown, whatever issues say."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC
from html.parser import HTMLParser

import orjson
import pytest
from markdown_it import MarkdownIt

from orchestrator.batches.markdown import markdown
from orchestrator.batches.markup import Html, link, tag
from orchestrator.batches.nights import Fate, IssueBegun, IssueEnded, NightBegun, NightEvent
from orchestrator.batches.page import page
from orchestrator.batches.report import reported
from orchestrator.records import Usage
from tests.batches.nights_of import (
    BEGAN,
    EXPECTED,
    HOSTILE,
    REPO,
    a_hostile_report,
    a_night,
    a_plan,
    a_report,
    lived,
)

LOADING = {"script", "img", "iframe", "object", "embed", "link", "audio", "video", "form", "base"}


class Elements(HTMLParser):
    """Collects elements, attributes and text."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_each_issue_is_told_as_what_it_is() -> None:
    """Outcome, reason, money and evidence of each issue are those of its night and its run."""
    report = a_report()
    fates = [(one.issue, one.fate) for one in report.issues]
    assert fates[:4] == [("1", "done"), ("2", "done"), ("3", "done"), ("4", "not_done")]
    broken = report.issues[3]
    assert broken.outcome == "not done: a gate failed"
    assert broken.why == "gate tests: 2 of 31 tests failed"
    assert [gate.state for gate in broken.gates] == ["passed", "failed"]
    assert "assert 3 == 4" in broken.gates[1].details
    assert broken.gates[0].details == ""
    assert report.issues[0].why == ""
    assert report.issues[0].summary == "I mended issue 1."
    assert report.issues[7].why == "issue 4 is not done"
    assert report.counted == (
        "3 done, 2 not done, 1 machine or service, 1 parked, 2 passed over, 1 vanished"
    )


def test_totals_are_sums_and_the_forecast_is_beside_them() -> None:
    """Dollars, turns and tokens add up; the cache's share is of all that went in."""
    report = a_report()
    assert report.totals.usd == pytest.approx(sum(one.usd for one in report.issues))
    assert report.totals.turns == sum(one.turns for one in report.issues)
    assert report.totals.cache_share == pytest.approx(180 / 195)
    assert report.forecast.usd == pytest.approx(10 * EXPECTED.usd)
    assert report.ended is not None
    assert report.totals.wall_s == report.ended - BEGAN
    assert report.turns.failed == 1
    assert a_report().issues[7].cache_share is None


def test_tries_are_told_one_by_one() -> None:
    """An issue that was tried again says why, and each try has its bar."""
    tried = a_report().issues[5]
    assert tried.attempts == 2
    assert tried.tries == ("machine or service: 529 overloaded, five times",)
    assert [bar.fate for bar in tried.bars] == ["infrastructure", "infrastructure"]


def test_a_night_that_goes_on_or_was_cut_off_can_be_told() -> None:
    """Without an end there are open issues, and time goes on until now."""
    night = a_night(a_plan(3))
    events: list[NightEvent] = [
        NightBegun(1, night, BEGAN),
        IssueBegun(REPO, "1", 1, "1-a", BEGAN + 10),
    ]
    report = reported(night, events, {}, now=BEGAN + 100)
    assert report.standing == "running"
    assert [one.fate for one in report.issues] == ["open"] * 3
    assert [one.outcome for one in report.issues] == ["being worked on", "not begun", "not begun"]
    assert report.totals.wall_s == 100
    assert "It is being worked on." in page(report, zone=UTC)
    cut_off = reported(night, events, {}, now=BEGAN + 100, is_worked_on=False)
    assert cut_off.standing == "cut_off"
    assert "It was cut off. Go on with: orchestrate batch resume" in page(cut_off, zone=UTC)
    assert "not ended yet" in markdown(report, zone=UTC)


def test_recordings_are_told_as_such() -> None:
    """A night whose replies were played says so in every form."""
    night = a_night(a_plan(2))
    events, outcomes = lived(night)
    outcomes = {run: replace(one, scripted=True) for run, one in outcomes.items()}
    report = reported(night, events, outcomes, now=BEGAN)
    for text in (page(report, zone=UTC), markdown(report, zone=UTC)):
        assert "2 runs were played from a recording: no model was asked for them" in text


def test_a_night_of_nothing_can_be_told() -> None:
    """A plan without issues makes a report too."""
    report = reported(a_night(()), [], {}, now=BEGAN)
    assert "No issue was begun." in page(report, zone=UTC)
    assert markdown(report, zone=UTC).startswith("# Night")


def test_the_data_is_json() -> None:
    """The data can be written as JSON, and says which form it has."""
    data = orjson.loads(orjson.dumps(a_report()))
    assert data["form"] == 1
    assert data["issues"][0]["gates"][1]["gate"] == "tests"
    assert data["issues"][0]["usage"]["cache_read_tokens"] == 180_000


def test_a_run_of_an_earlier_process_counts_once() -> None:
    """Money of a run that was parked and gone on with is what the night spent on it."""
    night = a_night(a_plan(1))
    first = Fate("parked", "stopped", "cancelled", run="1-a", usd=0.5)
    events: list[NightEvent] = [
        NightBegun(1, night, BEGAN),
        IssueBegun(REPO, "1", 1, "1-a", BEGAN),
        IssueEnded(REPO, "1", 1, first, BEGAN + 10),
        NightBegun(2, night, BEGAN + 50),
        IssueBegun(REPO, "1", 2, "1-a", BEGAN + 51),
        IssueEnded(REPO, "1", 2, Fate("done", status="done", run="1-a", usd=0.8), BEGAN + 90),
    ]
    (one,) = reported(night, events, {}, now=BEGAN + 100).issues
    assert one.usd == 0.8
    assert one.usage == Usage()
    assert [bar.fate for bar in one.bars] == ["parked", "done"]


# -- HTML ----------------------------------------------------------------------------------


def test_text_is_escaped_by_how_it_is_made() -> None:
    """Only markup of ours is markup; text and attributes are escaped."""
    evil = "<b a=\"1\" b='2'>&"
    assert tag("p", evil).markup == "<p>&lt;b a=&quot;1&quot; b=&#x27;2&#x27;&gt;&amp;</p>"
    assert tag("p", Html("<i>x</i>"), class_=evil).markup.startswith('<p class="&lt;b a=&quot;')
    assert tag("p", "a\x00b\u202ec\x1b[31m\udc80").markup == "<p>abc[31m</p>"


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", " https://x", "https://x\ny", "data:text/html,x", "//x", ""]
)
def test_only_addresses_of_the_web_are_links(address: str) -> None:
    """Anything else is shown as text."""
    assert "<a" not in link("text", address).markup
    assert '<a href="https://x/&quot;&lt;"' in link("text", 'https://x/"<').markup


def test_a_hostile_night_has_the_elements_of_a_peaceful_one() -> None:
    """Whatever titles, models and gates say, no element or attribute is theirs."""
    found = Elements(page(a_hostile_report(), zone=UTC))
    usual = Elements(page(a_report(), zone=UTC))
    assert {name for name, _ in found.elements} <= {name for name, _ in usual.elements} | {"pre"}
    assert not {name for name, _ in found.elements} & LOADING
    known = {attribute for _, given in usual.elements for attribute in given}
    assert {attribute for _, given in found.elements for attribute in given} <= known
    links = {given["href"] for name, given in found.elements if name == "a"}
    assert all(one and one.startswith(("#", "https://")) for one in links)
    text = "".join(found.text)
    assert HOSTILE[0] in text
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069\u200b]", text)


def test_the_page_stands_alone_and_says_what_may_run() -> None:
    """Nothing is loaded from anywhere, no script and no style of elements is there."""
    markup = page(a_report(), zone=UTC)
    found = Elements(markup)
    assert not {name for name, _ in found.elements} & LOADING
    assert all("style" not in given for _, given in found.elements)
    (policy,) = [
        given["content"]
        for name, given in found.elements
        if given.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "url(" not in markup
    assert "@import" not in markup
    assert dict(found.elements)["html"] == {"lang": "en"}


def test_ids_are_there_once_and_links_inside_lead_somewhere() -> None:
    """Every link inside the page has its place, and every place is one."""
    found = Elements(page(a_report(40), zone=UTC))
    ids = [given["id"] for _, given in found.elements if "id" in given]
    assert len(set(ids)) == len(ids)
    wanted = {str(given["href"])[1:] for name, given in found.elements if name == "a"
              and str(given["href"]).startswith("#")}  # fmt: skip
    assert wanted <= set(ids)
    labels = {given["aria-labelledby"] for _, given in found.elements if "aria-labelledby" in given}
    assert labels <= set(ids)


# -- Markdown ------------------------------------------------------------------------------


def test_markdown_tells_what_the_page_tells() -> None:
    """The table has a row for each issue, with the numbers of the data."""
    report = a_report()
    text = markdown(report, zone=UTC)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + len(report.issues)
    assert "| $1.41 | $1.00 | 12 | 92% | 20 min | 4 files, +29 -2 |" in rows[5]
    assert "<https://github.com/acme/shop/pull/1>" in rows[2]
    assert "assert 3 == 4" in text


def test_hostile_markdown_is_text() -> None:
    """A reader of Markdown that lets HTML through finds no link, image, heading or HTML of theirs."""
    report = a_hostile_report()
    tokens = MarkdownIt("gfm-like", {"html": True, "linkify": False}).parse(
        markdown(report, zone=UTC)
    )
    inner = [child for token in tokens for child in token.children or ()]
    kinds = {token.type for token in [*tokens, *inner]}
    assert not {"html_block", "html_inline", "image", "link_open", "code_inline"} & kinds
    headings = [token for token in tokens if token.type == "heading_open"]
    assert len(headings) == 3 + len(report.issues)
    rows = [token for token in tokens if token.type == "tr_open"]
    assert len(rows) == 1 + len(report.issues)


def test_markdown_calls_nobody() -> None:
    """Mentions and words that close issues do nothing, in code too."""
    report = a_report(1)
    one = replace(report.issues[0], title="@bob fixes #12", summary="closes #3, thanks @eve")
    text = markdown(replace(report, issues=(one,)), zone=UTC)
    assert not re.search(r"(?<![\w/])@\w|(?i:fix\w*|close\w*) \\?#\d", text)


def test_a_fence_cannot_be_ended_from_inside() -> None:
    """Output that holds fences stays in its own."""
    report = a_report(1)
    one = replace(report.issues[0], summary="```\n# out\n`````\n# further out")
    tokens = MarkdownIt().parse(markdown(replace(report, issues=(one,)), zone=UTC))
    assert [token.content for token in tokens if token.type == "fence"][-1].startswith("```\n# out")


def test_two_hundred_issues_are_no_problem() -> None:
    """A long night is told whole, in a page of bounded size."""
    night = a_night(a_plan(200))
    events, outcomes = lived(night)
    report = reported(night, events, outcomes, now=BEGAN)
    markup = page(report, zone=UTC)
    assert markup.count("<details") == 200
    assert len(markup) < 2_000_000
    assert "160 more issues cost" in markup
