"""One Chromium for the tests of a widget; a page that reports every error and refuses every other host."""

from __future__ import annotations

import pytest

from tests.browser import chromium


@pytest.fixture(scope="session")
def browser():
    with chromium() as b:
        yield b


@pytest.fixture
def page(browser):
    """A desktop page; a test fails if the console shows an error or anything is asked from elsewhere."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    p = context.new_page()
    trouble: list[str] = []
    p.on("console", lambda m: trouble.append(m.text) if m.type == "error" else None)
    p.on("pageerror", lambda e: trouble.append(str(e)))
    p.on("request", lambda r: trouble.append(r.url) if r.url.startswith(("http:", "https:", "ws")) else None)
    yield p
    context.close()
    assert trouble == []
