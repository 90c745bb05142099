"""The registry: one frozen record for every name the book explains, filed beside the code that implements it.

``@entry(...)`` stands on the class or function. Cards, the index, the contract tests, the benchmarks and the API
reference are all read from these records; nothing is listed twice.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal, TypeVar

Evidence = Literal["established", "preprint", "contested", "speculative"]
Kind = Literal["layer", "block", "model", "function", "algorithm", "concept"]
EVIDENCE = ("established", "preprint", "contested", "speculative")
KINDS = ("layer", "block", "model", "function", "algorithm", "concept")
CONTRACTS = ("gradcheck", "fake_cuda", "dtype", "batch_of_one", "state_dict", "same_seed", "compile")

T = TypeVar("T")


@dataclass(frozen=True)
class Example:
    """A small call that the contract tests make: ``module(*inputs)``.

    Args:
        module: an ``nn.Module``, or a function of tensors.
        inputs: the positional tensors of the call; their first axis is the batch unless ``skip`` says otherwise.
        skip: contracts that cannot apply, each with its reason, e.g. ``{"compile": "its graph grows while it runs"}``.
    """

    module: Callable[..., Any]
    inputs: tuple[Any, ...]
    skip: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = set(self.skip) - set(CONTRACTS)
        if unknown:
            raise ValueError(f"skip names {sorted(unknown)}, which are no contracts; the contracts are {CONTRACTS}")


@dataclass(frozen=True)
class Entry:
    """One name of the vocabulary and where everything about it is."""

    name: str
    object: Any
    chapter: str
    page: str
    kind: Kind
    aliases: tuple[str, ...]
    ids: tuple[str, ...]
    paper: str | None
    evidence: Evidence
    example: Callable[[], Example] | None
    peer: str | None
    related: tuple[str, ...]

    @property
    def slug(self) -> str:
        """The name as it stands in addresses: ``grouped-query-attention``."""
        return slug(self.name)

    @property
    def url(self) -> str:
        """Where the entry is explained, from the root of the book: ``attention/fewer_keys.html#grouped-query-attention``."""
        return f"{self.chapter}/{self.page}.html#{self.slug}"

    @property
    def import_path(self) -> str:
        """The import that a reader writes: ``nnvocab.attention.GroupedQueryAttention``."""
        return f"nnvocab.{self.chapter}.{self.object.__name__}"

    @property
    def summary(self) -> str:
        """The first sentence of the docstring."""
        return (self.object.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ").strip()

    @property
    def code(self) -> str:
        """The file that implements it, from the repository's root."""
        return self.object.__module__.replace(".", "/") + ".py"

    @property
    def test(self) -> str:
        """The file that tests it, from the repository's root."""
        *_, chapter, concept = self.object.__module__.split(".")
        return f"tests/{chapter}/test_{concept}.py"

    def __repr__(self) -> str:
        return f"<Entry {self.name!r}: {self.import_path}>"


_REGISTRY: dict[str, Entry] = {}  # slug -> record
_NAMES: dict[str, str] = {}  # folded name, alias or id -> slug


def slug(name: str) -> str:
    """``"4D dilated convolution"`` -> ``"4d-dilated-convolution"``, as headings are named in addresses."""
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", name.lower())).strip("-")


def _fold(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name)
    return "".join(c for c in plain.casefold() if c.isalnum())


def entry(
    *,
    name: str,
    page: str,
    kind: Kind = "layer",
    aliases: tuple[str, ...] = (),
    ids: tuple[str, ...] = (),
    paper: str | None = None,
    evidence: Evidence = "established",
    example: Callable[[], Example] | None = None,
    peer: str | None = None,
    related: tuple[str, ...] = (),
) -> Callable[[T], T]:
    """File the class or function below as an entry of the vocabulary.

    Args:
        name: the field's standard term; also the heading under which the page explains it.
        page: the notebook of the chapter that explains it, without folder and ending.
        kind: layer, block, model, function, algorithm or concept.
        aliases: other names that people use.
        ids: the ids of the vocabulary that this entry serves.
        paper: a key of ``references.bib``.
        evidence: established (many have reproduced it), preprint, contested, or speculative.
        example: makes a small call for the contract tests; may be None only where nothing is computed from tensors.
        peer: the package or function that the tests and benchmarks hold it to.
        related: names of entries that a reader would want next.

    Raises:
        ValueError: if the name, an alias or an id is already taken by another entry, or a field has no such value.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, but must be one of {KINDS}")
    if evidence not in EVIDENCE:
        raise ValueError(f"evidence is {evidence!r}, but must be one of {EVIDENCE}")

    def file(thing: T) -> T:
        chapter = thing.__module__.split(".")[1]  # type: ignore[attr-defined]
        record = Entry(name, thing, chapter, page, kind, aliases, ids, paper, evidence, example, peer, related)
        for word in dict.fromkeys(_fold(w) for w in (name, *aliases, *ids, thing.__name__)):  # type: ignore[attr-defined]
            taken = _NAMES.get(word)
            if taken is not None and not _same_place(_REGISTRY[taken], record):
                raise ValueError(
                    f"{word!r} of entry {name!r} is already filed by {_REGISTRY[taken]!r}: every name and alias leads "
                    f"to one entry, so drop it from one of the two"
                )
            _NAMES[word] = record.slug
        _REGISTRY[record.slug] = record
        return thing

    return file


def _same_place(old: Entry, new: Entry) -> bool:
    """A module that is loaded again files the same entries again."""
    return (old.slug, old.object.__module__, old.object.__qualname__) == (
        new.slug,
        new.object.__module__,
        new.object.__qualname__,
    )


def _load() -> None:
    from nnvocab import CHAPTERS

    for chapter in CHAPTERS:
        import_module(f"nnvocab.{chapter}")


def find(name: str | Any) -> Entry:
    """Find an entry by name, alias, slug or id, whatever the case and punctuation; or by the object itself.

    Raises:
        KeyError: if there is none; the message names the nearest entries.

    >>> find("grouped query attention").import_path
    'nnvocab.attention.GroupedQueryAttention'
    """
    _load()
    if not isinstance(name, str):
        for record in _REGISTRY.values():
            if record.object is name or (isinstance(record.object, type) and type(name) is record.object):
                return record
        raise KeyError(f"{name!r} is not filed as an entry; nnvocab.entries() lists all {len(_REGISTRY)}")
    word = _fold(name)
    if word in _NAMES:
        return _REGISTRY[_NAMES[word]]
    inside = [w for w in _NAMES if len(word) > 2 and word in w]
    near = [*difflib.get_close_matches(word, _NAMES, n=5, cutoff=0.6), *sorted(inside, key=len)]
    names = list(dict.fromkeys(_REGISTRY[_NAMES[w]].name for w in near))[:4]
    hint = f"the nearest are {', '.join(names)}" if names else "nnvocab.entries() lists all"
    raise KeyError(f"no entry is called {name!r}; {hint}")


def entries(*, chapter: str | None = None, kind: str | None = None, evidence: str | None = None) -> list[Entry]:
    """List the entries, in the order of the book, narrowed to a chapter, a kind or a degree of evidence.

    Raises:
        ValueError: if there is no such chapter, kind or degree.

    >>> all(e.chapter == "attention" for e in entries(chapter="attention"))
    True
    """
    from nnvocab import CHAPTERS

    for label, given, known in (
        ("chapter", chapter, CHAPTERS),
        ("kind", kind, KINDS),
        ("evidence", evidence, EVIDENCE),
    ):
        if given is not None and given not in known:
            raise ValueError(f"{label} is {given!r}, but must be one of {', '.join(known)}")
    _load()
    chosen: Iterator[Entry] = (
        e
        for e in _REGISTRY.values()
        if chapter in (None, e.chapter) and kind in (None, e.kind) and evidence in (None, e.evidence)
    )
    return sorted(chosen, key=lambda e: CHAPTERS.index(e.chapter))
