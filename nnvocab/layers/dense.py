"""Dense layer: a linear layer and the bend behind it, in one."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.layers.linear import check_width, linear, linear_torch, new_linear_parameters
from nnvocab.vocabulary import Example, entry


def _scaled_relu(x: Tensor) -> Tensor:
    return 1.1 * F.relu(x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "relu": F.relu,
    "scaled_relu": _scaled_relu,
    "leaky_relu": F.leaky_relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "gelu": F.gelu,
}
"""Name -> bend. ``scaled_relu`` is 1.1 max(0, x); ``leaky_relu`` has the slope 0.01 below 0."""


def read_activation(activation: str) -> Callable[[Tensor], Tensor]:
    """Look up a bend; raise a ValueError that lists them if there is none of this name."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}, but must be one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[activation]


def dense(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, activation: str = "relu") -> Tensor:
    r"""Bend the weighted sums, as the equation is written.

    .. math::
        y_i = \phi\Big(\sum_j w_{ij}\, x_j + b_i\Big)

    Shapes:
        x: (..., I); weight: (O, I); bias: (O,). Returns (..., O).
    """
    return read_activation(activation)(linear(x, weight, bias))


def dense_torch(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, activation: str = "relu") -> Tensor:
    """The same function with one matrix product."""
    return read_activation(activation)(linear_torch(x, weight, bias))


@entry(
    name="Dense layer",
    page="linear",
    aliases=("Dense", "fully connected", "fully connected layer", "MLP layer", "Dense (fully connected) layer"),
    ids=("loom_dense",),
    paper="rosenblatt1958perceptron",
    peer="torch.nn.Linear",
    example=lambda: Example(Dense(4, 3, activation="gelu"), (torch.randn(2, 4),)),
    related=("Linear layer", "Weight matrix", "Dense versus sparse connectivity"),
)
class Dense(nn.Module):
    r"""Layer of neurons: each takes a weighted sum of all inputs and bends it.

    .. math::
        y_i = \phi\Big(\sum_j w_{ij}\, x_j + b_i\Big)

    Args:
        in_features: inputs I.
        out_features: neurons O.
        activation: the bend :math:`\phi`: linear, relu, scaled_relu, leaky_relu, sigmoid, tanh, softplus or gelu.
        bias: add a learned number b before the bend.

    Shapes:
        x: (..., I). Returns (..., O).

    Notice:
        It has I O weights and O biases. Row i of ``weight`` is all that neuron i has learned, column j all that comes
        of input j.

    Raises:
        ValueError: if the activation is not one of those, a width is below 1, or x is not I wide.

    Source: Rosenblatt 1958.

    >>> sum(p.numel() for p in Dense(4, 3).parameters())
    15
    """

    def __init__(self, in_features: int, out_features: int, activation: str = "relu", bias: bool = True) -> None:
        super().__init__()
        read_activation(activation)
        self.in_features, self.out_features, self.activation = in_features, out_features, activation
        self.weight, self.bias = new_linear_parameters(in_features, out_features, bias)

    def forward(self, x: Tensor) -> Tensor:
        check_width(x, self.in_features)
        return dense_torch(x, self.weight, self.bias, activation=self.activation)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, {self.activation!r}, bias={self.bias is not None}"
