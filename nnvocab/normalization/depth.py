"""Why normalization matters: the scale of activations and gradients, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from nnvocab.normalization.layer_norm import LayerNorm
from nnvocab.vocabulary import Example, entry


def _run(layers: Iterable[Callable[[Tensor], Tensor]], x: Tensor) -> list[Tensor]:
    if x.dim() < 2:
        raise ValueError(f"x has the shape {tuple(x.shape)}, but (B, ...) is needed: for a single sample give x[None]")
    values = [x]
    for layer in layers:
        values.append(layer(values[-1]))
    if len(values) == 1:
        raise ValueError("layers is empty; give at least one layer, e.g. a list of nn.Linear")
    return values


def _rms(values: Iterable[Tensor]) -> Tensor:
    return torch.stack([v.flatten(1).square().mean(1).sqrt() for v in values], dim=1)


@entry(
    name="Why normalization matters",
    page="why_normalize",
    kind="concept",
    aliases=("activation drift", "exploding activations", "why normalize"),
    ids=("loom_why_normalize",),
    paper="ioffe2015batch",
    example=lambda: Example(
        lambda x: activation_scales([nn.Tanh(), LayerNorm(6, elementwise_affine=False)], x), (torch.randn(2, 6),)
    ),
    related=("Layer normalization", "Batch normalization", "RMS normalization"),
)
def activation_scales(layers: Iterable[Callable[[Tensor], Tensor]], x: Tensor) -> Tensor:
    r"""Measure how large the numbers are before and after each of a stack of layers.

    .. math::
        s_\ell = \sqrt{\frac{1}{C} \sum_c h_{\ell,c}^2}, \qquad h_\ell = f_\ell(h_{\ell-1}), \quad h_0 = x

    Where a layer multiplies the scale by a factor r on average, L layers multiply it by :math:`r^L`: that is drift,
    and normalization is what sets s back to 1 at each layer.

    Args:
        layers: the layers f, called one after the other.
        x: the input of the first.

    Shapes:
        x: (B, ...). Returns (B, L + 1): for each sample the root mean square of x and of every layer's output.

    Notice:
        Batch normalization mixes the samples in training; then a row depends on its batch.

    Raises:
        ValueError: if there is no layer, or x has no axis of samples.

    Source: the mean is after He et al. 2015, section 2.2, who derive the factor of a ReLU layer; for the remedy see
    Ioffe and Szegedy 2015.

    >>> activation_scales([lambda x: 2 * x] * 3, torch.ones(1, 4))
    tensor([[1., 2., 4., 8.]])
    """
    return _rms(_run(layers, x))


def gradient_scales(
    layers: Iterable[Callable[[Tensor], Tensor]], x: Tensor, *, generator: torch.Generator | None = None
) -> Tensor:
    r"""Measure how large the gradient is at each of a stack of layers, when one of size 1 enters at the end.

    .. math::
        g_L \sim \mathcal N(0, 1), \qquad g_{\ell-1} = J_\ell^\top g_\ell

    Args:
        layers: the layers, called one after the other.
        x: the input of the first.
        generator: draws the gradient at the end.

    Shapes:
        x: (B, ...). Returns (B, L + 1), from the input to the output; the last is near 1.

    Raises:
        ValueError: if there is no layer, or x has no axis of samples.

    >>> gradient_scales([lambda x: 2 * x] * 3, torch.ones(1, 400)).diff().sign()
    tensor([[-1., -1., -1.]])
    """
    values = _run(layers, x.detach().requires_grad_())
    end = torch.randn(values[-1].shape, generator=generator, device=x.device, dtype=x.dtype)
    return _rms(torch.autograd.grad(values[-1], values, end))
