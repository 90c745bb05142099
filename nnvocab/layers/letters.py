"""The small trained transformer over letters as a model to be adapted: its layers are those of the attention chapter."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LetterBlock(nn.Module):
    """One layer: attention and a two-layer perceptron, each behind a layer norm and beside a residual path."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        from nnvocab.attention import MultiHeadAttention  # another chapter: loaded when it is used

        self.norm1, self.attention = nn.LayerNorm(width), MultiHeadAttention(width, heads, causal=True)
        self.norm2, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))  # (B, T, C)
        return x + self.down(F.relu(self.up(self.norm2(x))))


class LetterTransformer(nn.Module):
    """Predict the next letter; ``letter_transformer`` loads the trained one.

    Args:
        vocabulary: number of letters V.
        context: positions that have a place vector.
        width: width C.
        heads: heads of attention.
        hidden: width of the perceptron.
        layers: number of blocks.

    Shapes:
        ids: (B, T), or instead ``embeddings``: (B, T, C), to which places are added. Returns logits (B, T, V).
    """

    def __init__(
        self, vocabulary: int, context: int, *, width: int = 32, heads: int = 4, hidden: int = 128, layers: int = 2
    ) -> None:
        super().__init__()
        self.letters, self.places = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(LetterBlock(width, heads, hidden) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids: Tensor | None = None, *, embeddings: Tensor | None = None) -> Tensor:
        if (ids is None) == (embeddings is None):
            raise ValueError("give either ids or embeddings, and not both")
        x = self.letters(ids) if embeddings is None else embeddings  # (B, T, C)
        if x.shape[1] > self.places.num_embeddings:
            raise ValueError(f"{x.shape[1]} positions were given, but only {self.places.num_embeddings} have a place")
        x = x + self.places(torch.arange(x.shape[1], device=x.device))
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.letters.weight.T


def letter_transformer() -> LetterTransformer:
    """Load the trained transformer of the package: 2 layers of 4 heads, trained on descriptions of data sets."""
    from nnvocab.widgets import _tiny_transformer as tiny

    model = LetterTransformer(len(tiny.LETTERS), tiny.CONTEXT, **tiny.record()["shape"])
    state = {
        re.sub(r"\.(qkv|out)\.", r".attention.\1.", name): torch.from_numpy(w.astype("float32"))
        for name, w in tiny.weights().items()
    }
    model.load_state_dict(state)
    return model


@cache
def source_letters(package: str = "sklearn", file: str = "linear_model/_ridge.py") -> tuple[Tensor, Tensor]:
    """Read program text as letters of that model, for training and held out (the last tenth).

    What the model has no letter for becomes letter 0; so program text, full of such signs, is new to it.
    """
    from nnvocab.widgets import _tiny_transformer as tiny

    text = resources.files(package).joinpath(*file.split("/")).read_text(encoding="utf-8")
    ids = torch.tensor(tiny.encode(re.sub(r"\s+", " ", text)))
    cut = len(ids) * 9 // 10
    return ids[:cut], ids[cut:]


def letter_windows(ids: Tensor, count: int, length: int, generator: torch.Generator) -> Tensor:
    """Draw windows of a text: (count, length)."""
    if len(ids) <= length:
        raise ValueError(f"the text has {len(ids)} letters, but windows of {length} need more than that")
    starts = torch.randint(len(ids) - length, (count, 1), generator=generator)
    return ids[starts + torch.arange(length)]


def next_letter_loss(logits: Tensor, ids: Tensor) -> Tensor:
    """Measure how badly logits (B, T, V) predict the letters (B, T) that come next, in nats a letter."""
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
