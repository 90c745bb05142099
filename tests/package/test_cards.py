"""Cards, sources and citations: what an entry shows of itself."""

from __future__ import annotations

import pytest

import nnvocab
from nnvocab.attention.grouped_query import GroupedQueryAttention, grouped_query_attention
from nnvocab.cards import cite, read_doc, references, repository, signature


def test_a_card_says_where_everything_is_in_both_forms():
    card = nnvocab.show("gqa")
    plain, rich = repr(card), card._repr_html_()
    for text in (
        "Grouped-query attention",
        "nnvocab.attention.GroupedQueryAttention",
        "num_kv_heads",
        "Ainslie et al. 2023",
    ):
        assert text in plain
        assert text in rich
    assert "tests/attention/test_grouped_query.py" in plain
    assert 'href="../api/attention.md#nnvocab.attention.GroupedQueryAttention"' in rich


def test_a_card_can_be_asked_for_by_anything_that_names_the_entry():
    assert nnvocab.show(GroupedQueryAttention).entry is nnvocab.show(nnvocab.find("gqa")).entry


@pytest.mark.parametrize("entry", nnvocab.entries(), ids=lambda e: e.slug)
def test_every_card_draws(entry):
    card = nnvocab.show(entry)
    assert entry.name in repr(card)
    assert "<script" not in card._repr_html_()


def test_docstrings_are_read_in_their_parts():
    doc = read_doc(grouped_query_attention)
    assert doc.summary.startswith("Attend with H query heads")
    assert doc.equation.startswith("y_h =")
    assert doc.sections["Shapes"].startswith("q: (B, H, T, D)")
    assert "cache shrinks" in doc.sections["Notice"]


def test_source_is_the_code_that_runs_without_decorator_and_docstring():
    text = repr(nnvocab.source("gqa"))
    assert text.startswith("# nnvocab/attention/grouped_query.py\nclass GroupedQueryAttention")
    assert "@entry" not in text
    assert '"""' not in text
    assert "def forward" in text
    assert '"""' in repr(nnvocab.source(grouped_query_attention, docstring=True))
    assert "<pre" in nnvocab.source("gqa")._repr_html_()


def test_signatures_show_names_and_defaults():
    assert signature(grouped_query_attention) == "grouped_query_attention(q, k, v, *, causal=False)"


def test_citations_come_from_the_bibliography():
    assert cite("ainslie2023gqa").startswith("Ainslie et al. 2023, GQA: Training")
    with pytest.raises(KeyError, match=r"references.bib has no key"):
        cite("nobody1900nothing")


def test_every_reference_has_author_title_and_year():
    for key, record in references().items():
        assert {"author", "title", "year"} <= set(record), key
        assert record["year"] in key, f"{key}: the year in the key is not {record['year']}"


def test_the_bibliography_is_read_as_a_library_reads_it():
    pybtex = pytest.importorskip("pybtex.database", reason="pybtex reads BibTeX for the book")
    from importlib import resources

    data = pybtex.parse_string((resources.files("nnvocab") / "references.bib").read_text(), "bibtex")
    assert set(data.entries) == set(references())


def test_the_repository_stands_in_the_metadata():
    assert repository().startswith("https://")
