"""The page of a night in a real browser: nothing runs, nothing loads, everybody can read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page

from orchestrator.batches.page import page
from orchestrator.batches.report import NightReport
from tests.batches.browser import a_browser
from tests.batches.nights_of import HOSTILE, a_hostile_report, a_report

pytestmark = pytest.mark.xdist_group("browser")

CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((one) => {
      const part = one / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || parent.closest('svg')) continue;
    const pair = [light(parse(getComputedStyle(parent).color)), light(behind(parent))];
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (ratio < 4.5) found.push([ratio, parent.outerHTML.slice(0, 120)]);
  }
  for (const text of document.querySelectorAll('svg svg text')) {
    const fill = (element) => light(parse(getComputedStyle(element).fill));
    const pair = [fill(text), fill(text.parentElement.querySelector('rect'))];
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (ratio < 4.5) found.push([ratio, text.outerHTML.slice(0, 120)]);
  }
  return found;
}"""

Opener = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests here."""
    with a_browser() as running:
        yield running


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Opener]:
    """Open a night's page; the list of what it asked for is kept beside it."""
    contexts = []

    def open_page(
        night: NightReport,
        *,
        scheme: Literal["light", "dark"] = "light",
        width: int = 1280,
        scripts: bool = True,
    ) -> Page:
        file = tmp_path / "night.html"
        file.write_text(page(night, zone=UTC), encoding="utf-8")
        context = browser.new_context(
            color_scheme=scheme,
            viewport={"width": width, "height": 900},
            java_script_enabled=scripts,
            offline=True,
        )
        contexts.append(context)
        shown = context.new_page()
        shown.goto(file.as_uri())
        return shown

    yield open_page
    for context in contexts:
        context.close()


def test_nothing_of_a_hostile_night_runs_or_loads(opened: Opener, browser: Browser) -> None:
    """Titles, gates and models that are scripts, images or styles are shown, and do nothing."""
    asked: list[str] = []
    said: list[str] = []
    shown = opened(a_hostile_report())
    shown.on("request", lambda one: asked.append(one.url))
    shown.on("console", lambda one: said.append(one.text))
    shown.on("dialog", lambda one: said.append(one.message))
    shown.reload()
    assert [one for one in asked if not one.startswith("file:")] == []
    assert said == []
    assert shown.title().startswith("Night n-20261129-01")
    assert shown.locator("script, img, iframe, object, link").count() == 0
    assert shown.locator("details").count() == len(HOSTILE)
    assert shown.locator("body").is_visible()
    assert HOSTILE[0] in shown.locator("#issues").inner_text()


def test_its_policy_stops_what_would_get_through(opened: Opener) -> None:
    """Even markup that somebody brought in would neither run nor be styled."""
    shown = opened(a_report())
    shown.evaluate(
        """() => {
          const made = document.createElement('script');
          made.textContent = 'document.title = "owned"';
          document.body.append(made);
          const style = document.createElement('style');
          style.textContent = 'main { display: none }';
          document.body.append(style);
        }"""
    )
    assert shown.title() != "owned"
    assert shown.locator("main").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(opened: Opener, scheme: Literal["light", "dark"]) -> None:
    """Text has a contrast of at least 4.5 to what is behind it, by day and by night."""
    shown = opened(a_report(), scheme=scheme)
    shown.evaluate("() => document.querySelectorAll('details').forEach((one) => one.open = true)")
    assert shown.evaluate(CONTRAST) == []


def test_day_and_night_differ(opened: Opener) -> None:
    """The page follows what the reader's machine is set to."""
    ground = "() => getComputedStyle(document.body).backgroundColor"
    light = opened(a_report(), scheme="light").evaluate(ground)
    assert light != opened(a_report(), scheme="dark").evaluate(ground)


def test_with_scripts_off_everything_can_be_opened(opened: Opener) -> None:
    """Details open without a script, and a link of the table leads into them."""
    shown = opened(a_report(), scripts=False)
    facts = shown.locator("#issue-4")
    assert not facts.is_visible()
    shown.locator("details summary").nth(3).click()
    assert facts.is_visible()
    assert "gate tests: 2 of 31" in facts.inner_text()


@pytest.mark.parametrize("night", [a_report(), a_hostile_report(), a_report(200)])
@pytest.mark.parametrize("width", [320, 1280])
def test_no_width_makes_the_page_scroll_sideways(
    opened: Opener, night: NightReport, width: int
) -> None:
    """Only the table scrolls by itself; the page fits a telephone, whatever titles it holds."""
    shown = opened(night, width=width)
    assert shown.evaluate("() => document.documentElement.scrollWidth") <= width


def test_who_hears_the_page_finds_the_way(opened: Opener) -> None:
    """Landmarks, one first heading, headings in order, a table with headers, pictures with words."""
    shown = opened(a_report())
    for landmark in ("banner", "main", "contentinfo"):
        assert shown.get_by_role(landmark).count() == 1
    levels: list[Any] = shown.evaluate(
        "() => [...document.querySelectorAll('h1,h2,h3')].map((one) => Number(one.tagName[1]))"
    )
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    table = shown.get_by_role("table")
    assert table.get_by_role("columnheader").count() == 9
    assert table.get_by_role("rowheader").count() == 10
    assert shown.get_by_role("region", name="Table of issues").get_attribute("tabindex") == "0"
    for image in shown.locator("svg[role=img]").all():
        assert image.get_attribute("aria-label")
    shown.keyboard.press("Tab")
    assert shown.evaluate("() => document.activeElement.textContent") == "Skip to the issues"


def test_two_hundred_issues_are_shown(opened: Opener) -> None:
    """A long night is whole, and its line of time has as many rows as were worked on at once."""
    shown = opened(a_report(200))
    assert shown.locator("tbody tr").count() == 200
    assert shown.locator("#dollars li").count() == 40
    box = shown.locator("svg.timeline").bounding_box()
    assert box is not None
    assert box["height"] < 150
