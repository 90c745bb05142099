"""The transformer block whose feed-forward network is a mixture of experts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.attention.rotary import RotaryEmbedding
from nnvocab.attention.rotary_attention import RotaryAttention
from nnvocab.layers.expert_choice import ExpertChoice, ExpertChoices
from nnvocab.layers.mixture_of_experts import MixtureOfExperts, RoutingStatistics
from nnvocab.normalization import RMSNorm
from nnvocab.vocabulary import Example, entry


@entry(
    name="MoE transformer block",
    aliases=("sparse transformer block", "Mixtral block"),
    page="experts",
    kind="block",
    ids=("caramba_moe_block",),
    paper="jiang2024mixtral",
    peer="transformers.models.mixtral.modeling_mixtral.MixtralDecoderLayer",
    example=lambda: Example(
        MoEBlock(16, 2, moe=MixtureOfExperts(16, num_experts=4, top_k=2, hidden_dim=6, capacity_factor=2.0)),
        (torch.randn(2, 5, 16),),
    ),
    related=("Mixture of experts", "Rotary position embedding attention", "Load-balancing loss"),
)
class MoEBlock(nn.Module):
    r"""Attention and then a mixture of experts, each behind a root-mean-square norm and beside a shortcut.

    .. math::
        u = x + \operatorname{Attention}(\operatorname{RMSNorm}(x)), \qquad
        y = u + \operatorname{MoE}(\operatorname{RMSNorm}(u))

    Args:
        embed_dim: width C of the input and of the output.
        num_heads: query heads H of the attention.
        num_kv_heads: key/value heads that they share; H if not given.
        num_experts: experts of the mixture.
        top_k: experts that compute for a token.
        attention: any module from (B, T, C) to (B, T, C); causal rotary attention in Mixtral's layout if not given.
        moe: the mixture, or expert choice, where other arguments matter; then ``num_experts`` and ``top_k`` are not used.
        eps: added to the mean square in the norms.

    Shapes:
        x: (B, T, C). Returns (B, T, C); with ``need_routing`` also what the mixture says of its routing.

    Notice:
        Attention is shared by all tokens: "8 x 7B" names eight experts of a 7B model's size, which share the rest.
        The shortcut carries on what a capacity drops.

    Raises:
        ValueError: if the parts have another width than the block.

    Source: Jiang et al. 2024, section 2.

    >>> block = MoEBlock(32, num_heads=4)
    >>> block(torch.randn(1, 6, 32)).shape, block.moe.num_experts, block.moe.top_k
    (torch.Size([1, 6, 32]), 8, 2)
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        num_kv_heads: int | None = None,
        num_experts: int = 8,
        top_k: int = 2,
        attention: nn.Module | None = None,
        moe: MixtureOfExperts | ExpertChoice | None = None,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if moe is not None and moe.embed_dim != embed_dim:
            raise ValueError(
                f"moe was made for width {moe.embed_dim}, but the block for {embed_dim}: make both the same"
            )
        if attention is None:
            rope = RotaryEmbedding(embed_dim // max(1, num_heads), layout="half")
            attention = RotaryAttention(embed_dim, num_heads, rope=rope, num_kv_heads=num_kv_heads, causal=True)
        self.attention_norm, self.attention = RMSNorm(embed_dim, eps=eps), attention
        self.moe_norm = RMSNorm(embed_dim, eps=eps)
        self.moe = MixtureOfExperts(embed_dim, num_experts, top_k) if moe is None else moe

    def forward(
        self, x: Tensor, *, need_routing: bool = False
    ) -> Tensor | tuple[Tensor, RoutingStatistics | ExpertChoices]:
        u = x + self.attention(self.attention_norm(x))  # (B, T, C)
        if need_routing:
            y, routing = self.moe(self.moe_norm(u), need_routing=True)
            return u + y, routing
        return u + self.moe(self.moe_norm(u))
