"""Mixture of experts: many feed-forward networks, of which a token visits a few."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nnvocab.layers.expert_load import ExpertLoad
from nnvocab.layers.experts import SwiGLUExperts, dispatch, seats
from nnvocab.layers.load_balancing import load_balancing_loss, router_z_loss
from nnvocab.layers.router import Routing, TopKRouter
from nnvocab.vocabulary import Example, entry


class RoutingStatistics(NamedTuple):
    """Where the tokens of one call went.

    Fields: ``experts`` and ``weights`` (..., k), the choices of each token; ``seated`` (..., k), which of them were
    not dropped by the capacity; ``probs`` (..., E); ``tokens_per_expert`` (E,), the tokens that each expert computed;
    ``dropped``, the share of choices that found no seat; ``entropy``, of the mean routing, as a share of the most
    that there can be.
    """

    experts: Tensor
    weights: Tensor
    seated: Tensor
    probs: Tensor
    tokens_per_expert: Tensor
    dropped: Tensor
    entropy: Tensor


@entry(
    name="Mixture of experts",
    aliases=("MoE", "sparse MoE", "conditional computation", "MoELayer", "top-k routing", "mixture-of-experts layer"),
    page="experts",
    ids=("mixture_of_experts", "caramba_moe"),
    paper="shazeer2017outrageously",
    peer="transformers.models.mixtral.modeling_mixtral.MixtralSparseMoeBlock",
    example=lambda: Example(
        # With E / k as factor an expert has a seat for every token: nothing is dropped, and all shapes are known.
        MixtureOfExperts(8, num_experts=4, top_k=2, hidden_dim=6, capacity_factor=2.0),
        (torch.randn(2, 5, 8),),
    ),
    related=("Load-balancing loss", "Expert load", "Expert choice routing", "MoE transformer block"),
)
class MixtureOfExperts(nn.Module):
    r"""Layer of E feed-forward experts in which a router sends each token to its k best.

    .. math::
        y = \sum_{e \in \mathrm{top}_k(h)} w_e\, E_e(x), \qquad h = W^{\mathrm{router}} x, \qquad
        w = \operatorname{softmax}(\operatorname{KeepTopK}(h, k))

    where each expert :math:`E_e` is a SwiGLU network.

    Args:
        embed_dim: width C of the input and of the output.
        num_experts: experts E; all of them hold weights.
        top_k: experts k that compute for a token; with k = E all do (the dense mode).
        hidden_dim: width F inside an expert; 8/3 of C, rounded up to a multiple of 8, if not given.
        bias: add biases in the experts.
        capacity_factor: an expert takes at most this many times its even share, rounded up; what comes after is
            dropped. No limit if not given.
        expert_dropout: probability with which a hidden number of an expert is set to 0 while training.
        router: any module from (N, C) to a Routing; ``TopKRouter(embed_dim, num_experts, top_k)`` if not given.

    Shapes:
        x: (..., C). Returns the same shape; with ``need_routing`` also a RoutingStatistics.

    Notice:
        A dropped choice adds nothing and the weights left are not raised: where all choices of a token are dropped,
        its output is 0 and a residual connection carries it on. ``aux_loss`` and ``z_loss`` are numbers from the
        start and belong to the last call alone: add them at every call. With a capacity, a token's seats depend on
        the other tokens of the batch. Without one, the lengths of the groups are read back once a call.

    Raises:
        ValueError: if ``top_k`` is not between 1 and E, the width of x or a given router does not fit, or the
            capacity factor is not positive.

    Source: Shazeer et al. 2017, section 2; capacity: Fedus et al. 2022, equation 3; SwiGLU experts: Jiang et al. 2024.

    >>> layer = MixtureOfExperts(16, num_experts=8, top_k=2)
    >>> y, routing = layer(torch.randn(2, 5, 16), need_routing=True)
    >>> y.shape, int(routing.tokens_per_expert.sum())
    (torch.Size([2, 5, 16]), 20)
    """

    def __init__(
        self,
        embed_dim: int,
        num_experts: int,
        top_k: int = 2,
        *,
        hidden_dim: int | None = None,
        bias: bool = False,
        capacity_factor: float | None = None,
        expert_dropout: float = 0.0,
        router: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if capacity_factor is not None and not capacity_factor > 0:
            raise ValueError(f"capacity_factor is {capacity_factor}, but must be positive, or None for no limit")
        if router is not None and (getattr(router, "num_experts", num_experts), getattr(router, "top_k", top_k)) != (
            num_experts,
            top_k,
        ):
            raise ValueError(
                f"the router sends to {router.top_k} of {router.num_experts} experts, but the layer was given top_k "
                f"{top_k} of num_experts {num_experts}: make both the same"
            )
        self.embed_dim, self.num_experts, self.top_k = embed_dim, num_experts, top_k
        self.capacity_factor = capacity_factor
        self.router = TopKRouter(embed_dim, num_experts, top_k) if router is None else router
        hidden_dim = 8 * math.ceil(embed_dim / 3) if hidden_dim is None else hidden_dim
        self.experts = SwiGLUExperts(num_experts, embed_dim, hidden_dim, bias=bias, dropout=expert_dropout)
        self.load = ExpertLoad(num_experts)
        self.last: Routing | None = None

    @property
    def aux_loss(self) -> Tensor | float:
        """The load-balancing loss of the last call, made when it is read; 0 before the first call."""
        return 0.0 if self.last is None else load_balancing_loss(self.last.probs, self.last.experts)

    @property
    def z_loss(self) -> Tensor | float:
        """The router's z-loss of the last call, made when it is read; 0 before the first call."""
        return 0.0 if self.last is None else router_z_loss(self.last.logits)

    @property
    def expert_load(self) -> Tensor:
        """Each expert's share of the choices, averaged over the training steps; sums to 1."""
        return self.load.share

    def capacity(self, tokens: int) -> int | None:
        """Count the seats that an expert has when this many tokens come; None if there is no limit."""
        if self.capacity_factor is None:
            return None
        seats = self.capacity_factor * tokens * self.top_k / self.num_experts
        return min(tokens, math.ceil(seats - 1e-9 * seats))  # 1.1 * 200 / 4 is 55, and a little more in floating point

    def auxiliary_loss(self, *, balance_weight: float = 0.01, z_weight: float = 0.001) -> Tensor | float:
        """Weigh the two losses of the last call, to be added to the training loss; 0 before the first call."""
        return balance_weight * self.aux_loss + z_weight * self.z_loss

    def flops_per_token(self) -> dict[str, int]:
        """Count multiplications and additions for one token: in the router, in k experts, and in all experts if dense."""
        expert = 2 * sum(w[0].numel() for w in (self.experts.gate, self.experts.up, self.experts.down))
        return {
            "router": 2 * self.embed_dim * self.num_experts,
            "sparse": self.top_k * expert,
            "dense": self.num_experts * expert,
        }

    def forward(self, x: Tensor, *, need_routing: bool = False) -> Tensor | tuple[Tensor, RoutingStatistics]:
        if x.ndim < 1 or x.shape[-1] != self.embed_dim:
            raise ValueError(f"x has shape {tuple(x.shape)}, but this layer was made for width {self.embed_dim}")
        tokens = x.reshape(-1, self.embed_dim)  # (N, C)
        routing = self.last = self.router(tokens)
        self.load(routing.experts)
        if self.top_k == self.num_experts:
            weights = torch.zeros_like(routing.probs, dtype=x.dtype).scatter(1, routing.experts, routing.weights)
            y = torch.einsum("ne,enc->nc", weights, self.experts.every(tokens))
        else:
            y = dispatch(tokens, routing.experts, routing.weights, self.experts, capacity=self.capacity(len(tokens)))
        y = y.view_as(x)
        return (y, self._statistics(routing, x.shape[:-1])) if need_routing else y

    def _statistics(self, routing: Routing, shape: torch.Size) -> RoutingStatistics:
        N, k = routing.experts.shape
        place, count = seats(routing.experts, self.num_experts)
        capacity = N if self.capacity(N) is None or k == self.num_experts else self.capacity(N)
        seated = (place < capacity).view(k, N).T
        mean = routing.probs.detach().sum(dim=0) / max(1, N)  # (E,)
        entropy = torch.special.entr(mean).sum() / math.log(max(2, self.num_experts))
        return RoutingStatistics(
            *(t.reshape(*shape, t.shape[1]) for t in (routing.experts, routing.weights, seated, routing.probs)),
            tokens_per_expert=count.clamp(max=capacity),
            dropped=torch.logical_not(seated).sum().to(mean) / max(1, N * k),
            entropy=entropy,
        )

    def __getstate__(self) -> dict[str, Any]:
        """A copy of the layer starts with the values of the losses, without the graph that made them."""
        last = None if self.last is None else Routing(*(t.detach() for t in self.last))
        return dict(self.__dict__, last=last)
