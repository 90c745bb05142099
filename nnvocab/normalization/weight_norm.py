"""Weight normalization: the length and the direction of each weight vector are learned apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nnvocab.vocabulary import Example, entry


def weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    r"""Give each slice of v the length g, as the equation is written.

    .. math::
        w = g\, \frac{v}{\lVert v \rVert}

    Shapes:
        v: (..., n, ...) with n slices along ``dim``; g: the shape of v with every other axis 1. Returns the shape of v.

    Raises:
        ValueError: if g has another shape, or v no such axis.
    """
    _check_lengths(v, g, dim)
    return g * v / _length(v, dim)


def weight_norm_fused(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """The same function by torch's kernel, which has a backward pass of its own."""
    _check_lengths(v, g, dim)
    return torch._weight_norm(v, g, dim)


def _check_axis(v: Tensor, dim: int) -> None:
    if not -v.dim() <= dim < v.dim():
        raise ValueError(f"dim is {dim}, but the weight has {v.dim()} axes; give one of them")


def _check_lengths(v: Tensor, g: Tensor, dim: int) -> None:
    _check_axis(v, dim)
    needed = [n if a == dim % v.dim() else 1 for a, n in enumerate(v.shape)]
    if list(g.shape) != needed:
        raise ValueError(f"g has the shape {tuple(g.shape)}, but one length for each slice is needed: {tuple(needed)}")


def _length(v: Tensor, dim: int) -> Tensor:
    axes = [a for a in range(v.dim()) if a != dim % v.dim()]
    return v.square().sum(axes, keepdim=True).sqrt()


@entry(
    name="Weight normalization",
    page="of_the_weights",
    aliases=("WeightNorm", "weight reparametrization"),
    ids=("weight_norm",),
    paper="salimans2016weight",
    peer="torch.nn.utils.parametrizations.weight_norm",
    example=lambda: Example(add_weight_norm(nn.Linear(4, 3)), (torch.randn(2, 4),)),
    related=("Spectral normalization", "Batch normalization"),
)
class WeightNorm(nn.Module):
    r"""Parametrization that writes a weight as a length times a direction; ``add_weight_norm`` puts it on a layer.

    .. math::
        w = g\, \frac{v}{\lVert v \rVert}, \qquad
        \nabla_v L = \frac{g}{\lVert v \rVert} \Big(I - \frac{v v^\top}{\lVert v \rVert^2}\Big) \nabla_w L

    Args:
        dim: the axis along which slices have a length each; 0 gives one for each output of a linear layer or
            convolution.

    Shapes:
        g: the shape of v with every axis but ``dim`` 1; v: any. Returns the shape of v.

    Notice:
        The gradient of v stands at a right angle to v, so steps of plain gradient descent only ever lengthen v, which
        lowers the effective learning rate of the direction. Activations are not normalized: that takes
        ``initialize_from_batch``, and holds at the start only.

    Raises:
        ValueError: if a slice of the weight has length 0, or the weight has no such axis.

    Source: Salimans and Kingma 2016, sections 2 and 3.

    >>> layer = add_weight_norm(nn.Linear(4, 3))
    >>> [tuple(p.shape) for p in layer.parametrizations.weight.parameters()]
    [(3, 1), (3, 4)]
    """

    def __init__(self, dim: int = 0) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        return weight_norm_fused(v, g, self.dim % v.dim())

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Split a weight into its lengths g and itself, the direction v."""
        _check_axis(weight, self.dim)
        g = _length(weight, self.dim)
        if not g.is_meta and not bool((g > 0).all()):
            raise ValueError("a slice of the weight is 0 and has no direction; initialize it before normalizing it")
        return g, weight


def add_weight_norm(layer: nn.Module, name: str = "weight", dim: int = 0) -> nn.Module:
    """Write a layer's weight as length times direction, in place; its output stays as it was. Returns the layer.

    Raises:
        ValueError: if the weight is computed from other numbers already.

    >>> sorted(n for n, _ in add_weight_norm(nn.Linear(2, 2)).named_parameters())
    ['bias', 'parametrizations.weight.original0', 'parametrizations.weight.original1']
    """
    if parametrize.is_parametrized(layer, name):
        raise ValueError(
            f"{name!r} of this layer is parametrized already: remove that first, e.g. by remove_weight_norm"
        )
    parametrize.register_parametrization(layer, name, WeightNorm(dim), unsafe=True)  # it keeps shape and type
    return layer


def remove_weight_norm(layer: nn.Module, name: str = "weight") -> nn.Module:
    """Fuse length and direction into one weight again, in place: nothing is computed twice after training.

    Raises:
        ValueError: if the layer's weight is not normalized.

    >>> sorted(n for n, _ in remove_weight_norm(add_weight_norm(nn.Linear(2, 2))).named_parameters())
    ['bias', 'weight']
    """
    if not parametrize.is_parametrized(layer, name) or not isinstance(layer.parametrizations[name][0], WeightNorm):
        raise ValueError(
            f"{name!r} of this {type(layer).__name__} has no weight normalization; add_weight_norm adds it"
        )
    return parametrize.remove_parametrizations(layer, name, leave_parametrized=True)


def initialize_from_batch(layer: nn.Module, x: Tensor) -> nn.Module:
    r"""Set g and the bias so that every output has mean 0 and variance 1 on this batch, in place.

    .. math::
        t = \frac{v \cdot x}{\lVert v \rVert}, \qquad g \leftarrow \frac{1}{\sigma[t]}, \qquad
        b \leftarrow -\frac{\mu[t]}{\sigma[t]}

    Args:
        layer: a linear layer or convolution with a bias and with ``add_weight_norm``, dim 0.
        x: the batch that arrives at the layer.

    Raises:
        TypeError: if the layer is neither linear nor a convolution.
        ValueError: if the layer is not normalized along dim 0, or has no bias; if x is not a batch, or an output is the
            same for all of it.

    Source: Salimans and Kingma 2016, section 3.

    >>> layer = initialize_from_batch(add_weight_norm(nn.Linear(4, 3)), 5 + torch.randn(64, 4))
    >>> layer(5 + torch.randn(64, 4)).std().item() < 2
    True
    """
    if not isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        kind = type(layer).__name__.removeprefix("Parametrized")
        raise TypeError(f"layer is a {kind}, but a linear layer or a convolution is needed")
    if not parametrize.is_parametrized(layer, "weight") or not isinstance(layer.parametrizations.weight[0], WeightNorm):
        raise ValueError("the layer's weight is not normalized; call add_weight_norm(layer) first")
    if layer.parametrizations.weight[0].dim != 0 or layer.bias is None:
        raise ValueError("the layer needs a bias, and its weight normalized along dim 0: one length for each output")
    g = layer.parametrizations.weight.original0
    if x.dim() < (2 if isinstance(layer, nn.Linear) else layer.weight.dim()):
        raise ValueError(f"x has the shape {tuple(x.shape)}, but a batch is needed, samples on its first axis")
    with torch.no_grad():
        t = layer(x).movedim(-1 if isinstance(layer, nn.Linear) else 1, 0).flatten(1)  # (outputs, everything else)
        t = (t - layer.bias[:, None]) / g.view(-1, 1)  # what it would be with g = 1 and no bias
        deviation, mean = torch.std_mean(t, dim=1, correction=0)
        if not bool((deviation > 1e-6 * mean.abs()).all()):
            raise ValueError("an output is the same for the whole batch: give a batch in which the inputs differ")
        g.copy_((1 / deviation).view_as(g))
        layer.bias.copy_(-mean / deviation)
    return layer
