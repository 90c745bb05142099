"""Every page: nothing from elsewhere, no error, readable by everybody, at two widths, by day and by night."""

from __future__ import annotations

import gzip
import re
from urllib.parse import unquote, urlparse

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.site.conftest import ARTEFACTS, SITE, pages

PAGES = pages()
each = pytest.mark.parametrize("name", PAGES)
TYPESET = "() => !document.querySelector('.math') || !!document.querySelector('mjx-container')"

JPEG_ROWS = 65_535  # the highest picture that JPEG can hold


def theme(page, name: str) -> None:
    page.evaluate(
        "t => { document.documentElement.dataset.theme = t; document.documentElement.dataset.mode = t; }", name
    )


def grave(page, *, colours_only: bool = False) -> list[str]:
    """What axe-core finds that is serious or critical; highlighted code has a test of its own, for it is most of a page."""
    options = {
        "resultTypes": ["violations"],
        "preload": False,
        **({"runOnly": ["color-contrast"]} if colours_only else {}),
    }
    results = Axe().run(page, context={"exclude": [[".highlight pre"]]}, options=options).response
    return [
        f"{v['id']}: {v['help']} ({len(v['nodes'])}) e.g. {v['nodes'][0]['html'][:160]}"
        for v in results["violations"]
        if v["impact"] in {"serious", "critical"}
    ]


def pictures(page, name: str) -> None:
    """Store the whole page as it is seen at two widths, by day and by night."""
    page.emulate_media(reduced_motion="reduce")  # the theme's bars do not slide while a picture is taken
    page.add_style_tag(content="* { content-visibility: visible !important; }")  # what is far off is drawn too
    folder = ARTEFACTS / name.replace("/", "-")
    folder.mkdir(parents=True, exist_ok=True)
    for width, label in ((1280, "desktop"), (390, "phone")):
        page.set_viewport_size({"width": width, "height": 900})
        for mode in ("light", "dark"):
            theme(page, mode)
            page.wait_for_timeout(500)  # until the theme has faded over
            if page.evaluate("() => document.documentElement.scrollHeight") > JPEG_ROWS:
                page.screenshot(path=folder / f"{label}-{mode}.png", full_page=True)
            else:
                page.screenshot(path=folder / f"{label}-{mode}.jpg", type="jpeg", quality=60, full_page=True)


@each
def test_a_page_is_sound_for_everybody(name, visit, request):
    page, watch = visit(name)
    page.wait_for_function(TYPESET, timeout=20_000)
    page.evaluate("() => document.querySelectorAll('img[loading=lazy]').forEach(i => { i.loading = 'eager'; })")
    trouble = {}
    for mode in ("light", "dark"):
        theme(page, mode)
        page.wait_for_timeout(500)  # until the theme has faded over
        trouble[f"axe, {mode}"] = grave(page, colours_only=mode == "dark")  # a theme is its colours
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(200)
        overflow = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
        trouble[f"overflow at {width}"] = [f"{overflow} px"] if overflow > 0 else []
    trouble["asked from elsewhere"] = watch.requests
    trouble["console"] = watch.errors
    broken = page.evaluate("() => [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)")
    trouble["broken pictures"] = broken
    if request.config.getoption("--pictures"):
        pictures(page, name)
    assert {k: v for k, v in trouble.items() if v} == {}


def test_every_kind_of_highlighted_token_can_be_read(visit):
    """One line of code that has every kind of token found on any page, checked in both themes."""
    kinds: set[str] = set()
    for name in PAGES:
        for block in re.findall(r'<div class="highlight">(.*?)</div>', (SITE / f"{name}.html").read_text(), re.DOTALL):
            kinds.update(re.findall(r'<span class="([a-zA-Z0-9 ]+)">', block))
    assert len(kinds) > 10
    page, _ = visit("book/intro")
    spans = "".join(f'<span class="{kind}">{kind}</span> ' for kind in sorted(kinds))
    code = (
        f'<div class="highlight-default notranslate"><div class="highlight"><pre id="tokens">{spans}</pre></div></div>'
    )
    page.evaluate("code => document.querySelector('article').insertAdjacentHTML('afterbegin', code)", code)
    for mode in ("light", "dark"):
        theme(page, mode)
        page.wait_for_timeout(500)
        options = {"resultTypes": ["violations"], "preload": False, "runOnly": ["color-contrast"]}
        found = Axe().run(page, context={"include": [["#tokens"]]}, options=options).response["violations"]
        assert [node["html"] for v in found for node in v["nodes"]] == [], mode


def weight(files: list[str]) -> dict[str, int]:
    """Gzipped bytes by file; what is compressed already counts as it is."""
    sizes = {}
    for url in dict.fromkeys(f.split("?")[0].split("#")[0] for f in files):
        path = unquote(urlparse(url).path)
        with open(path, "rb") as f:
            data = f.read()
        packed = path.endswith((".png", ".webp", ".jpg", ".woff", ".woff2", ".mp4", ".webm"))
        sizes[path] = len(data) if packed else len(gzip.compress(data, 6))
    return sizes


def test_pages_are_light(visit):
    """A first visit costs at most 600 KB gzipped, with math and a widget; every further page at most 100 KB."""
    seen: dict[str, int] = {}
    heavy = {}
    for number, name in enumerate(["book/convolution/one_kernel", *[p for p in PAGES if p.startswith("book/")]]):
        page, watch = visit(name, widgets=number == 0)  # the first with its widget
        page.wait_for_function(TYPESET, timeout=20_000)
        page.wait_for_timeout(300)
        sizes = weight(watch.files)
        new = sum(v for k, v in sizes.items() if k not in seen)
        limit = 600_000 if number == 0 else 100_000
        print(f"{name}: {sum(sizes.values()) / 1000:.0f} KB in all, {new / 1000:.0f} KB new")
        if new > limit:
            heavy[name] = {k.removeprefix(str(SITE)): v for k, v in sizes.items() if k not in seen and v > 5_000}
        seen.update(sizes)
        page.context.close()
    assert heavy == {}


def test_search_finds_an_entry_from_disk(visit):
    page, watch = visit("search", query="?q=rotary")
    page.wait_for_selector("#search-results li", timeout=15_000)
    assert watch.errors == []


def test_dark_mode_is_one_click_away(visit):
    page, _ = visit("book/intro")
    page.evaluate("localStorage.setItem('mode', 'light')")
    before = page.evaluate("document.documentElement.dataset.theme")
    for _ in range(3):
        page.locator("button.theme-switch-button:visible").first.click()
        if page.evaluate("document.documentElement.dataset.theme") != before:
            break
    assert page.evaluate("document.documentElement.dataset.theme") != before
