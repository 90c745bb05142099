"""A real Chromium for the tests of the widgets and of the site; nothing it shows may come from another host."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, sync_playwright

ROOT = Path(__file__).parents[1]
HOST = ROOT / "book" / "_ext" / "static" / "host.js"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --allow-file-access-from-files"
).split()


def executable() -> str:
    """Where Chromium is; the scripts install it where they can."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise RuntimeError("no Chromium found: install it, on Debian with `apt-get install chromium`")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=executable(), args=FLAGS)
        yield browser
        browser.close()


def plain(value):
    """A widget's trait as JSON keeps it."""
    return json.loads(json.dumps(value, default=lambda v: v.tolist() if hasattr(v, "tolist") else str(v)))


def widget_html(widget, *, dark: bool = False) -> str:
    """A page that holds nothing but this widget in its present state, as a notebook would store it."""
    state = {k: plain(v) for k, v in widget.get_state().items() if k not in {"layout", "tabbable", "tooltip"}}
    model = {"w": {"model_module": "anywidget", "model_name": "AnyModel", "state": state}}
    view = {"model_id": "w", "version_major": 2, "version_minor": 0}

    def script(kind, body):
        text = json.dumps(body).replace("</", "<\\/")
        return f'<script type="application/vnd.jupyter.widget-{kind}+json">{text}</script>'

    return (
        f'<!doctype html><html lang="en" data-theme="{"dark" if dark else "light"}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{type(widget).__name__}</title>'
        f"<style>body{{margin:8px;background:{'#14181d' if dark else '#fff'}}}</style></head><body><main><h1 hidden>widget</h1>"
        f"{script('state', {'state': model})}{script('view', view)}</main><script>{HOST.read_text()}</script></body></html>"
    )


def mount(page: Page, widget, *, dark: bool = False, path: Path | None = None, query: str = "") -> Page:
    """Show a widget on an empty page and wait until it is drawn; with ``path``, from a file, so that the address works."""
    html = widget_html(widget, dark=dark)
    if path is None:
        page.set_content(html)
    else:
        path.write_text(html, encoding="utf-8")
        page.goto(path.as_uri() + query)
    page.wait_for_selector(".nnv-host[data-drawn]", timeout=10_000)
    return page


def exports(page: Page, text: str, call: str, *arguments):
    """Import a widget's module text in the browser and evaluate ``call(module, ...arguments)`` there."""
    return page.evaluate(
        "async ([text, call, args]) => { const m = await import(URL.createObjectURL(new Blob([text], {type: 'text/javascript'})));"
        " return await eval(call)(m, ...args); }",
        [text, call, plain(list(arguments))],
    )


MODEL = "document.querySelector('.nnv-host').model"  # of the first widget on a page


def get(page: Page, *names: str):
    """The present value of a trait, or a list of several."""
    values = page.evaluate(f"names => names.map(n => {MODEL}.get(n))", list(names))
    return values[0] if len(names) == 1 else values


def settle(page: Page) -> None:
    """Wait until what changed is drawn; numbers that may lag behind the hand say so by aria-busy."""
    page.evaluate("() => new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))")
    page.wait_for_function("!document.querySelector('.nnv [aria-busy=true]')")


def put(page: Page, **values) -> None:
    """Set traits as the kernel would, and wait until they are drawn."""
    page.evaluate(f"v => {{ for (const [k, x] of Object.entries(v)) {MODEL}.set(k, x); }}", values)
    settle(page)


def beside(page: Page, widget) -> Locator:
    """Show a second widget below what the page shows, on a model of its own; ``close_beside`` takes it away."""
    state = {k: plain(v) for k, v in widget.get_state().items()}
    page.evaluate(
        "async state => { const el = document.createElement('div'), d = {...state}, on = {}; el.id = 'beside'; document.body.append(el);"
        " el.model = {get: k => d[k], set: (k, v) => { d[k] = v; (on['change:' + k] ?? []).forEach(f => f()); },"
        " on: (e, f) => (on[e] ??= []).push(f), off() {}, save_changes() {}};"
        " const url = URL.createObjectURL(new Blob([d._esm], {type: 'text/javascript'}));"
        " el.end = await (await import(url)).default.render({model: el.model, el}); }",
        state,
    )
    return page.locator("#beside")


def close_beside(page: Page) -> None:
    """Take the second widget away again, as a page does that re-runs a cell."""
    page.evaluate("document.querySelector('#beside').end()")


def serious(page: Page) -> list[tuple[str, str]]:
    """What axe finds serious or critical: the rule, and where."""
    found = Axe().run(page).response["violations"]
    return [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")]


def check_legible(page: Page, *, cells: bool = True) -> None:
    """Nothing serious for axe, nothing scrolls sideways, text of 13 px at least, targets of 24 px, grid cells too."""
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    small = page.evaluate(
        "[...document.querySelectorAll('.nnv *')].filter(e => !['STYLE', 'SUB', 'SUP'].includes(e.tagName) && e.checkVisibility() &&"
        " [...e.childNodes].some(c => c.nodeType === 3 && c.textContent.trim()) && parseFloat(getComputedStyle(e).fontSize) < 13)"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert small == []
    targets = ["button", "input", "select", "summary", "[role=button]", *(["[role=gridcell]"] if cells else [])]
    narrow = page.evaluate(
        "targets => [...document.querySelectorAll(targets.map(x => '.nnv ' + x).join())]"
        ".filter(e => e.checkVisibility() && !e.closest('label'))"
        ".map(e => [e.outerHTML.slice(0, 80), e.getBoundingClientRect()])"
        ".filter(([, r]) => r.width < 23.9 || r.height < 23.9).map(([x]) => x)",
        targets,
    )
    assert narrow == []
