"""Every internal link and anchor of the built site resolves; launch buttons point at notebooks that exist."""

from __future__ import annotations

from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from tests.browser import ROOT
from tests.site.conftest import SITE, pages


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.loads: list[str] = []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if found.get("id"):
            self.ids.add(found["id"])
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag == "a" and found.get("name"):
            self.ids.add(found["name"])
        for key in ("src", "poster"):
            if found.get(key):
                self.loads.append(found[key])
        if tag == "link" and found.get("href") and found.get("rel") != "canonical":
            self.loads.append(found["href"])


@cache
def read(path: Path) -> Links:
    parser = Links()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser


@pytest.mark.parametrize("name", pages())
def test_every_link_and_anchor_resolves(name):
    here = SITE / f"{name}.html"
    dead = []
    for link in read(here).links:
        url = urlparse(link)
        if url.scheme in {"http", "https", "mailto"} or link.startswith("#") and "?" in link:
            continue
        path = (here.parent / unquote(url.path)).resolve() if url.path else here
        if not path.exists():
            dead.append(link)
        elif url.fragment and path.suffix == ".html" and unquote(url.fragment) not in read(path).ids | {"main-content"}:
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("name", pages())
def test_everything_a_page_loads_is_in_the_site(name):
    here = SITE / f"{name}.html"
    for load in read(here).loads:
        url = urlparse(load)
        assert url.scheme in {"", "data"}, f"{name} loads {load}"
        if url.path and url.scheme == "":
            assert (here.parent / unquote(url.path)).resolve().exists(), f"{name} loads {load}, which is missing"


def test_launch_buttons_point_at_notebooks_that_exist():
    count = 0
    for name in pages():
        for link in read(SITE / f"{name}.html").links:
            for host, mark in (("colab.research.google.com", "/blob/main/"), ("mybinder.org", "urlpath=lab/tree/")):
                if host in link:
                    path = unquote(link.split(mark)[1].split("?")[0])
                    assert path.endswith((".ipynb", ".md")), link
                    assert (ROOT / path).exists(), link
                    assert (ROOT / path).suffix == ".ipynb" or host == "mybinder.org", link
                    count += 1
    assert count >= 2 * len(list((ROOT / "book").glob("*/*.ipynb")))


def test_pages_and_reference_link_both_ways():
    import nnvocab

    for e in nnvocab.entries():
        page = read(SITE / "book" / e.chapter / f"{e.page}.html")
        assert any(link.endswith(f"api/{e.chapter}.html#{e.import_path}") for link in page.links), e.name
        api = read(SITE / "book" / "api" / f"{e.chapter}.html")
        assert e.import_path in api.ids, e.import_path
        anchors = (e.slug, e.slug.lstrip("0123456789-"))  # Sphinx's own ids do not begin with a digit
        assert any(link.endswith(tuple(f"{e.page}.html#{a}" for a in anchors)) for link in api.links), e.name
        index = read(SITE / "book" / "vocabulary.html")
        assert any(link.endswith(tuple(f"{e.chapter}/{e.page}.html#{a}" for a in anchors)) for link in index.links), (
            e.name
        )
