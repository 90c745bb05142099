"""Receptive field: the part of the input that one output can see."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nnvocab.vocabulary import entry


@entry(
    name="Receptive field",
    page="one_kernel",
    kind="concept",
    aliases=("field of view of a unit",),
    paper="luo2016receptive",
    related=("Stride", "Dilated convolution", "Feature maps"),
)
def receptive_field(layers: Sequence[tuple[int, int, int]]) -> tuple[int, int]:
    r"""How many input positions along one axis a stack of windowed layers sees, and how far apart its outputs lie.

    .. math::
        r_\ell = r_{\ell - 1} + d_\ell (k_\ell - 1)\, j_{\ell - 1}, \qquad j_\ell = s_\ell\, j_{\ell - 1},
        \qquad r_0 = j_0 = 1

    Args:
        layers: for each convolution or pooling, from input to output: kernel size k, stride s, dilation d.

    Returns:
        The receptive field r and the distance j between two neighbouring outputs, in input positions.

    Notice:
        It grows by a sum along depth, but each stride multiplies all that come after it, and so do growing dilations.

    Raises:
        ValueError: if a layer is not three whole numbers of at least 1.

    Source: Araujo et al. 2019, with d(k - 1) + 1 for the span of a dilated kernel; Luo et al. 2016, section 2, show
    that the outer part of the field counts for little.

    >>> receptive_field([(3, 1, 1), (3, 1, 2), (3, 1, 4)])
    (15, 1)
    """
    field, jump = 1, 1
    for number, layer in enumerate(layers):
        if not isinstance(layer, Sequence) or len(layer) != 3 or any(not isinstance(v, int) or v < 1 for v in layer):
            raise ValueError(f"layer {number} is {layer!r}, but needs (kernel_size, stride, dilation), each at least 1")
        kernel_size, stride, dilation = layer
        field += dilation * (kernel_size - 1) * jump
        jump *= stride
    return field, jump


def measured_receptive_field(model: Callable[[Tensor], Tensor], x: Tensor) -> tuple[tuple[int, ...], Tensor]:
    """Measure it: which inputs move the output in the middle, by the gradient.

    Args:
        model: any differentiable function from (B, C, sizes) to (B, O, sizes').
        x: inputs; several of them see more where a ReLU is closed for one of them.

    Returns:
        The extent along each axis, and the gradient's magnitude summed over batch and channels, of shape (sizes).

    Raises:
        ValueError: if the output does not depend on the input, or has no positions of which one is in the middle.

    >>> measured_receptive_field(torch.nn.Conv1d(1, 1, 3, dilation=2), torch.randn(1, 1, 11))[0]
    (5,)
    """
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        y = model(x)
        if y.dim() < 3:
            raise ValueError(
                f"the output has shape {tuple(y.shape)}, but batch, channels and positions are needed: measure the "
                f"layers before it is flattened"
            )
        middle = tuple(n // 2 for n in y.shape[2:])
        (gradient,) = torch.autograd.grad(y[(..., *middle)].sum(), x)
    strength = gradient.abs().sum(dim=(0, 1))
    seen = strength.nonzero()
    if len(seen) == 0:
        raise ValueError("the output in the middle does not depend on the input: give inputs that open its ReLUs")
    extent = seen.amax(0) - seen.amin(0) + 1
    return tuple(extent.tolist()), strength
