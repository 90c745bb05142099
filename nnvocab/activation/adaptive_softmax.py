"""Adaptive softmax: frequent classes are decided first, rare ones in clusters behind them, with fewer numbers each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.activation._shared import check_scores
from nnvocab.vocabulary import Example, entry


def check_cutoffs(cutoffs: tuple[int, ...], num_classes: int | None = None) -> None:
    """Refuse cutoffs that are not rising numbers of classes.

    Raises:
        ValueError: if they are not positive and rising, or there are no classes behind the last.
    """
    rising = len(cutoffs) > 0 and cutoffs[0] > 0 and all(a < b for a, b in zip(cutoffs, cutoffs[1:], strict=False))
    if not rising or (num_classes is not None and cutoffs[-1] >= num_classes):
        below = "" if num_classes is None else f" below n_classes = {num_classes}"
        raise ValueError(f"cutoffs are {tuple(cutoffs)}, but must be positive, rising numbers{below}, like (100, 1000)")


def adaptive_softmax(x: Tensor, cutoffs: tuple[int, ...], dim: int = -1) -> Tensor:
    r"""Turn the scores of a head and of its tails into the probabilities of all classes.

    .. math::
        p_c = h_c \;\text{ in the head}, \qquad p_c = h_{k}\; t^{(k)}_c \;\text{ in tail } k

    where :math:`h` is the softmax over the frequent classes and one place for each tail, and :math:`t^{(k)}` the softmax
    within tail :math:`k`.

    Args:
        x: scores: the frequent classes, one for each tail, then tail after tail.
        cutoffs: where the head and each tail ends, the last one included: (3, 5, 9) means classes 0 to 2 in the head,
            3 and 4 in the first tail, 5 to 8 in the second.
        dim: the axis of the scores, and of the classes in the result.

    Shapes:
        x: (..., C + tails). Returns (..., C).

    Raises:
        ValueError: if the cutoffs do not rise, or x has not C + tails scores.
    """
    return adaptive_log_softmax(x, cutoffs, dim).exp()


def adaptive_log_softmax(x: Tensor, cutoffs: tuple[int, ...], dim: int = -1) -> Tensor:
    """Give the logarithm of ``adaptive_softmax``, which stays finite for the rarest class.

    Shapes:
        x: (..., C + tails). Returns (..., C).
    """
    check_scores(x, dim)
    check_cutoffs(cutoffs)
    count = len(cutoffs) - 1
    if x.shape[dim] != cutoffs[-1] + count:
        raise ValueError(
            f"x has {x.shape[dim]} scores along axis {dim}, but cutoffs {tuple(cutoffs)} need "
            f"{cutoffs[-1]} classes and {count} for the tails: {cutoffs[-1] + count}"
        )
    sizes = [cutoffs[0] + count, *(b - a for a, b in zip(cutoffs, cutoffs[1:], strict=False))]
    head, *tails = x.movedim(dim, -1).split(sizes, dim=-1)
    return _join(head, tails).movedim(-1, dim)


def _join(head: Tensor, tails: Sequence[Tensor]) -> Tensor:
    """Put the log-probabilities of the head and of its tails side by side: (..., c + K), K of (..., c_k) -> (..., C)."""
    head = torch.log_softmax(head, dim=-1)
    frequent = head.shape[-1] - len(tails)
    parts = [head.narrow(-1, 0, frequent)]
    parts += [head.narrow(-1, frequent + k, 1) + torch.log_softmax(tail, dim=-1) for k, tail in enumerate(tails)]
    return torch.cat(parts, dim=-1)


@entry(
    name="Adaptive softmax",
    aliases=("SoftmaxAdaptive", "Adaptive"),
    page="softmax_family",
    kind="layer",
    paper="grave2017efficient",
    peer="torch.nn.AdaptiveLogSoftmaxWithLoss",
    related=("Hierarchical softmax", "Softmax"),
    example=lambda: Example(AdaptiveSoftmax(8, 12, (4, 8), div_value=2.0), (torch.randn(3, 8),)),
)
class AdaptiveSoftmax(nn.Module):
    r"""Output layer for many classes of unequal frequency: a head of full width, tails of less and less.

    .. math::
        p_c = \operatorname{softmax}(W_h x)_c \;\text{ in the head}, \qquad
        p_c = \operatorname{softmax}(W_h x)_{k}\, \operatorname{softmax}(U_k D_k x)_c \;\text{ in tail } k

    where :math:`W_h` scores the frequent classes and one place for each tail, and :math:`D_k` narrows the features before
    :math:`U_k` scores the classes of the tail.

    Args:
        in_features: width C of the features.
        n_classes: number of classes, sorted from frequent to rare.
        cutoffs: where the head and each tail but the last ends.
        div_value: tail k has width in_features / div_value ** k.
        head_bias: add a bias to the head.

    Shapes:
        x: (..., C). Returns the probabilities (..., n_classes).

    Notice:
        A class of the head costs one product of scores; the tails are only computed for samples that need them
        (``loss``). The model is a two-level tree, so it is not the softmax over all classes with fewer operations.

    Raises:
        ValueError: if the cutoffs do not rise below n_classes, div_value is below 1, or a tail would have width 0.

    Source: Grave et al. 2017, section 4; arguments and start as in torch.nn.AdaptiveLogSoftmaxWithLoss.

    >>> layer = AdaptiveSoftmax(16, 1000, cutoffs=(50, 200))
    >>> sum(p.numel() for p in layer.parameters()), 16 * 1000  # against one matrix
    (2312, 16000)
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: tuple[int, ...],
        div_value: float = 4.0,
        head_bias: bool = False,
    ) -> None:
        super().__init__()
        check_cutoffs(tuple(cutoffs), n_classes)
        self.in_features, self.n_classes, self.div_value = in_features, n_classes, div_value
        self.cutoffs = (*cutoffs, n_classes)
        if not div_value >= 1:
            raise ValueError(f"div_value is {div_value}, but must be at least 1: the tails are narrower than the head")
        widths = [int(in_features // div_value ** (k + 1)) for k in range(len(cutoffs))]
        if min(widths) < 1:
            raise ValueError(
                f"the tails would have widths {widths}: give a smaller div_value than {div_value} or fewer cutoffs"
            )
        self.head = nn.Linear(in_features, cutoffs[0] + len(cutoffs), bias=head_bias)
        self.tail = nn.ModuleList(
            nn.Sequential(nn.Linear(in_features, w, bias=False), nn.Linear(w, b - a, bias=False))
            for w, a, b in zip(widths, self.cutoffs, self.cutoffs[1:], strict=False)
        )

    def log_prob(self, x: Tensor) -> Tensor:
        """Give the log-probabilities of all classes: (..., C) -> (..., n_classes)."""
        return _join(self.head(x), [tail(x) for tail in self.tail])

    def loss(self, x: Tensor, target: Tensor) -> Tensor:
        """Give the mean cross-entropy, computing of each tail only the samples whose class lies in it.

        Shapes:
            x: (N, C). target: (N,), integers. Returns a number. Choosing the samples reads their count back.

        Raises:
            ValueError: if the shapes do not fit, or a target is no class.
        """
        if x.dim() != 2 or target.shape != x.shape[:1]:
            raise ValueError(f"x is {tuple(x.shape)} and target {tuple(target.shape)}, but (N, C) and (N,) are needed")
        if bool(((target < 0) | (target >= self.n_classes)).any()):
            raise ValueError(f"target holds a class outside of 0 to {self.n_classes - 1}: take such samples out first")
        place = target
        for k, (a, b) in enumerate(zip(self.cutoffs, self.cutoffs[1:], strict=False)):
            place = torch.where((target >= a) & (target < b), self.cutoffs[0] + k, place)
        total = F.cross_entropy(self.head(x), place, reduction="sum")
        for tail, a, b in zip(self.tail, self.cutoffs, self.cutoffs[1:], strict=False):
            rows = ((target >= a) & (target < b)).nonzero()[:, 0]
            if len(rows):
                total = total + F.cross_entropy(tail(x[rows]), target[rows] - a, reduction="sum")
        return total / len(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.log_prob(x).exp()
