"""How far a network can stretch a difference between two inputs: the norms behind spectral normalization."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRETCH = {nn.ReLU: 1.0, nn.Tanh: 1.0, nn.Identity: 1.0, nn.Flatten: 1.0, nn.Sigmoid: 0.25}
"""How far these layers can stretch a difference."""


def lipschitz_bound(model: nn.Sequential) -> Tensor:
    r"""Multiply the largest singular values of the layers: an upper bound on how far the model stretches a difference.

    .. math::
        \lVert f(x) - f(x') \rVert \le \Big(\prod_\ell \sigma(W_\ell)\Big) \lVert x - x' \rVert

    Args:
        model: linear layers with ReLU, tanh, sigmoid, flatten or identity between them.

    Raises:
        TypeError: if model is no nn.Sequential, or a layer's stretch is not known here; for a convolution take
            ``conv_operator_norm``.

    Source: Miyato et al. 2018, equation 7.

    >>> lipschitz_bound(nn.Sequential(nn.Linear(3, 3), nn.ReLU())) > 0
    tensor(True)
    """
    if not isinstance(model, nn.Sequential):
        raise TypeError(
            f"model is a {type(model).__name__}, but an nn.Sequential is needed: write nn.Sequential(layer)"
        )
    bound = torch.ones(())
    for layer in model:
        if isinstance(layer, nn.Linear):
            bound = bound.to(layer.weight) * torch.linalg.matrix_norm(layer.weight.detach(), 2)
        elif type(layer) in STRETCH:
            bound = bound * STRETCH[type(layer)]
        else:
            raise TypeError(
                f"the stretch of a {type(layer).__name__} is not known here; use linear layers with "
                f"{', '.join(t.__name__ for t in STRETCH)}, or conv_operator_norm for a convolution"
            )
    return bound


@torch.no_grad()
def conv_operator_norm(
    weight: Tensor,
    input_size: tuple[int, int],
    *,
    stride: int = 1,
    padding: int = 0,
    steps: int = 100,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Find how far a convolution can stretch an image, by power iteration with the convolution and its transpose.

    .. math::
        x \leftarrow \frac{K^\top K x}{\lVert K^\top K x \rVert}, \qquad \lVert K \rVert = \lVert K x \rVert

    where :math:`K` is the convolution as a linear map of images.

    Args:
        weight: the kernels.
        input_size: height and width of the image.
        stride: steps between windows.
        padding: zeros on every side.
        steps: how often x is turned.
        generator: draws the first x.

    Shapes:
        weight: (O, C, K, K'). Returns a number, from below.

    Raises:
        ValueError: if weight has not four axes.

    Source: Yoshida and Miyato 2017 use power iteration for penalties; Sedghi et al. 2019 treat the norm of convolutions.

    >>> conv_operator_norm(torch.ones(1, 1, 1, 1) * 3, (5, 5)).item()
    3.0
    """
    if weight.dim() != 4:
        raise ValueError(f"weight has the shape {tuple(weight.shape)}, but that of nn.Conv2d is needed: (O, C, K, K')")
    shape = (1, weight.shape[1], *input_size)
    x = torch.randn(shape, generator=generator, device=weight.device, dtype=weight.dtype)
    for _ in range(steps):
        y = F.conv2d(_unit(x), weight, stride=stride, padding=padding)
        x = torch.nn.grad.conv2d_input(shape, weight, y, stride=stride, padding=padding)
    return F.conv2d(_unit(x), weight, stride=stride, padding=padding).norm()


def _unit(x: Tensor) -> Tensor:
    return x / x.norm().clamp_min(torch.finfo(x.dtype).tiny)  # kernels of zeros leave nothing of x: then the norm is 0
