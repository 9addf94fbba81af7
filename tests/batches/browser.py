"""A real browser without a window; where there is none, tests say so aloud."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = (
    "NO BROWSER: the page of a night was not looked at; install one (apt-get install chromium)"
)


@contextmanager
def a_browser() -> Iterator[Browser]:
    """Start the browser of this machine."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(MISSING)
    with sync_playwright() as playwright:
        # Its own walls need what containers do not have; only our own page is opened.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        try:
            yield browser
        finally:
            browser.close()
