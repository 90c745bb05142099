"""Which of many points are nearest: one matrix product, measured from an origin near the points."""

from __future__ import annotations

import torch
from torch import Tensor


def origin_near(x: Tensor) -> Tensor:
    """Choose an origin amid the points: in each coordinate the median of at most 64 of them.

    A product of large numbers has no digits left for small differences: in float32 the squared distance of two years
    would be off by more than half. From an origin amid the points it is not. A median stays there, whatever a few
    outliers do.

    Shapes:
        x: (B, D), B at least 1. Returns (D,), without a gradient.

    >>> origin_near(torch.tensor([[2001.0], [2003.0], [1e9]]))
    tensor([2003.])
    """
    few = x.detach().unfold(0, 1, (len(x) - 1) // 64 + 1).squeeze(-1)  # every so many rows
    return few.sort(0).values.select(0, (len(few) - 1) // 2)  # the lower median, as torch has it


def nearest_units(x: Tensor, weight: Tensor, k: int = 1) -> Tensor:
    r"""Number the k units nearest to each input, the best first, by one matrix product.

    .. math::
        \operatorname*{argmin}_i \lVert x - w_i \rVert = \operatorname*{argmin}_i \tfrac12 \lVert w_i \rVert^2 - w_i^{\top} x

    Args:
        x: inputs.
        weight: one prototype a unit.
        k: how many units for each input.

    Shapes:
        x: (B, D); weight: (N, D). Returns (B, k).

    Notice:
        Of two units whose distances differ by no more than rounding, either may come first: of the squared distance, in
        float32, about a millionth of the squared extent of the points. Inputs go in portions of at most 4 million scores.

    Raises:
        ValueError: if k is below 1, or there are fewer units.

    >>> nearest_units(torch.tensor([[0.9]]), torch.tensor([[0.0], [1.0], [3.0]]), 2)
    tensor([[1, 0]])
    """
    if not 1 <= k <= len(weight):
        raise ValueError(f"k is {k}, but there are {len(weight)} units: ask for 1 to {len(weight)}")
    if len(x) == 0:
        return torch.empty(0, k, dtype=torch.long, device=x.device)
    origin = origin_near(x)
    near = weight.detach() - origin  # (N, D)
    half = near.square().sum(-1) / 2  # (N,)
    found = []
    for part in x.detach().split(max(1, 2**22 // len(weight))):
        score = torch.addmm(half, part - origin, near.mT, alpha=-1)  # (b, N)
        found.append(score.argmin(-1, keepdim=True) if k == 1 else score.topk(k, largest=False).indices)
    return torch.cat(found) if len(found) != 1 else found[0]  # (B, k)
