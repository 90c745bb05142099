"""The widgets where readers meet them: on the built pages, without a kernel."""

from __future__ import annotations

import gzip
import json
import re

import pytest

from tests.browser import ROOT
from tests.site.conftest import SITE, pages

VIEW = "application/vnd.jupyter.widget-view+json"
WITH_WIDGETS = [p for p in pages() if VIEW in (SITE / f"{p}.html").read_text(encoding="utf-8")]
each = pytest.mark.parametrize("name", WITH_WIDGETS)
NAMES = (
    "ConvolutionStrides",
    "AttentionMaps",
    "LSTMGates",
    "SOMTraining",
    "ActivationExplorer",
    "SoftmaxFamily",
    "NormalizationAxes",
    "ExpertRouting",
    "ParallelCombine",
    "MaskPatterns",
)


def first(page):
    return page.locator(".nnv-host[data-drawn]").first


@each
def test_every_view_is_drawn(name, visit):
    page, watch = visit(name)
    count = page.locator(f"script[type='{VIEW}']").count()
    page.wait_for_function(f"document.querySelectorAll('.nnv-host[data-drawn]').length === {count}", timeout=15_000)
    assert page.locator(".nnv").count() == count
    assert watch.errors == []


@each
def test_plays_and_steps(name, visit):
    page, watch = visit(name)
    for n in range(page.locator(".nnv-host[data-drawn]").count()):
        host = page.locator(".nnv-host[data-drawn]").nth(n)
        player = host.locator(".nnv-player").first
        if not player.count():
            continue
        host.scroll_into_view_if_needed()
        scrub = player.locator("input[type=range]")
        forward, play = player.locator("button[aria-label^=Forward]"), player.locator("button").nth(1)
        scrub.focus()
        page.keyboard.press("Home")
        page.wait_for_function("e => e.value === e.min", arg=scrub.element_handle(), timeout=10_000)
        page.wait_for_timeout(100)
        start = scrub.get_attribute("aria-valuetext")
        seen = [scrub.element_handle(), start]
        forward.click()  # what a click changes is drawn in the next frame
        page.wait_for_function("([e, was]) => e.getAttribute('aria-valuetext') !== was", arg=seen, timeout=10_000)
        player.locator("button[aria-label^=Back]").click()
        page.wait_for_function("([e, was]) => e.getAttribute('aria-valuetext') === was", arg=seen, timeout=10_000)
        play.click()
        page.wait_for_function(
            "([e, was]) => e.getAttribute('aria-valuetext') !== was", arg=[scrub.element_handle(), start]
        )
        if play.get_attribute("aria-label") == "Pause":
            play.click()
    assert watch.errors == []


def state_of(page: str) -> dict:
    """The state of a page's widgets, from the file that the page fetches when one comes near."""
    text = (SITE / "_static" / "widgets" / f"state-{page.replace('/', '-')}.js").read_text(encoding="utf-8")
    return json.loads(text.removeprefix("globalThis.nnvocabState = ").rstrip(";\n"))


def test_every_widget_is_in_the_book():
    found = {m["state"].get("_anywidget_id", "").split(".")[-1] for p in WITH_WIDGETS for m in state_of(p).values()} - {
        ""
    }
    assert found == set(NAMES)


@pytest.mark.parametrize(
    "path",
    sorted(p for p in (SITE / "_static" / "widgets").glob("*.js") if "state-" not in p.name),
    ids=lambda p: p.stem,
)
def test_a_widgets_script_is_light(path):
    size = len(gzip.compress(path.read_bytes(), 6))
    print(f"{path.stem}: {size / 1000:.1f} KB gzipped")
    assert size < 30_000


@each
def test_state_is_light_and_holds_no_module(name):
    assert "_esm" not in (SITE / f"{name}.html").read_text(encoding="utf-8")
    for model in state_of(name).values():
        assert "_esm" not in model["state"]
        size = len(json.dumps(model["state"]))
        print(f"{name}: {model['state'].get('_anywidget_id', 'layout')} {size / 1000:.0f} KB")
        assert size < 200_000


@each
def test_a_still_stands_where_no_script_runs(name, visit):
    page, _ = visit(name, java_script_enabled=False)
    assert page.locator("noscript img, img[src*='still-']").count() >= 1
    for image in page.locator("img[src*='still-']").all():
        image.scroll_into_view_if_needed()
        assert image.evaluate("i => i.decode().then(() => i.naturalWidth)") > 200


@pytest.mark.parametrize("widget", NAMES)
def test_links_in_the_text_set_the_figure(widget, visit):
    """A page has at least one link such as #LSTMGates?step=5 in its words; following it changes the widget's state."""
    pattern = re.compile(rf'href="(#{widget}\?[^"]+)"')
    where = [(p, m) for p in WITH_WIDGETS for m in pattern.findall((SITE / f"{p}.html").read_text(encoding="utf-8"))]
    assert where, f"no page links to a state of {widget}"
    name, link = where[0]
    page, watch = visit(name)
    from urllib.parse import parse_qsl, urlparse

    wanted = dict(parse_qsl(urlparse(link.replace("&amp;", "&").replace("#", "?x#", 1)).fragment.split("?")[1]))
    page.locator(f'a[href="{link.replace("&amp;", "&")}"]').first.click()
    page.wait_for_timeout(300)
    for key, value in wanted.items():
        got = page.evaluate(
            "([w, k]) => document.getElementById(w).closest('.nnv-host').model.get(k)",
            [widget, key],
        )
        if isinstance(got, bool):
            assert str(got).lower() == value
        elif isinstance(got, int | float):
            assert float(got) == pytest.approx(float(value))
        elif isinstance(got, str):
            assert got == value
        else:
            assert got == json.loads(value)
    assert watch.errors == []


def test_the_notebooks_widgets_come_from_the_package():
    assert {p.stem for p in (SITE / "_static" / "widgets").glob("*.js") if "state-" not in p.name} <= {
        p.stem for p in (ROOT / "nnvocab" / "widgets").glob("*.js")
    }
