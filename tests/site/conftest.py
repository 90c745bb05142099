"""The built site in a real Chromium, from disk, with the network off."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser import ROOT, chromium

SITE = ROOT / "_build" / "html"
ARTEFACTS = Path(__file__).parent / "artefacts"


def pages() -> list[str]:
    """Every page of the site, by its path without the ending."""
    skip = {"genindex", "search", "py-modindex", "index", "webpack-macros", "_static/webpack-macros"}
    found = sorted(str(p.relative_to(SITE).with_suffix("")) for p in SITE.rglob("*.html") if "_static" not in p.parts)
    return [p for p in found if p not in skip]


def pytest_collection_modifyitems(config: pytest.Config) -> None:
    if not (SITE / "index.html").exists():
        raise pytest.UsageError("the site is not built: run `make book` first")


@pytest.fixture(scope="session")
def browser():
    with chromium() as b:
        yield b


class Watch:
    """What a page must not do."""

    def __init__(self, page) -> None:
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.files: list[str] = []
        page.on("request", self._request)
        page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: self.errors.append(str(e)))

    def _request(self, request) -> None:
        if request.url.startswith("file:"):
            self.files.append(request.url)
        elif not request.url.startswith(("data:", "blob:")):
            self.requests.append(request.url)


@pytest.fixture
def visit(browser):
    """``visit("book/attention/fewer_keys")`` -> the page and what it did; a fresh context each time."""
    contexts = []

    def go(page: str, *, width: int = 1280, height: int = 900, query: str = "", widgets: bool = True, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, offline=True, **options)
        contexts.append(context)
        p = context.new_page()
        watch = Watch(p)
        p.goto((SITE / f"{page}.html").as_uri() + query)
        p.wait_for_load_state("load")
        if widgets and options.get("java_script_enabled", True):
            for view in p.locator("script[type='application/vnd.jupyter.widget-view+json']").all():
                view.evaluate("v => v.parentElement.scrollIntoView()")  # a figure starts when it comes near
                view.locator("xpath=following-sibling::*[@data-drawn]").wait_for(timeout=15_000)
            p.evaluate("scrollTo(0, 0)")
        return p, watch

    yield go
    for context in contexts:
        context.close()
