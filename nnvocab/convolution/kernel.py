"""Kernel and weight sharing: the same few weights at every position, and what follows from that."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nnvocab.convolution.conv2d import conv2d_torch
from nnvocab.vocabulary import Example, entry


@entry(
    name="Kernel and weight sharing",
    page="one_kernel",
    kind="concept",
    aliases=(
        "kernel",
        "filter",
        "weight sharing",
        "Convolution kernel / filter and weight sharing",
        "convolution kernel",
        "translation equivariance",
    ),
    ids=("loom_kernel",),
    paper="fukushima1980neocognitron",
    peer="torch.nn.functional.conv2d",
    example=lambda: Example(
        lambda x, w: equivariance_gap(lambda z: conv2d_torch(z, w, padding=1), x, 1),
        (torch.randn(2, 1, 5, 5), torch.randn(1, 1, 3, 3)),
    ),
    related=("2D convolution", "Convolution as a matrix", "Padding"),
)
def equivariance_gap(
    layer: Callable[[Tensor], Tensor], x: Tensor, shift: int, *, output_shift: int | None = None
) -> Tensor:
    r"""Measure how far a layer is from answering a shifted input with an equally shifted output.

    .. math::
        g = \frac{\lVert f(S_a x) - S_b f(x) \rVert}{\lVert f(x) \rVert}

    where :math:`S_a` shifts the last two axes by :math:`a` positions, going round at the edge.

    Args:
        layer: a function :math:`f` from images to feature maps.
        x: images.
        shift: positions :math:`a` by which the input is shifted along height and width.
        output_shift: positions :math:`b` expected of the output; the same as ``shift`` if None. With 0 the function
            measures invariance, and with ``shift`` / stride the equivariance of a layer with a stride.

    Shapes:
        x: (B, C, H, W). Returns (B,): 0 is exact equivariance; two unrelated outputs are about 1.4 apart.

    Notice:
        A kernel that is shared by all positions gives 0 if the padding is circular and the stride is 1. Zero padding
        leaves a gap at the edges. With stride s only shifts by multiples of s keep the gap at 0. Where the layer
        answers 0 everywhere, no relative gap exists and the result is NaN.

    Raises:
        ValueError: if x or the layer's answer has no height and width to be shifted.

    Source: Fukushima 1980, section 2 (the cells of a plane share their connections); Zhang 2019, section 3.

    >>> x = torch.randn(1, 1, 8, 8)
    >>> bool(equivariance_gap(torch.relu, x, 3) == 0)
    True
    """
    if x.dim() != 4:
        raise ValueError(f"x has shape {tuple(x.shape)}, but 4 axes are needed: batch, channels, height, width")
    plain = layer(x)
    if plain.dim() != 4:
        raise ValueError(
            f"the layer's answer has shape {tuple(plain.shape)}, but 4 axes are needed: what is flattened has no "
            f"height and width to be shifted; measure the layers before it"
        )
    back = shift if output_shift is None else output_shift
    expected = plain.roll((back, back), (-2, -1))
    actual = layer(x.roll((shift, shift), (-2, -1)))
    return (actual - expected).flatten(1).norm(dim=1) / plain.flatten(1).norm(dim=1)  # (B,)
