"""Parallel k-means experts: several k-means layers look at one input, and a linear head reads what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nnvocab.som import KMeansLayer
from nnvocab.vocabulary import Example, entry


def _example() -> Example:
    torch.manual_seed(0)
    return Example(KMeansExperts(4, 3, num_clusters=(3, 2), temperature=2.0), (torch.randn(5, 4),))


@dataclass(frozen=True)
class ExpertTrace:
    """What decided each prediction: for B samples and N experts.

    Args:
        cluster: the nearest centre of each expert, (B, N).
        weight: the share of each expert in the output, (B, N); equal shares where all are concatenated.
        contribution: what each expert added to the logit of the predicted class, (B, N).
        prediction: the predicted class, (B,).
    """

    cluster: Tensor
    weight: Tensor
    contribution: Tensor
    prediction: Tensor


@entry(
    name="Parallel k-means experts",
    aliases=("Parallel KMeans experts (RN6 pattern)", "RN6", "Recursive Neuro-Symbolic 6"),
    ids=("par_kmeans_experts",),
    page="neurosymbolic",
    kind="block",
    paper="chen2019looks",
    evidence="speculative",
    example=_example,
    related=("Differentiable k-means layer", "Parallel layer", "Filter combine mode"),
)
class KMeansExperts(nn.Module):
    r"""Classify by what several k-means layers, side by side, say about the input.

    .. math::
        \begin{aligned}
        y &= W\,[p_1(x); \dots; p_N(x)] + b && \text{concat} \\
        y &= \sum_i g_i(x)\, W_i\, p_i(x) + b, \quad g(x) = \operatorname{softmax}(G x + c) && \text{filter}
        \end{aligned}

    where :math:`p_i(x)` are the probabilities of the clusters of expert :math:`i`.

    Args:
        in_features: width C of the input.
        num_classes: classes to tell apart.
        num_clusters: clusters of each expert; their number is the number of experts N.
        mode: "concat", or "filter" with a gate :math:`G, c` that weighs the experts.
        temperature: of the cluster probabilities.
        generator: draws the first centres.

    Shapes:
        x: (B, C). Returns logits (B, num_classes).

    Notice:
        Call ``init_centres`` with data first. ``trace`` says exactly what each expert added to a logit. That is arithmetic, not a
        reason: a cluster need not be a concept that anybody would name, and other seeds find other clusters.

    Raises:
        ValueError: if there is no expert, the mode is unknown, or the input has another width.

    Source: the idea of deciding by likeness to prototypes is Chen et al. 2019, section 2.1. The arrangement in parallel has no
    publication with baselines.

    >>> experts = KMeansExperts(4, 3, num_clusters=(5, 2))
    >>> experts(torch.zeros(2, 4)).shape, experts.trace(torch.zeros(2, 4)).cluster.shape
    (torch.Size([2, 3]), torch.Size([2, 2]))
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        num_clusters: Sequence[int],
        *,
        mode: str = "concat",
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not num_clusters:
            raise ValueError("num_clusters is empty, but names the clusters of each expert: give one number at least")
        if mode not in ("concat", "filter"):
            raise ValueError(f"mode is {mode!r}, but must be 'concat' or 'filter'")
        self.in_features, self.mode = in_features, mode
        self.experts = nn.ModuleList(
            KMeansLayer(K, in_features, temperature=temperature, generator=generator) for K in num_clusters
        )
        self.heads = nn.ModuleList(nn.Linear(K, num_classes, bias=False) for K in num_clusters)
        self.bias = nn.Parameter(torch.zeros(num_classes))
        self.gate = nn.Linear(in_features, len(num_clusters)) if mode == "filter" else None

    def init_centres(self, x: Tensor, *, generator: torch.Generator | None = None) -> None:
        """Spread the centres of every expert over the data, each expert by a draw of its own."""
        for expert in self.experts:
            expert.init_centres(x, generator=generator)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What each expert adds, (B, N, classes), its share, (B, N), and its nearest centre, (B, N)."""
        if x.ndim != 2 or x.shape[1] != self.in_features:
            raise ValueError(f"x has shape {tuple(x.shape)}, but (B, {self.in_features}) is needed")
        found = [expert(x) for expert in self.experts]  # each (B, K)
        added = torch.stack([head(p) for head, p in zip(self.heads, found, strict=True)], dim=1)  # (B, N, classes)
        share = x.new_ones(len(x), len(found)) if self.gate is None else self.gate(x).softmax(dim=-1)
        return added * share.unsqueeze(-1), share, torch.stack([p.argmax(dim=-1) for p in found], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.parts(x)[0].sum(dim=1) + self.bias

    @torch.no_grad()
    def trace(self, x: Tensor) -> ExpertTrace:
        """Say which cluster of which expert decided each prediction."""
        added, share, cluster = self.parts(x)
        prediction = (added.sum(dim=1) + self.bias).argmax(dim=-1)
        of_class = added.gather(2, prediction[:, None, None].expand(-1, added.shape[1], 1)).squeeze(-1)  # (B, N)
        return ExpertTrace(cluster, share / share.sum(dim=1, keepdim=True), of_class, prediction)
