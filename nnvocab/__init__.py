"""nnvocab: the executable vocabulary of neural networks.

>>> import nnvocab
>>> nnvocab.find("GQA").name
'Grouped-query attention'

Chapters are subpackages (``from nnvocab.attention import GroupedQueryAttention``) and load when they are used, so that
importing nnvocab itself costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module

__version__ = "0.1.0"

CHAPTERS = ("layers", "compose", "convolution", "recurrent", "attention", "normalization", "activation", "som")
"""The chapters that stand, in the order of the book."""

_FROM = {
    "find": "vocabulary",
    "entries": "vocabulary",
    "Entry": "vocabulary",
    "check": "exercises",
    "show": "cards",
    "source": "cards",
}

__all__ = ["CHAPTERS", "Entry", "check", "entries", "find", "show", "source", *CHAPTERS]


def __getattr__(name: str) -> object:
    if name in _FROM:
        value = getattr(import_module(f"nnvocab.{_FROM[name]}"), name)
        globals()[name] = value
        return value
    if name in CHAPTERS or name in {"widgets", "style"}:
        return import_module(f"nnvocab.{name}")
    raise AttributeError(f"module 'nnvocab' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
