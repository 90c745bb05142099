"""The router of a mixture of experts: which experts a token is sent to, and with what weight."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.layers.linear import check_width


class Routing(NamedTuple):
    """What a router decided for N tokens.

    Fields: ``logits`` (N, E); ``probs`` (N, E), the softmax of the logits over all experts; ``experts`` (N, k), the
    chosen ones, best first; ``weights`` (N, k), what their outputs are multiplied by.
    """

    logits: Tensor
    probs: Tensor
    experts: Tensor
    weights: Tensor


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    r"""Keep the k largest logits of a token and set all others to minus infinity, so that a softmax gives them 0.

    .. math::
        \operatorname{KeepTopK}(h, k)_e = \begin{cases} h_e & \text{if } h_e \text{ is among the } k \text{ largest} \\
        -\infty & \text{otherwise} \end{cases}

    Args:
        logits: one score for each expert.
        k: how many are kept.

    Shapes:
        logits: (..., E). Returns (..., E).

    Raises:
        ValueError: if k is not between 1 and E.

    Source: Shazeer et al. 2017, equations 3 and 5.

    >>> keep_top_k(torch.tensor([2.0, 1.0, 0.0, 0.5]), 2).softmax(-1)
    tensor([0.7311, 0.2689, 0.0000, 0.0000])
    """
    if not 1 <= k <= logits.shape[-1]:
        raise ValueError(f"k is {k}, but must be between 1 and {logits.shape[-1]}, the number of experts")
    value, index = logits.topk(k, dim=-1)
    return torch.full_like(logits, -math.inf).scatter(-1, index, value)


class TopKRouter(nn.Module):
    r"""Send each token to the k experts with the largest logits.

    .. math::
        h_n = W x_n + \epsilon \odot \operatorname{softplus}(W^{\mathrm{noise}} x_n), \qquad
        w_n = \operatorname{softmax}(\operatorname{KeepTopK}(h_n, k))

    where the noise :math:`\epsilon \sim \mathcal{N}(0, 1)` is there only if ``noisy``, and only while training.

    Args:
        embed_dim: width C of a token.
        num_experts: experts E to choose from.
        top_k: how many a token is sent to; all of them (the dense mode) if equal to ``num_experts``.
        renormalize: let the weights of the chosen experts sum to 1; if not, they are their probabilities among all
            experts, as in the Switch Transformer (with top_k = 1 renormalizing would leave the router no gradient).
        noisy: add noise whose size is learned.
        bias: add a bias to the logits.

    Shapes:
        x: (N, C). Returns a Routing.

    Notice:
        The softmax is taken in float32 at least: bfloat16 logits would tie.

    Raises:
        ValueError: if ``top_k`` is not between 1 and ``num_experts``, or x is not C wide.

    Source: Shazeer et al. 2017, equations 3 to 5; Fedus et al. 2022, section 2.1; Jiang et al. 2024, section 2.1.

    >>> routing = TopKRouter(8, num_experts=4, top_k=2)(torch.randn(3, 8))
    >>> routing.experts.shape, bool(torch.allclose(routing.weights.sum(-1), torch.ones(3)))
    (torch.Size([3, 2]), True)
    """

    def __init__(
        self,
        embed_dim: int,
        num_experts: int,
        top_k: int = 2,
        *,
        renormalize: bool = True,
        noisy: bool = False,
        bias: bool = False,
    ) -> None:
        super().__init__()
        if not 1 <= top_k <= num_experts:
            raise ValueError(
                f"top_k is {top_k}, but must be between 1 and num_experts {num_experts}: a token is sent to some experts"
            )
        self.num_experts, self.top_k, self.renormalize = num_experts, top_k, renormalize
        self.score = nn.Linear(embed_dim, num_experts, bias=bias)
        self.noise = nn.Linear(embed_dim, num_experts, bias=False) if noisy else None
        if self.noise is not None:
            nn.init.zeros_(self.noise.weight)  # softplus(0) = 0.69: at first the same for every token and expert

    def forward(self, x: Tensor) -> Routing:
        check_width(x, self.score.in_features)
        logits = self.score(x)  # (N, E)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if self.noise is not None and self.training:
            logits = logits + torch.randn_like(logits) * F.softplus(self.noise(x)).to(logits)
        probs = logits.softmax(dim=-1)
        kept, experts = logits.topk(self.top_k, dim=-1)  # (N, k)
        weights = kept.softmax(dim=-1) if self.renormalize else probs.gather(-1, experts)
        return Routing(logits, probs, experts, weights.to(x.dtype))
