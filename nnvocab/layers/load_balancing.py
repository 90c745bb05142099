"""Losses that keep a router healthy: balance among the experts, and logits that stay small."""

from __future__ import annotations

import torch
from torch import Tensor

from nnvocab.vocabulary import Example, entry


def expert_shares(experts: Tensor, num_experts: int) -> Tensor:
    """Each expert's share of all choices; the shares sum to 1, whatever the number of choices a token has.

    Args:
        experts: numbers of chosen experts.
        num_experts: how many experts there are.

    Shapes:
        experts: (...), whole numbers. Returns (E,), float32.

    >>> expert_shares(torch.tensor([[0, 1], [0, 2]]), 4)
    tensor([0.5000, 0.2500, 0.2500, 0.0000])
    """
    choice = experts.reshape(-1)
    count = torch.zeros(num_experts, device=experts.device)
    return count.scatter_add(0, choice, torch.ones_like(choice, dtype=count.dtype)) / max(1, choice.numel())


@entry(
    name="Load-balancing loss",
    aliases=("aux_loss", "load balancing", "load-balancing auxiliary loss", "balance loss"),
    page="experts",
    kind="function",
    ids=("caramba_aux_loss",),
    paper="fedus2022switch",
    peer="transformers.models.mixtral.modeling_mixtral.load_balancing_loss_func",
    example=lambda: Example(
        load_balancing_loss,
        (torch.randn(6, 4).softmax(-1), torch.tensor([[0, 1], [2, 3], [1, 0], [3, 1], [0, 2], [1, 3]])),
        skip={"batch_of_one": "it is one number for the whole batch"},
    ),
    related=("Mixture of experts", "Expert load"),
)
def load_balancing_loss(probs: Tensor, experts: Tensor) -> Tensor:
    r"""Give 1 if tokens spread evenly over the experts, and up to E if all choose the same one.

    .. math::
        L = E \sum_{e=1}^{E} f_e P_e, \qquad
        f_e = \frac{\text{choices of } e}{N k}, \qquad P_e = \frac{1}{N} \sum_{n=1}^{N} p_{ne}

    where :math:`p_{ne}` is the router's probability of expert e for token n, and :math:`f_e` the share of all
    choices that fell on e.

    Args:
        probs: the router's probabilities over all experts.
        experts: the chosen experts.

    Shapes:
        probs: (N, E); experts: (N, k). Returns a number.

    Notice:
        Without any token it is 0. Counting has no gradient: the loss pushes the probabilities :math:`P_e` down where
        the count :math:`f_e` is high. Even shares or even probabilities are enough for the value 1. Dividing the
        counts by N alone, as some libraries do, makes the balanced value k.

    Raises:
        ValueError: if probs and experts are not of the same tokens.

    Source: Fedus et al. 2022, equations 4 to 6 (there with k = 1); add it with a weight of 0.01.

    >>> even = torch.full((4, 4), 0.25)
    >>> load_balancing_loss(even, torch.tensor([[0], [1], [2], [3]]))
    tensor(1.)
    """
    if probs.ndim != 2 or experts.ndim != 2 or len(probs) != len(experts):
        raise ValueError(
            f"probs has shape {tuple(probs.shape)} and experts {tuple(experts.shape)}, but (tokens, experts) and "
            f"(tokens, choices) are needed; flatten the batch and the positions of both"
        )
    N, E = probs.shape
    share = expert_shares(experts, E).to(probs.dtype)  # (E,)
    return E * (share * probs.sum(dim=0)).sum() / max(1, N)


def router_z_loss(logits: Tensor) -> Tensor:
    r"""Punish large logits: the mean square of the logarithm of the softmax's denominator.

    .. math::
        L_z = \frac{1}{N} \sum_{n=1}^{N} \left(\log \sum_{e=1}^{E} \exp h_{ne}\right)^2

    Args:
        logits: the router's logits :math:`h`.

    Shapes:
        logits: (..., E). Returns a number, 0 if there is no token.

    Source: Zoph et al. 2022, equation 5; add it with a weight of 0.001.

    >>> router_z_loss(torch.zeros(3, 1))
    tensor(0.)
    """
    squares = logits.logsumexp(dim=-1).square()  # (...,)
    return squares.sum() / max(1, squares.numel())
