"""Mixture of softmaxes: several softmaxes, mixed with weights that depend on the context."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.activation._shared import check_scores
from nnvocab.vocabulary import Example, entry


def mixture_of_softmaxes(x: Tensor, prior: Tensor, dim: int = -1) -> Tensor:
    r"""Mix K softmaxes with weights that are a softmax themselves.

    .. math::
        p = \sum_{k} \pi_k \operatorname{softmax}(x_k), \qquad \pi = \operatorname{softmax}(r)

    where :math:`x_k` are the scores of component :math:`k` and :math:`r` those of the components.

    Args:
        x: scores of every component; the components stand on the last axis but that of the classes.
        prior: the scores r of the components.
        dim: the axis of the classes in x; in the result they stand last.

    Shapes:
        x: (..., K, V). prior: (..., K). Returns (..., V).

    Raises:
        ValueError: if prior is not x without the axis of the classes.
    """
    return mixture_of_log_softmaxes(x, prior, dim).exp()


def mixture_of_log_softmaxes(x: Tensor, prior: Tensor, dim: int = -1) -> Tensor:
    """Give the logarithm of ``mixture_of_softmaxes`` by a logsumexp over the components.

    Shapes:
        x: (..., K, V). prior: (..., K). Returns (..., V).
    """
    check_scores(x, dim)
    if x.dim() < 2 or prior.shape != x.movedim(dim, -1).shape[:-1]:
        raise ValueError(
            f"x is {tuple(x.shape)} and prior {tuple(prior.shape)}, but (..., K, V) and (..., K) are needed: "
            "one score of the prior for each component"
        )
    logs = torch.log_softmax(x.movedim(dim, -1), dim=-1) + torch.log_softmax(prior, dim=-1).unsqueeze(-1)
    return logs.logsumexp(dim=-2)  # (..., K, V) -> (..., V)


@entry(
    name="Mixture of softmaxes",
    aliases=("MoS", "SoftmaxMixture"),
    page="softmax_family",
    kind="layer",
    paper="yang2018breaking",
    related=("Softmax", "Adaptive softmax"),
    example=lambda: Example(MixtureOfSoftmaxes(8, 5, num_softmaxes=3), (torch.randn(2, 8),)),
)
class MixtureOfSoftmaxes(nn.Module):
    r"""Output layer that mixes several softmaxes over the same class vectors.

    .. math::
        p = \sum_{k=1}^{K} \pi_k(x) \operatorname{softmax}\big(W \tanh(A_k x)\big), \qquad
        \pi(x) = \operatorname{softmax}(R x)

    where the rows of :math:`W` are the class vectors, shared by all :math:`K` components.

    Args:
        in_features: width C of the features.
        n_classes: number of classes V.
        num_softmaxes: components K.

    Shapes:
        x: (..., C). Returns the probabilities (..., V).

    Notice:
        The log-probabilities of one softmax over all contexts are a matrix of rank C + 1 at most (C + 2 with a bias); those
        of the mixture are not bound by that. The price is K softmaxes over all V classes.

    Raises:
        ValueError: if num_softmaxes is below 1.

    Source: Yang et al. 2018, section 2.

    >>> layer = MixtureOfSoftmaxes(4, 10, num_softmaxes=3)
    >>> layer(torch.zeros(2, 4)).shape
    torch.Size([2, 10])
    """

    def __init__(self, in_features: int, n_classes: int, num_softmaxes: int) -> None:
        super().__init__()
        if num_softmaxes < 1:
            raise ValueError(
                f"num_softmaxes is {num_softmaxes}, but at least 1 is needed: 1 is a softmax behind a tanh"
            )
        self.num_softmaxes = num_softmaxes
        self.prior = nn.Linear(in_features, num_softmaxes, bias=False)
        self.latent = nn.Linear(in_features, num_softmaxes * in_features)
        self.decoder = nn.Linear(in_features, n_classes)

    def log_prob(self, x: Tensor) -> Tensor:
        """Give the log-probabilities: (..., C) -> (..., V)."""
        latent = torch.tanh(self.latent(x)).unflatten(-1, (self.num_softmaxes, -1))  # (..., K, C)
        return mixture_of_log_softmaxes(self.decoder(latent), self.prior(x))  # (..., K, V), (..., K) -> (..., V)

    def forward(self, x: Tensor) -> Tensor:
        return self.log_prob(x).exp()
