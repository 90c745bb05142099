"""Measure the built site in Chromium: weight, time to the first widget, frames while a widget plays.

``make bench-site`` writes ``benchmarks/site.json``. It is no test: a busy machine would fail it without reason.
"""

from __future__ import annotations

import gzip
import json
import statistics
import sys
from datetime import date
from pathlib import Path
from urllib.parse import unquote, urlparse

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench import processor  # noqa: E402

from tests.browser import chromium  # noqa: E402

SITE = ROOT / "_build" / "html"
PAGES = {
    "ConvolutionStrides": "book/convolution/one_kernel",
    "AttentionMaps": "book/attention/many_heads",
    "LSTMGates": "book/recurrent/gates",
    "SOMTraining": "book/som/self_organizing_map",
    "ActivationExplorer": "book/activation/smooth",
    "SoftmaxFamily": "book/activation/softmax_family",
    "NormalizationAxes": "book/normalization/over_which_axes",
    "ExpertRouting": "book/layers/experts",
    "ParallelCombine": "book/compose/side_by_side",
    "MaskPatterns": "book/attention/patterns",
}
FRAMES = """seconds => new Promise(done => {
  const times = []; let last = performance.now(); const end = last + seconds * 1000;
  const tick = now => { times.push(now - last); last = now; now < end ? requestAnimationFrame(tick) : done(times.slice(2)); };
  requestAnimationFrame(tick);
})"""


def gzipped(url: str) -> int:
    """Bytes of a file as a server would send it."""
    path = unquote(urlparse(url).path)
    data = Path(path).read_bytes()
    return (
        len(data)
        if path.endswith((".png", ".webp", ".jpg", ".woff", ".woff2", ".mp4"))
        else len(gzip.compress(data, 6))
    )


def play(page, name: str, throttle: int) -> dict[str, float]:
    """Frames over four seconds while the widget plays."""
    widget = page.locator(f"#{name}").first
    widget.scroll_into_view_if_needed()
    button = widget.locator(".nnv-player button").nth(1)
    cdp = page.context.new_cdp_session(page)
    cdp.send("Emulation.setCPUThrottlingRate", {"rate": throttle})
    cdp.send("Performance.enable")

    def busy() -> float:
        return next(m["value"] for m in cdp.send("Performance.getMetrics")["metrics"] if m["name"] == "TaskDuration")

    if button.get_attribute("aria-label") == "Play":
        button.click()
    page.wait_for_timeout(300)
    before = busy()
    frames = sorted(page.evaluate(FRAMES, 4))
    after = busy()
    if button.get_attribute("aria-label") == "Pause":
        button.click()
    total = sum(frames) / 1000
    return {
        "median_ms": round(statistics.median(frames), 1),
        "p95_ms": round(frames[int(0.95 * len(frames))], 1),
        "frames_per_second": round(len(frames) / total, 1),
        "busy_percent": round(100 * (after - before) / total, 1),
    }


def approach(page, name: str) -> None:
    """Scroll until the widget is near, so that it is fetched and drawn."""
    page.locator('script[type="application/vnd.jupyter.widget-view+json"]').first.evaluate(
        "e => e.parentElement.scrollIntoView({block: 'center'})"
    )
    page.wait_for_selector(f"#{name}")


def main() -> int:
    """Measure all and store."""
    found: dict[str, object] = {"date": date.today().isoformat(), "processor": processor()}
    with chromium() as browser:
        seen: set[str] = set()
        weights = {}
        for page_name in dict.fromkeys([*PAGES.values(), "book/intro", "book/vocabulary", "book/references"]):
            page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            files: list[str] = []
            page.on(
                "request",
                lambda r, files=files: files.append(r.url.split("?")[0]) if r.url.startswith("file:") else None,
            )
            page.goto((SITE / f"{page_name}.html").as_uri())
            page.wait_for_timeout(2500)
            sizes = {f: gzipped(f) for f in dict.fromkeys(files)}
            weights[page_name] = {
                "first_visit_kb": round(sum(sizes.values()) / 1000, 1),
                "after_others_kb": round(sum(v for f, v in sizes.items() if f not in seen) / 1000, 1),
            }
            seen |= set(sizes)
            page.context.close()
        found["weight"] = weights
        widgets = {}
        for name, page_name in PAGES.items():
            drawn = []
            for _ in range(5):
                page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
                page.goto((SITE / f"{page_name}.html").as_uri())
                approach(page, name)
                drawn.append(int(page.locator(".nnv-host").first.get_attribute("data-drawn")))
                page.context.close()
            page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            page.goto((SITE / f"{page_name}.html").as_uri())
            approach(page, name)
            page.wait_for_timeout(2000)
            script = next((SITE / "_static/widgets").glob(f"{_file(name)}.js"))
            widgets[name] = {  # drawn_ms: from where its parts are fetched until it stands
                "drawn_ms": statistics.median(drawn),
                "script_kb": round(len(gzip.compress(script.read_bytes(), 6)) / 1000, 1),
                "play": play(page, name, 1),
                "play_throttled_4x": play(page, name, 4),
            }
            print(name, widgets[name], flush=True)
            page.context.close()
        found["widgets"] = widgets
    (ROOT / "benchmarks" / "site.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(weights, indent=1))
    return 0


def _file(name: str) -> str:
    from nnvocab import widgets

    return getattr(widgets, name).file


if __name__ == "__main__":
    raise SystemExit(main())
