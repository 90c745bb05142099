"""The exercises of the attention chapter: each judges an answer and hints at the usual mistakes."""

from nnvocab.attention.exercises import caches, heads, long_sequences, positions
from nnvocab.attention.exercises.heads import sentence

__all__ = ["caches", "heads", "long_sequences", "positions", "sentence"]
