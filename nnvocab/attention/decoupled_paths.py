"""The two paths of decoupled attention: queries and keys for content, and queries and keys for position."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.attention.heads import check_heads, split_heads
from nnvocab.attention.path_gate import PathGate
from nnvocab.attention.rotary import RotaryEmbedding


class DecoupledPaths(nn.Module):
    r"""Project to the queries and keys of a semantic path and of a geometric path, laid side by side.

    .. math::
        q = \sqrt{D}\left[\frac{2g}{\sqrt{D_s}} q^s;\; \frac{2 - 2g}{\sqrt{D_g}} R q^g\right], \qquad
        k = [k^s;\; R k^g], \qquad D = D_s + D_g

    so that :math:`q^\top k / \sqrt{D}` is the sum of both paths' scores, each with its own scale.

    Args:
        embed_dim: width C of the input.
        num_heads: query heads H.
        sem_dim: width of the semantic path over all query heads; H divides it.
        geo_dim: width of the geometric path over all query heads; an even share a head.
        num_kv_heads: key heads G that the query heads share, in both paths; H if not given.
        rope: how the geometric path turns; base 10000 over its whole width if not given.
        gate: weighs the paths against each other; both count once if not given.

    Shapes:
        x: (B, T, C); its first token stands at position ``offset``. Returns queries (B, H, T, Ds + Dg) and keys
        (B, G, T, Ds + Dg).

    Raises:
        ValueError: if heads do not divide, a geometric head is odd, or rope or gate are of another size.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        sem_dim: int,
        geo_dim: int,
        *,
        num_kv_heads: int | None = None,
        rope: RotaryEmbedding | None = None,
        gate: PathGate | None = None,
    ) -> None:
        super().__init__()
        for name, width in (("embed_dim", embed_dim), ("num_heads", num_heads)):
            if width < 1:
                raise ValueError(f"{name} is {width}, but must be at least 1")
        for name, width in (("sem_dim", sem_dim), ("geo_dim", geo_dim)):
            if width < 1 or width % num_heads:
                raise ValueError(
                    f"{name} {width} is not a multiple of num_heads {num_heads}: it is the width of all heads together, "
                    f"and every head gets an equal share"
                )
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        self.sem_head = check_heads(sem_dim, num_heads, self.num_kv_heads)
        self.geo_head = check_heads(geo_dim, num_heads, self.num_kv_heads)
        if self.geo_head % 2:
            raise ValueError(
                f"geo_dim {geo_dim} gives {num_heads} heads of width {self.geo_head}, but columns turn in pairs: choose "
                f"a multiple of {2 * num_heads}"
            )
        rope = RotaryEmbedding(self.geo_head) if rope is None else rope
        if rope.dim != self.geo_head:
            raise ValueError(f"the rope turns {rope.dim} columns, but a geometric head has {self.geo_head}")
        if gate is not None and gate.num_heads != num_heads:
            raise ValueError(f"the gate has {gate.num_heads} heads, but there are {num_heads}")
        self.rope, self.gate = rope, gate
        self.q_sem = nn.Linear(embed_dim, sem_dim, bias=False)
        self.k_sem = nn.Linear(embed_dim, self.sem_head * self.num_kv_heads, bias=False)
        self.q_geo = nn.Linear(embed_dim, geo_dim, bias=False)
        self.k_geo = nn.Linear(embed_dim, self.geo_head * self.num_kv_heads, bias=False)

    def forward(self, x: Tensor, *, offset: int = 0) -> tuple[Tensor, Tensor]:
        H, G, D = self.num_heads, self.num_kv_heads, self.sem_head + self.geo_head
        q_sem, k_sem = split_heads(self.q_sem(x), H), split_heads(self.k_sem(x), G)  # (B, H, T, Ds), (B, G, T, Ds)
        q_geo = self.rope.rotate(split_heads(self.q_geo(x), H), offset=offset)  # (B, H, T, Dg)
        k_geo = self.rope.rotate(split_heads(self.k_geo(x), G), offset=offset)  # (B, G, T, Dg)
        q_sem, q_geo = q_sem * (D / self.sem_head) ** 0.5, q_geo * (D / self.geo_head) ** 0.5
        if self.gate is not None:
            g = self.gate(x).unsqueeze(-1)  # (B, H, T, 1)
            q_sem, q_geo = q_sem * (2 * g), q_geo * (2 - 2 * g)
        return torch.cat([q_sem, q_geo], dim=-1), torch.cat([k_sem, k_geo], dim=-1)
