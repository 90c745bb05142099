"""What trained prototypes can be read for: examples, symbols, and how strange an input is."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nnvocab.som.soft_assignment import centre_distance
from nnvocab.vocabulary import Example, entry


class PrototypeReading(NamedTuple):
    """What is read: per input its symbol and its distance; per centre the input nearest to it and how far that is."""

    symbol: Tensor
    distance: Tensor
    example: Tensor
    gap: Tensor


@entry(
    name="Uses of prototype layers",
    aliases=("interpretability", "OOD detection", "neuro-symbolic bridge"),
    ids=("loom_kmeans_uses",),
    page="prototypes",
    kind="concept",
    paper="chen2019looks",
    related=("Differentiable k-means layer", "Recursive k-means layers"),
    example=lambda: Example(
        read_prototypes,
        (torch.randn(6, 3), torch.randn(4, 3)),
        skip={"batch_of_one": "the example of a centre is chosen among the whole batch"},
    ),
)
def read_prototypes(z: Tensor, centres: Tensor, distance: str = "squared") -> PrototypeReading:
    r"""Read centres as prototypes: a symbol and a strangeness for each input, an example for each centre.

    .. math::
        \begin{aligned}
        \text{symbol}(z) &= \operatorname*{argmin}_k d(z, c_k) & \text{distance}(z) &= \min_k d(z, c_k) \\
        \text{example}(k) &= \operatorname*{argmin}_z d(z, c_k) & \text{gap}(k) &= \min_z d(z, c_k)
        \end{aligned}

    Args:
        z: encoded inputs.
        centres: K of them.
        distance: "squared", "euclidean", "manhattan" or "cosine".

    Shapes:
        z: (B, D); centres: (K, D). Returns symbol (B,), distance (B,), example (K,) and gap (K,).

    Notice:
        A centre is a point of the space of features; nothing puts it on an input. Show the example and say how large
        the gap is. A small distance says that an input lands near a centre, not that it is of its kind.

    Raises:
        ValueError: if the distance is unknown, the widths differ, z is not (B, D), or there is no input.

    Source: Chen et al. 2019, who move each prototype onto its nearest training patch; strangeness by distance:
    van Amersfoort et al. 2020.

    >>> read_prototypes(torch.tensor([[0.0], [4.0]]), torch.tensor([[5.0], [1.0]]), "euclidean")
    PrototypeReading(symbol=tensor([1, 0]), distance=tensor([1., 1.]), example=tensor([1, 0]), gap=tensor([1., 1.]))
    """
    if z.dim() != 2:
        raise ValueError(f"z has shape {tuple(z.shape)}, but (B, D) is needed; for one input give z[None]")
    if len(z) == 0:
        raise ValueError("z is empty, but each centre needs an input to stand for it")
    apart = centre_distance(z, centres, distance)  # (B, K)
    (near, symbol), (gap, example) = apart.min(-1), apart.min(0)
    return PrototypeReading(symbol, near, example, gap)
