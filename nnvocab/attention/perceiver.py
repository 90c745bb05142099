"""Perceiver: a few learned latents read an input of any length, and think among themselves."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.attention.cross_attention import CrossAttention
from nnvocab.attention.heads import check_sequence
from nnvocab.attention.qkv import check_at_least
from nnvocab.vocabulary import Example, entry


class LatentBlock(nn.Module):
    """Attention and a small feed-forward net, each on what is normalized, each added to what was there.

    Args:
        dim: width C of those that ask.
        num_heads: heads.
        kdim: width of what is read; None: they read each other.

    Shapes:
        z: (B, M, C); memory: (B, S, kdim). Returns (B, M, C).
    """

    def __init__(self, dim: int, num_heads: int, kdim: int | None = None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.norm_memory = None if kdim is None else nn.LayerNorm(kdim)
        self.attention = CrossAttention(dim, num_heads, kdim=kdim)
        self.feed = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))

    def forward(self, z: Tensor, memory: Tensor | None = None, *, key_padding_mask: Tensor | None = None) -> Tensor:
        asked = self.norm(z)
        memory = asked if self.norm_memory is None else self.norm_memory(memory)
        z = z + self.attention(asked, memory, key_padding_mask=key_padding_mask)
        return z + self.feed(z)


def perceiver_scores(
    inputs: int, *, num_latents: int, depth: int, repeats: int = 1, outputs: int = 0
) -> dict[str, int]:
    """Count the scores that one head computes: reading the input, among the latents, and writing outputs.

    >>> perceiver_scores(50_176, num_latents=512, depth=6)
    {'read': 25690112, 'latent': 1572864, 'write': 0}
    """
    read, latent = repeats * num_latents * inputs, repeats * depth * num_latents**2
    return {"read": read, "latent": latent, "write": outputs * num_latents}


@entry(
    name="Perceiver cross-attention to latents",
    aliases=("Perceiver", "Perceiver IO", "latent bottleneck"),
    page="latents",
    kind="block",
    ids=("perceiver_attention",),
    paper="jaegle2021perceiver",
    peer="torch.nn.functional.multi_head_attention_forward",
    example=lambda: Example(Perceiver(3, 8, 5, 2, depth=1, repeats=2), (torch.randn(2, 6, 5),)),
    related=("Cross-attention", "Axial attention", "Sparse attention"),
)
class Perceiver(nn.Module):
    r"""Let a few learned latents read an input of any length by cross-attention, then attend to each other, in turns.

    .. math::
        z \leftarrow z + \operatorname{softmax}\left(\frac{(z W_Q)(x W_K)^{\top}}{\sqrt D}\right) x W_V, \qquad
        z \leftarrow \text{self-attention}(z) \ \text{several times}

    where :math:`z` are M latents, the queries, and :math:`x` is the input, which gives keys and values; both are
    normalized first, and each attention is followed by a feed-forward net.

    Args:
        num_latents: latents M, learned, the same for every input at the start.
        latent_dim: width C of a latent.
        input_dim: width of the input.
        num_heads: heads H; H must divide ``latent_dim``, and ``query_dim``.
        depth: self-attention blocks among the latents, after each reading.
        repeats: how often the input is read.
        share: let all readings from the second on use the same weights, and their latent blocks too.
        query_dim: width of output queries (Perceiver IO); None: the latents themselves are the output.

    Shapes:
        x: (B, S, input_dim); key_padding_mask: (B, S), True marks padding; queries: (O, query_dim) or
        (B, O, query_dim). Returns (B, M, latent_dim), or (B, O, query_dim) if queries are given.

    Notice:
        The latents ask and the input answers, so the output has M rows however long the input is. Reading costs
        O(M S), which grows with the input; only the blocks among the latents, O(M^2) each, do not. Positions must
        be part of the input's features: attention does not see order.

    Raises:
        ValueError: if heads do not divide a width, a number is below 1, the input has another width, or queries are
            given to a Perceiver without ``query_dim``.

    Source: Jaegle et al. 2021, section 3; output queries: Jaegle et al. 2022, section 3.2.

    >>> perceiver = Perceiver(num_latents=16, latent_dim=32, input_dim=3, num_heads=4, query_dim=8)
    >>> pixels = torch.randn(2, 5000, 3)
    >>> perceiver(pixels).shape, perceiver(pixels, queries=torch.randn(10, 8)).shape
    (torch.Size([2, 16, 32]), torch.Size([2, 10, 8]))
    """

    def __init__(
        self,
        num_latents: int,
        latent_dim: int,
        input_dim: int,
        num_heads: int,
        depth: int = 2,
        repeats: int = 1,
        share: bool = True,
        query_dim: int | None = None,
    ) -> None:
        super().__init__()
        check_at_least(1, num_latents=num_latents, input_dim=input_dim, repeats=repeats)
        check_at_least(0, depth=depth)
        self.latents = nn.Parameter(torch.randn(num_latents, latent_dim) * 0.02)
        self.input_dim, self.repeats, self.query_dim = input_dim, repeats, query_dim
        rounds = min(repeats, 2) if share else repeats
        self.read = nn.ModuleList(LatentBlock(latent_dim, num_heads, input_dim) for _ in range(rounds))
        self.think = nn.ModuleList(
            nn.ModuleList(LatentBlock(latent_dim, num_heads) for _ in range(depth)) for _ in range(rounds)
        )
        self.write = None if query_dim is None else LatentBlock(query_dim, num_heads, latent_dim)

    def encode(self, x: Tensor, *, key_padding_mask: Tensor | None = None) -> Tensor:
        """Read the input into the latents: (B, S, input_dim) -> (B, M, latent_dim)."""
        z = self.latents.expand(x.shape[0], -1, -1)
        for n in range(self.repeats):
            n = min(n, len(self.read) - 1)  # shared: the second round is used again
            z = self.read[n](z, x, key_padding_mask=key_padding_mask)
            for block in self.think[n]:
                z = block(z)
        return z

    def forward(self, x: Tensor, *, queries: Tensor | None = None, key_padding_mask: Tensor | None = None) -> Tensor:
        check_sequence(x, self.input_dim)
        if queries is not None and self.write is None:
            raise ValueError("queries were given, but the layer has none to write with: make it with query_dim=...")
        z = self.encode(x, key_padding_mask=key_padding_mask)
        if queries is None:
            return z
        if (
            queries.ndim not in (2, 3)
            or queries.shape[-1] != self.query_dim
            or queries.shape[:-2] not in ((), x.shape[:1])
        ):
            raise ValueError(
                f"queries has shape {tuple(queries.shape)}, but needs (outputs, {self.query_dim}), or one such table for "
                f"each of the {x.shape[0]} inputs"
            )
        queries = queries if queries.ndim == 3 else queries.expand(x.shape[0], -1, -1)
        return self.write(queries, z)
