"""The exercises of the layers chapter: each judges an answer and hints at the usual mistakes."""

from nnvocab.layers.exercises import experts, linear, small_changes, sparse_and_capsules

__all__ = ["experts", "linear", "small_changes", "sparse_and_capsules"]
