"""One Chromium for the tests of a widget; pages that report every error and refuse every other host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import chromium


@contextmanager
def opened(browser: Browser, width: int, height: int) -> Iterator[Page]:
    """A page; a test fails if the console shows an error or anything is asked from elsewhere."""
    context = browser.new_context(viewport={"width": width, "height": height})
    p = context.new_page()
    trouble: list[str] = []
    p.on("console", lambda m: trouble.append(m.text) if m.type == "error" else None)
    p.on("pageerror", lambda e: trouble.append(str(e)))
    p.on("request", lambda r: trouble.append(r.url) if r.url.startswith(("http:", "https:", "ws")) else None)
    yield p
    context.close()
    assert trouble == []


@pytest.fixture(scope="session")
def browser():
    with chromium() as b:
        yield b


@pytest.fixture
def page(browser):
    """A desktop page."""
    with opened(browser, 1280, 900) as p:
        yield p


@pytest.fixture
def phone(browser):
    """A page as wide as a phone."""
    with opened(browser, 390, 844) as p:
        yield p


@pytest.fixture(scope="module")
def blank(browser):
    """A page to compute on."""
    p = browser.new_page()
    yield p
    p.close()
