"""The stored notebooks: executed, without errors, every figure there, every entry on its page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

import nnvocab
from nnvocab.cards import references
from nnvocab.exercises import exercises
from nnvocab.vocabulary import find, slug
from nnvocab.widgets.base import module_text

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "book"
NOTEBOOKS = sorted(p for p in BOOK.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
PAGES = {str(p.relative_to(BOOK).with_suffix("")): json.loads(p.read_text(encoding="utf-8")) for p in NOTEBOOKS}
VIEW = "application/vnd.jupyter.widget-view+json"
each_page = pytest.mark.parametrize("page", PAGES)
chapter_pages = pytest.mark.parametrize("page", [p for p in PAGES if "/" in p])
each_entry = pytest.mark.parametrize("entry", nnvocab.entries(), ids=lambda e: e.slug)


def source(cell) -> str:
    return "".join(cell["source"])


def code_cells(page: str):
    return [c for c in PAGES[page]["cells"] if c["cell_type"] == "code" and source(c).strip()]


def prose(page: str) -> str:
    return "\n\n".join(source(c) for c in PAGES[page]["cells"] if c["cell_type"] == "markdown")


def headings(page: str) -> list[str]:
    return re.findall(r"^#{1,4} (.*?)\s*$", re.sub(r"```.*?```", "", prose(page), flags=re.S), re.M)


@each_page
def test_every_cell_has_run_in_order_and_without_error(page):
    counts = [c["execution_count"] for c in code_cells(page)]
    assert counts == list(range(1, len(counts) + 1)), f"run it again: make notebooks NB=book/{page}.ipynb"
    errors = [o for c in code_cells(page) for o in c["outputs"] if o["output_type"] == "error"]
    assert errors == []


@each_page
def test_nothing_was_written_to_stderr(page):
    loud = [o for c in code_cells(page) for o in c["outputs"] if o.get("name") == "stderr"]
    assert loud == []


DRAWS = re.compile(r"\bplt\.(?!rc|style|close|cm\b|colormaps|get_cmap)\w+\(|\.(?:imshow|plot|scatter|bar|barh|hist)\(")


@each_page
def test_every_cell_that_draws_has_its_picture(page):
    """nbval does not compare pictures: a figure that is lost would go unseen."""
    for cell in code_cells(page):
        text = re.sub(r"^(?:def|class) .*?(?=^\S|\Z)", "", source(cell), flags=re.M | re.S)
        if DRAWS.search(text):
            kinds = {k for o in cell["outputs"] for k in o.get("data", {})}
            assert "image/png" in kinds, f"a figure is missing below:\n{source(cell)}"


@each_page
def test_every_picture_has_words_beneath_it(page):
    """The sentence after a figure is its text alternative on the site."""
    cells = PAGES[page]["cells"]
    for n, cell in enumerate(cells):
        if cell["cell_type"] == "code" and any(
            "image/png" in o.get("data", {}) and VIEW not in o["data"] for o in cell["outputs"]
        ):
            after = cells[n + 1] if n + 1 < len(cells) else {"cell_type": "none", "source": ""}
            assert after["cell_type"] == "markdown", f"no sentence follows the figure of:\n{source(cell)}"
            assert re.match(r"[^#|$`\s-]", source(after)), (
                f"a plain sentence must follow the figure of:\n{source(cell)}"
            )


@each_page
def test_text_is_the_same_at_every_run(page):
    for cell in code_cells(page):
        text = json.dumps([o for o in cell["outputs"] if o["output_type"] != "display_data"])
        assert not re.search(r"\bat 0x[0-9a-f]{6,}", text), source(cell)


@each_page
def test_the_state_of_the_widgets_is_that_of_the_present_modules(page):
    state = (
        PAGES[page]["metadata"].get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    )
    for model in state.values():
        if "_anywidget_id" in model["state"]:
            file = model["state"]["_anywidget_id"].split(".")[-2]
            assert model["state"]["_esm"] == module_text(file), f"{file}.js has changed: run `make refresh`"


@each_page
def test_every_widget_has_a_still_picture(page):
    for cell in code_cells(page):
        for output in cell["outputs"]:
            if VIEW in output.get("data", {}):
                assert "image/png" in output["data"]


@chapter_pages
def test_works_in_colab(page):
    first = source(code_cells(page)[0])
    assert first.startswith("try:\n    import nnvocab\nexcept ImportError:"), page
    assert re.search(r"^    %pip install ", first, re.M), (
        f"{page}: the first cell must install nnvocab where it is missing"
    )


@chapter_pages
def test_no_machine_path_in_a_page(page):
    assert not re.search(r"/(?:work|tmp|root|home)/", json.dumps(PAGES[page]["cells"]))


@each_entry
def test_an_entry_has_its_page_heading_and_card(entry):
    page = f"{entry.chapter}/{entry.page}"
    assert page in PAGES, f"{entry.name} says it is explained on {page}, which does not exist"
    assert entry.name in headings(page), f"{page} has no heading {entry.name!r}"
    shown = [find(n) for c in code_cells(page) for n in re.findall(r'nnvocab\.show\("(.+?)"\)', source(c))]
    assert entry in shown, f'{page} shows no card of {entry.name}: nnvocab.show("{entry.name}")'


@chapter_pages
def test_a_card_on_a_page_is_of_an_entry_that_belongs_there(page):
    for cell in code_cells(page):
        for name in re.findall(r'nnvocab\.show\("(.+?)"\)', source(cell)):
            assert f"{find(name).chapter}/{find(name).page}" == page


def sections(page: str) -> dict[str, list]:
    """The cells below each heading of an entry, up to the next entry's."""
    names = {e.name for e in nnvocab.entries() if f"{e.chapter}/{e.page}" == page}
    found: dict[str, list] = {}
    now = None
    for cell in PAGES[page]["cells"]:
        if cell["cell_type"] == "markdown":
            for heading in re.findall(r"^#{1,4} (.*?)\s*$", source(cell), re.M):
                now = heading if heading in names else None if re.match(r"## ", source(cell)) else now
        if now:
            found.setdefault(now, []).append(cell)
    return found


