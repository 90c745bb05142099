"""Temperature softmax: one number that makes the weights sharper or smoother; and how to fit it."""

from __future__ import annotations

import torch
from torch import Tensor

from nnvocab.activation._shared import check_scores, check_temperature, require_finite
from nnvocab.vocabulary import Example, entry


@entry(
    name="Temperature softmax",
    aliases=(
        "Temperature-scaled softmax",
        "temperature scaling",
        "SoftmaxTemperature",
        "tempered softmax",
        "Temperature",
    ),
    ids=("softmax_temperature", "loom_temperature_softmax"),
    page="softmax",
    kind="function",
    paper="guo2017calibration",
    peer="torch.nn.functional.softmax",
    related=("Softmax", "Gumbel-softmax"),
    example=lambda: Example(temperature_softmax, (torch.randn(3, 5), 2.0)),
)
def temperature_softmax(x: Tensor, temperature: float | Tensor = 1.0, dim: int = -1) -> Tensor:
    r"""Divide the scores by a temperature, then take the softmax.

    .. math::
        p_i = \frac{e^{x_i / T}}{\sum_j e^{x_j / T}}

    where :math:`T` is the temperature. Below 1 the weights are sharper, above 1 smoother.

    Args:
        x: scores.
        temperature: T, above 0; a number, or a tensor that broadcasts with x (learned, or one for each row). A tensor
            is not read back, so its sign is not checked.
        dim: the axis along which the weights sum to one.

    Shapes:
        x: any, with at least one score along ``dim``. Returns the same shape.

    Notice:
        As T goes to 0 all weight goes to the largest score (shared if several are largest); as T grows the weights go
        to 1 / C. The order of the weights never changes, so neither does the accuracy of a classifier.

    Raises:
        TypeError: if x is not of a floating-point type.
        ValueError: if temperature is a number and not above 0; if axis ``dim`` is missing or empty.

    Source: Guo et al. 2017, section 4.2 (calibration); Hinton et al. 2015, section 2 (distillation).

    >>> temperature_softmax(torch.tensor([2.0, 1.0, 0.1]), temperature=0.1)
    tensor([9.9995e-01, 4.5398e-05, 5.6025e-09])
    """
    check_scores(x, dim)
    check_temperature(temperature)
    e = torch.exp((x - x.amax(dim, keepdim=True).detach()) / temperature)
    return e / e.sum(dim, keepdim=True)


def temperature_softmax_fused(x: Tensor, temperature: float | Tensor = 1.0, dim: int = -1) -> Tensor:
    """The same function by torch's softmax; the largest score goes first, so that a small T does not overflow."""
    check_scores(x, dim)
    check_temperature(temperature)
    return torch.softmax((x - x.amax(dim, keepdim=True).detach()) / temperature, dim)


def fit_temperature(x: Tensor, target: Tensor, *, steps: int = 50) -> float:
    r"""Find the one temperature that makes a trained classifier's weights honest: the least cross-entropy on held-out data.

    .. math:: T^{*} = \arg\min_T \; -\frac{1}{N} \sum_n \log \operatorname{softmax}(x_n / T)_{y_n}

    The loss is convex in :math:`1/T`, so its slope only rises, and halving an interval of :math:`1/T` finds where it is 0.

    Args:
        x: scores of a trained classifier on data that it was not trained on.
        target: the right classes.
        steps: how often the interval is halved.

    Shapes:
        x: (N, C). target: (N,), integers. Returns a number.

    Raises:
        ValueError: if the shapes do not fit, a class is out of range, a score is not finite, every score of the right
            class is the largest (then T would be 0), or the scores say nothing about the classes (then T would be
            infinite).

    Source: Guo et al. 2017, section 4.2.

    >>> scores = torch.tensor([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [4.0, 0.0]])
    >>> round(fit_temperature(scores, torch.tensor([0, 0, 0, 1])), 3)  # right three times in four: 4 / T = log 3
    3.641
    """
    if x.dim() != 2 or target.shape != x.shape[:1]:
        raise ValueError(f"x is {tuple(x.shape)} and target {tuple(target.shape)}, but (N, C) and (N,) are needed")
    z = require_finite(x.detach().double())
    if not len(z) or bool(((target < 0) | (target >= z.shape[1])).any()):
        seen = f"from {int(target.min())} to {int(target.max())}" if len(z) else "none"
        raise ValueError(f"classes from 0 to {x.shape[1] - 1} are needed, and at least one; target has {seen}")
    right = z.gather(1, target[:, None])  # (N, 1)
    if bool((z.amax(1, keepdim=True) <= right).all()):
        raise ValueError(
            "every score of the right class is the largest, so T goes to 0: fit on data with mistakes in it"
        )

    def slope(beta: float) -> float:
        p = torch.softmax(beta * z, dim=1)  # (N, C)
        return float(((p * z).sum(1, keepdim=True) - right).mean())

    if slope(0.0) >= 0:
        raise ValueError(
            "the score of the right class is on average no higher than the others, so T goes to infinity: check that "
            "target belongs to x, or train the classifier first"
        )
    low, high = 0.0, 1.0  # of 1 / T
    while slope(high) < 0:
        low, high = high, 2 * high
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 2 / (low + high)
