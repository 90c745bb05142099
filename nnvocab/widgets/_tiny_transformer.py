"""The small trained transformer that `AttentionMaps` shows: 2 layers of 4 heads, over letters."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import cache
from importlib import resources

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

UNKNOWN = "□"
LETTERS = UNKNOWN + " abcdefghijklmnopqrstuvwxyz0123456789.,:;'-()?!"
CONTEXT = 48


def encode(text: str) -> list[int]:
    """Letters as numbers: capitals are folded, and what the model never saw becomes 0, the letter □."""
    return [max(LETTERS.find(letter), 0) for letter in text.lower()]


def attend(
    q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None = None, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    r"""Scaled dot-product attention that also hands back its weights.

    .. math::
        y_t = \sum_s \alpha_{ts} v_s, \qquad
        \alpha_{t\cdot} = \operatorname{softmax}_s\frac{q_t \cdot k_s}{\tau\sqrt{D}}

    Args:
        q: queries. k: keys. v: values.
        allowed: where a query may look; where it may look nowhere, its weights and its output are 0.
        temperature: :math:`\tau`; below 1 sharper, above 1 flatter.

    Shapes:
        q: (..., T, D); k and v: (..., S, D); allowed: (T, S). Returns (..., T, D) and the weights (..., T, S).
    """
    scores = q @ k.transpose(-2, -1) / (q.shape[-1] ** 0.5 * temperature)  # (..., T, S)
    if allowed is not None:
        scores = scores.masked_fill(~allowed, float("-inf"))
    weights = scores.softmax(dim=-1).nan_to_num(0.0)  # a row of nothing but -inf is 0 / 0: it is defined as 0
    return weights @ v, weights


class Block(nn.Module):
    """One layer: attention and a two-layer perceptron, each behind a layer norm and beside a residual path."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor, allowed: Tensor, temperature: float = 1.0, off: Collection[int] = ()) -> tuple:
        """(B, T, C) to (B, T, C), and q, k, v, each (B, H, T, D), and the weights (B, H, T, T)."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, H, T, D)
        y, weights = attend(q, k, v, allowed, temperature)
        if off:
            y = y * torch.tensor([float(h not in off) for h in range(self.heads)]).to(y)[:, None, None]
        x = x + self.out(y.transpose(1, 2).flatten(2))  # (B, H, T, D) -> (B, T, C)
        return x + self.down(F.relu(self.up(self.norm2(x)))), (q, k, v, weights)


class TinyTransformer(nn.Module):
    """A transformer over letters that predicts the next one; its output layer is the letters' embedding again."""

    def __init__(self, width: int = 32, heads: int = 4, hidden: int = 128, layers: int = 2) -> None:
        super().__init__()
        self.letters = nn.Embedding(len(LETTERS), width)
        self.places = nn.Embedding(CONTEXT, width)
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        ids: Tensor,
        allowed: Tensor | None = None,
        temperature: float = 1.0,
        off: Collection[tuple[int, int]] = (),
    ) -> tuple[Tensor, list]:
        """Letters (B, T) to logits (B, T, V), and each layer's q, k, v and weights.

        ``allowed`` (T, T) is the causal triangle unless given; ``off`` names (layer, head) pairs whose output is 0.
        """
        T = ids.shape[1]
        if allowed is None:
            allowed = torch.ones(T, T, dtype=torch.bool, device=ids.device).tril()
        x = self.letters(ids) + self.places(torch.arange(T, device=ids.device))  # (B, T, C)
        seen = []
        for i, block in enumerate(self.blocks):
            x, parts = block(x, allowed, temperature, [h for layer, h in off if layer == i])
            seen.append(parts)
        return self.norm(x) @ self.letters.weight.T, seen


def _file():
    return resources.files("nnvocab") / "weights" / "tiny_transformer.npz"


@cache
def record() -> dict:
    """What the training script wrote down: its seed, its steps, its losses and what each head does."""
    with _file().open("rb") as f, np.load(f) as stored:
        return json.loads(str(stored["record"]))


@cache
def weights() -> dict[str, np.ndarray]:
    """The trained weights by name, in float16 as they are stored."""
    with _file().open("rb") as f, np.load(f) as stored:
        return {name: stored[name] for name in stored.files if name != "record"}


def tiny_transformer() -> TinyTransformer:
    """The trained transformer, in float32 with the weights as they are stored (rounded to float16)."""
    model = TinyTransformer(**record()["shape"])
    model.load_state_dict({name: torch.from_numpy(w.astype(np.float32)) for name, w in weights().items()})
    return model.eval()
