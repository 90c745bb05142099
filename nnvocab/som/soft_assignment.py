"""Soft cluster assignment: how much a point belongs to each of several centres."""

from __future__ import annotations

import torch
from torch import Tensor

from nnvocab.som.nearest import origin_near
from nnvocab.vocabulary import Example, entry

DISTANCES = ("squared", "euclidean", "manhattan", "cosine")
"""The distances from a point to a centre."""


def centre_distance(z: Tensor, centres: Tensor, distance: str = "squared") -> Tensor:
    r"""Measure how far every point is from every centre.

    .. math::
        d = \lVert z - c \rVert_2^2,\qquad d = \lVert z - c \rVert_2,\qquad d = \lVert z - c \rVert_1,\qquad
        d = 1 - \frac{z^{\top} c}{\lVert z \rVert\, \lVert c \rVert}

    Args:
        z: points.
        centres: K of them.
        distance: "squared", "euclidean", "manhattan" or "cosine".

    Shapes:
        z: (..., D); centres: (K, D). Returns (..., K).

    Notice:
        Where a point lies on a centre, the Euclidean and the Manhattan distance have no derivative; 0 stands for it.

    Raises:
        ValueError: if the distance is unknown, the widths differ, or the centres are not (K, D).

    >>> centre_distance(torch.tensor([[0.0, 3.0]]), torch.tensor([[4.0, 0.0], [0.0, 1.0]]), "euclidean")
    tensor([[5., 2.]])
    """
    check_distance(distance)
    check_centres(z, centres)
    if distance == "cosine":
        norms = torch.linalg.vector_norm(z, dim=-1, keepdim=True) * torch.linalg.vector_norm(centres, dim=-1)
        return 1 - z @ centres.mT / norms.clamp_min(1e-12)
    difference = z.unsqueeze(-2) - centres  # (..., K, D)
    if distance == "squared":
        return difference.square().sum(-1)
    return torch.linalg.vector_norm(difference, ord=2 if distance == "euclidean" else 1, dim=-1)


def check_distance(distance: str) -> None:
    """Refuse a distance that does not exist.

    Raises:
        ValueError: if it is not among the four.
    """
    if distance not in DISTANCES:
        raise ValueError(f"distance is {distance!r}, but must be one of {DISTANCES}")


def check_centres(z: Tensor, centres: Tensor) -> None:
    """Refuse centres that are not (K, D), and points of another width.

    Raises:
        ValueError: if they do not fit.
    """
    if centres.dim() != 2 or len(centres) == 0:
        raise ValueError(f"centres have shape {tuple(centres.shape)}, but (K, D) with at least one centre is needed")
    if z.dim() == 0:
        raise ValueError(f"z is one number, but points of shape (..., {centres.shape[-1]}) are needed")
    if z.shape[-1] != centres.shape[-1]:
        raise ValueError(f"z has width {z.shape[-1]}, but the centres have {centres.shape[-1]}")


@entry(
    name="Soft cluster assignment",
    aliases=("soft assignment", "P(cluster k)"),
    ids=("loom_kmeans_soft_assignment",),
    page="prototypes",
    kind="function",
    paper="rose1990deterministic",
    peer="sklearn.mixture.GaussianMixture",
    related=("Differentiable k-means layer",),
    example=lambda: Example(
        soft_assignment, (torch.randn(4, 3), torch.randn(5, 3)), skip={"batch_of_one": "the centres are not a batch"}
    ),
)
def soft_assignment(z: Tensor, centres: Tensor, temperature: float = 1.0, distance: str = "squared") -> Tensor:
    r"""Share each point among the centres, the more the nearer.

    .. math::
        p_k(z) = \frac{\exp(-d(z, c_k) / \tau)}{\sum_j \exp(-d(z, c_j) / \tau)}

    Args:
        z: points.
        centres: :math:`c`, K of them.
        temperature: :math:`\tau`, above 0.
        distance: :math:`d`: "squared", "euclidean", "manhattan" or "cosine".

    Shapes:
        z: (..., D); centres: (K, D). Returns (..., K), which sums to 1.

    Notice:
        As :math:`\tau` goes to 0 the nearest centre takes all. With the squared distance and :math:`\tau = 2\sigma^2`
        it is the posterior of a mixture of K equally likely Gaussians of variance :math:`\sigma^2`. The smallest
        distance is subtracted first, so that no exponential overflows and the sum is never 0.

    Raises:
        ValueError: if the temperature is not above 0, the distance is unknown or the widths differ.

    Source: Rose, Gurewitz and Fox 1990. The memberships of fuzzy c-means (Bezdek 1981) are another formula: they divide
    powers of distances and have no exponential.

    >>> soft_assignment(torch.zeros(1, 1), torch.tensor([[1.0], [2.0]]), 1.0, "euclidean")
    tensor([[0.7311, 0.2689]])
    """
    check_temperature(temperature)
    logit = -centre_distance(z, centres, distance) / temperature  # (..., K)
    share = torch.exp(logit - logit.amax(-1, keepdim=True))
    return share / share.sum(-1, keepdim=True)


def soft_assignment_fused(z: Tensor, centres: Tensor, temperature: float = 1.0, distance: str = "squared") -> Tensor:
    """The same shares; the squared distance by a matrix product, without the part that all centres have in common.

    The product is measured from an origin amid the points, see ``origin_near``: where points and centres are far from 0,
    the digits that tell two centres apart would be lost.
    """
    check_temperature(temperature)
    if distance == "squared":
        check_centres(z, centres)
        if z.numel() == 0:
            return z.new_empty(*z.shape[:-1], len(centres))
        origin = origin_near(z.reshape(-1, z.shape[-1]))
        z, centres = z - origin, centres - origin
        return ((2 * (z @ centres.mT) - centres.square().sum(-1)) / temperature).softmax(-1)
    return (-centre_distance(z, centres, distance) / temperature).softmax(-1)


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that is not above 0.

    Raises:
        ValueError: if it is 0 or below.
    """
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, but must be above 0; for the nearest centre alone take argmin")
