"""The registry, the search by name, and what the package costs to import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import nnvocab
from nnvocab import cli
from nnvocab.vocabulary import Example, entry, find, slug

IDS = yaml.safe_load((Path(__file__).parent / "vocabulary_ids.yml").read_text())


@pytest.mark.parametrize("id", [i for ids in IDS.values() for i in ids])
def test_every_id_of_the_vocabulary_resolves(id):
    assert find(id).object is not None


@pytest.mark.parametrize("chapter", IDS)
def test_an_id_leads_to_its_own_chapter(chapter):
    elsewhere = {i: find(i).chapter for i in IDS[chapter] if find(i).chapter != chapter}
    assert elsewhere == {}


@pytest.mark.parametrize(
    "name", ["gqa", "GQA", "Grouped Query Attention", "grouped-query-attention", "groupedqueryattention"]
)
def test_case_and_punctuation_do_not_matter(name):
    assert find(name).name == "Grouped-query attention"


def test_the_object_itself_finds_its_entry():
    cls = nnvocab.attention.GroupedQueryAttention
    assert find(cls) is find("gqa")
    assert find(cls(8, 2, 1)) is find("gqa")
    with pytest.raises(KeyError, match="not filed"):
        find(object())


def test_a_miss_names_the_nearest():
    with pytest.raises(KeyError, match="Grouped-query attention"):
        find("groupd query atention")
    with pytest.raises(KeyError, match="nnvocab.entries"):
        find("zzzzqqqq")


def test_entries_are_narrowed_and_refuse_what_does_not_exist():
    assert {e.chapter for e in nnvocab.entries()} == set(nnvocab.CHAPTERS)
    assert all(e.kind == "concept" for e in nnvocab.entries(kind="concept"))
    assert all(e.evidence == "speculative" for e in nnvocab.entries(evidence="speculative"))
    for bad in ({"chapter": "attentoin"}, {"kind": "thing"}, {"evidence": "true"}):
        with pytest.raises(ValueError, match="must be one of"):
            nnvocab.entries(**bad)


def test_a_name_that_is_taken_is_refused():
    def other() -> None: ...

    other.__module__ = "nnvocab.attention.other"
    with pytest.raises(ValueError, match="already filed"):
        entry(name="Something else", aliases=("GQA",), page="x")(other)


def test_fields_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="kind is 'thing'"):
        entry(name="A", page="x", kind="thing")
    with pytest.raises(ValueError, match="evidence is 'sure'"):
        entry(name="A", page="x", evidence="sure")
    with pytest.raises(ValueError, match="no contracts"):
        Example(len, (), skip={"gradchek": "typo"})


def test_slugs_are_as_headings_are_named():
    assert slug("4D dilated convolution") == "4d-dilated-convolution"
    assert slug("Queries, keys and values") == "queries-keys-and-values"


def test_the_command_line(capsys):
    assert cli.main(["find", "gqa"]) == 0
    assert "nnvocab.attention.GroupedQueryAttention" in capsys.readouterr().out
    assert cli.main(["list", "attention"]) == 0
    assert "Grouped-query attention" in capsys.readouterr().out
    assert cli.main(["show", "grouped", "query", "attention"]) == 0
    assert "Ainslie" in capsys.readouterr().out
    assert cli.main(["find", "nothing like it"]) == 2
    assert cli.main(["list", "nowhere"]) == 2


def test_importing_nnvocab_costs_next_to_nothing_over_torch():
    """At most 50 ms; the median of three fresh processes, each measuring only nnvocab's own part."""
    code = "import torch; from time import perf_counter as t; a = t(); import nnvocab; print((t() - a) * 1e3)"
    times = sorted(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    )
    assert times[1] < 50


def test_no_chapter_loads_before_it_is_used():
    code = "import nnvocab, sys; print([m for m in sys.modules if m.startswith(('nnvocab.', 'torch', 'matplotlib'))])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_an_attribute_that_does_not_exist_says_what_does():
    with pytest.raises(AttributeError, match="it has"):
        _ = nnvocab.attentoin
    assert "find" in dir(nnvocab)