@each_entry
def test_claims_of_an_entry_stand_on_asserts(entry):
    cells = sections(f"{entry.chapter}/{entry.page}").get(entry.name, [])
    code = "\n".join(source(c) for c in cells if c["cell_type"] == "code")
    assert re.search(r"^\s*assert ", code, re.M), f"no assert stands behind what the page says of {entry.name}"


@chapter_pages
def test_a_page_has_an_exercise_papers_and_a_way_on(page):
    code = "\n".join(source(c) for c in code_cells(page))
    assert re.search(r'nnvocab\.check\(\s*"[\w-]+/[\w-]+"', code), f"{page} has no exercise"
    for heading in ("Papers", "What comes next"):
        assert heading in headings(page), f"{page} has no heading {heading!r}"


def test_every_exercise_is_asked_on_a_page_and_the_other_way_round():
    asked = {i for p in PAGES for c in code_cells(p) for i in re.findall(r'nnvocab\.check\(\s*"([\w/-]+)"', source(c))}
    assert asked == set(exercises())


@each_page
def test_every_citation_is_in_the_bibliography(page):
    for key in re.findall(r"references\.md#([\w-]+)", prose(page)):
        assert key in references(), f"{page} cites {key!r}, which references.bib does not have"


def test_every_reference_is_cited():
    cited = {k for p in PAGES for k in re.findall(r"references\.md#([\w-]+)", prose(p))} | {
        e.paper for e in nnvocab.entries()
    }
    ledger = yaml.safe_load((BOOK / "claims.yml").read_text())
    cited |= {t["citation"] for items in ledger.values() for t in items.values() if "citation" in t}
    assert set(references()) - cited == set()


IDS = yaml.safe_load((Path(__file__).parent / "claim_ids.yml").read_text())
LEDGER = yaml.safe_load((BOOK / "claims.yml").read_text()) if (BOOK / "claims.yml").exists() else {}


@pytest.mark.parametrize("chapter", IDS)
def test_the_ledger_is_complete(chapter):
    assert set(LEDGER[chapter]) == set(IDS[chapter])


@pytest.mark.parametrize("claim", [f"{c}: {i}" for c, ids in IDS.items() for i in ids])
def test_every_claim_leads_somewhere(claim):
    chapter, id = claim.split(": ")
    target = LEDGER[chapter][id]
    (kind, where), *_ = target.items()
    assert kind in {"page", "test", "citation", "listing"}
    if kind == "page":
        page, _, anchor = where.partition("#")
        assert page in PAGES
        assert anchor in {slug(h) for h in headings(page)}, f"{page} has no heading {anchor!r}"
    elif kind == "test":
        path, _, name = where.partition("::")
        assert re.search(rf"^def {re.escape(name)}\(", (ROOT / path).read_text(), re.M), where
    elif kind == "citation":
        assert where in references()
    else:
        assert where is True
