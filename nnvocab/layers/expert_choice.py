"""Expert choice routing: the experts choose their tokens, so that each is exactly full."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.layers.experts import SwiGLUExperts
from nnvocab.vocabulary import Example, entry


class ExpertChoices(NamedTuple):
    """Who chose whom. G groups of N tokens.

    Fields: ``tokens`` (G, E, k), the numbers of the tokens that each expert took, best first; ``gates`` (G, E, k),
    their affinities; ``experts_per_token`` (..., ), how many experts chose each token, which may be 0.
    """

    tokens: Tensor
    gates: Tensor
    experts_per_token: Tensor


def mix_chosen(x: Tensor, affinity: Tensor, gate: Tensor, up: Tensor, down: Tensor, *, capacity: int) -> Tensor:
    r"""Let every expert take the tokens with the highest affinity to it, one expert and one token at a time.

    .. math::
        y_n = \sum_{e:\, n \in \mathcal{T}_e} S_{en}\, E_e(x_n), \qquad
        \mathcal{T}_e = \text{the } k \text{ tokens with the largest } S_{en}

    Args:
        x: tokens that are chosen from.
        affinity: :math:`S`, of each expert to each token.
        gate, up, down: the three projections of each expert, stacked.
        capacity: how many tokens k each expert takes.

    Shapes:
        x: (N, C); affinity: (E, N); gate and up: (E, F, C); down: (E, C, F). Returns (N, C).
    """
    y = [torch.zeros_like(token) for token in x]
    for e in range(len(down)):
        for n in affinity[e].argsort(descending=True, stable=True)[:capacity].tolist():
            hidden = F.silu(gate[e] @ x[n]) * (up[e] @ x[n])  # (F,)
            y[n] = y[n] + affinity[e, n] * (down[e] @ hidden)
    return torch.stack(y)


def mix_chosen_batched(x: Tensor, affinity: Tensor, gate: Tensor, up: Tensor, down: Tensor, *, capacity: int) -> Tensor:
    """The same function: all experts are full, so that one batched product serves them."""
    network = SwiGLUExperts.from_weights(gate, up, down)
    return gather_and_scatter(x[None], *affinity[None].topk(capacity), network)[0]


def gather_and_scatter(x: Tensor, gates: Tensor, tokens: Tensor, network: SwiGLUExperts) -> Tensor:
    """Bring the chosen tokens to their experts, and what comes back, times its gate, to the tokens.

    Shapes:
        x: (G, N, C); gates and tokens: (G, E, k). Returns (G, N, C).
    """
    G, N, C = x.shape
    E, k = tokens.shape[1:]
    index = (tokens + N * torch.arange(G, device=x.device).view(G, 1, 1)).transpose(0, 1).reshape(-1)  # (E*G*k,)
    taken = x.reshape(G * N, C).index_select(0, index).view(E, G * k, C)
    out = network.batch(taken).view(-1, C) * gates.transpose(0, 1).reshape(-1, 1)  # (E*G*k, C)
    return x.new_zeros(G * N, C).index_add(0, index, out.to(x.dtype)).view(G, N, C)


@entry(
    name="Expert choice routing",
    aliases=("EC routing", "inverse MoE", "ExpertChoiceRouting"),
    page="experts",
    ids=("expert_choice_routing",),
    paper="zhou2022mixture",
    example=lambda: Example(
        ExpertChoice(8, num_experts=4, capacity_factor=2.0, hidden_dim=6, per_sequence=True), (torch.randn(2, 6, 8),)
    ),
    related=("Mixture of experts", "Load-balancing loss"),
)
class ExpertChoice(nn.Module):
    r"""Layer of E experts, each of which takes the k tokens that it has the highest affinity to.

    .. math::
        S = \operatorname{softmax}_{\text{experts}}(W x)^{\top} \in \mathbb{R}^{E \times N}, \qquad
        G, I = \operatorname{TopK}(S, k), \qquad k = \frac{N c}{E}

    where N tokens are chosen from and c is the capacity factor: how many experts see a token on average.

    Args:
        embed_dim: width C of the input and of the output.
        num_experts: experts E.
        capacity_factor: c, the mean number of experts a token; k is rounded up.
        hidden_dim: width F inside an expert; 8/3 of C, rounded up to a multiple of 8, if not given.
        bias: add biases in the experts.
        expert_dropout: probability with which a hidden number of an expert is set to 0 while training.
        per_sequence: choose within each sequence; if not, among all tokens of the batch, as in the paper.

    Shapes:
        x: (..., T, C). Returns the same shape; with ``need_routing`` also ExpertChoices.

    Notice:
        The load is balanced by design, and no loss is needed. The price: a token may be chosen by no expert (its
        output is 0), and whether it is chosen depends on the tokens after it, which a model that writes text does
        not have yet.

    Raises:
        ValueError: if c is not in (0, E], or the input does not fit.

    Source: Zhou et al. 2022, section 3.2, equations 1 and 2.

    >>> layer = ExpertChoice(16, num_experts=4, capacity_factor=2)
    >>> y, choices = layer(torch.randn(2, 6, 16), need_routing=True)
    >>> choices.tokens.shape, float(choices.experts_per_token.float().mean())
    (torch.Size([1, 4, 6]), 2.0)
    """

    def __init__(
        self,
        embed_dim: int,
        num_experts: int,
        capacity_factor: float = 2.0,
        *,
        hidden_dim: int | None = None,
        bias: bool = False,
        expert_dropout: float = 0.0,
        per_sequence: bool = False,
    ) -> None:
        super().__init__()
        if not 0 < capacity_factor <= num_experts:
            raise ValueError(
                f"capacity_factor is {capacity_factor}, but must be above 0 and at most num_experts {num_experts}: it is "
                f"the mean number of experts that see a token"
            )
        self.embed_dim, self.num_experts = embed_dim, num_experts
        self.capacity_factor, self.per_sequence = capacity_factor, per_sequence
        self.score = nn.Linear(embed_dim, num_experts, bias=False)
        hidden_dim = 8 * math.ceil(embed_dim / 3) if hidden_dim is None else hidden_dim
        self.experts = SwiGLUExperts(num_experts, embed_dim, hidden_dim, bias=bias, dropout=expert_dropout)

    def capacity(self, tokens: int) -> int:
        """Count the tokens k that each expert takes out of so many."""
        taken = tokens * self.capacity_factor / self.num_experts
        return min(tokens, math.ceil(taken - 1e-9 * taken))  # a product like 1.1 * 10 is a little too large

    def forward(self, x: Tensor, *, need_routing: bool = False) -> Tensor | tuple[Tensor, ExpertChoices]:
        if x.ndim < 2 or x.shape[-1] != self.embed_dim:
            raise ValueError(f"x has shape {tuple(x.shape)}, but this layer needs (..., positions, {self.embed_dim})")
        G = x.shape[:-2].numel() if self.per_sequence else 1
        groups = x.reshape(G, x.shape[:-1].numel() // max(1, G), self.embed_dim)  # (G, N, C)
        logits = self.score(groups)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        affinity = logits.softmax(dim=-1).transpose(1, 2)  # over experts; (G, N, E) -> (G, E, N)
        gates, tokens = affinity.topk(self.capacity(groups.shape[1]), dim=-1)  # (G, E, k)
        y = gather_and_scatter(groups, gates.to(x.dtype), tokens, self.experts).view_as(x)
        if not need_routing:
            return y
        chosen = torch.zeros(groups.shape[:2], dtype=torch.long, device=x.device)
        chosen = chosen.scatter_add_(1, tokens.flatten(1), torch.ones_like(tokens).flatten(1))
        return y, ExpertChoices(tokens, gates, chosen.view(x.shape[:-1]))
