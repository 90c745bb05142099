"""Layers in a row: each takes what the one before returned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from nnvocab.compose.shapes import as_shape, output_shape
from nnvocab.vocabulary import Example, entry


@entry(
    name="Sequential layer",
    aliases=("Sequential container", "multi-layer expert", "layers in a row"),
    ids=("loom_sequential", "par_sequential"),
    page="in_a_row",
    kind="block",
    paper="lecun1998gradient",
    peer="torch.nn.Sequential",
    related=("Residual layer", "Parallel layer"),
    example=lambda: Example(Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)), (torch.randn(2, 6),)),
)
class Sequential(nn.Module):
    r"""Chain layers: each takes what the one before returned.

    .. math::
        y = f_L(\dots f_2(f_1(x)))

    where :math:`f_1, \dots, f_L` are the layers, in the order in which they are given.

    Args:
        layers: modules of one tensor; any may be a container again. Layers that find their own input size
            (``nn.LazyLinear``) take it from the first call.

    Shapes:
        x: what the first layer takes. Returns what the last one returns.

    Notice:
        The names of the weights are those of ``torch.nn.Sequential`` ("0.weight", ...), so a ``state_dict`` goes from
        one to the other. What this one adds: :meth:`output_shape`, and errors that say which layer does not fit.

    Raises:
        TypeError: if a layer is no module, or is given several things by the one before, as an LSTM returns them.
        ValueError: if there is no layer, or a layer does not fit what the one before returns.

    Source: LeCun et al. 1998, section I (a cascade of modules, trained by back-propagation).

    >>> model = Sequential(nn.LazyLinear(512), nn.ReLU(), nn.LazyLinear(256), nn.ReLU(), nn.LazyLinear(10))
    >>> model.output_shape((784,)), model(torch.zeros(2, 784)).shape
    ((10,), torch.Size([2, 10]))
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        if not layers:
            raise ValueError(
                "Sequential was given no layer; give it at least one, nn.Identity() for a row that does nothing"
            )
        for number, layer in enumerate(layers):
            if not isinstance(layer, nn.Module):
                hint = "; unpack the list: Sequential(*layers)" if isinstance(layer, (list, tuple)) else ""
                raise TypeError(f"layer {number} is a {type(layer).__name__}, but must be an nn.Module{hint}")
            self.add_module(str(number), layer)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(self._modules.values())

    def __getitem__(self, index: int | slice) -> nn.Module:
        layers = list(self)[index]
        return Sequential(*layers) if isinstance(layers, list) else layers

    def output_shape(self, input_shape: Sequence[int]) -> tuple[int, ...]:
        """The shape that one sample of shape ``input_shape`` leaves with, found without computing."""
        shape = as_shape(input_shape)
        for number, layer in enumerate(self):
            try:
                shape = output_shape(layer, shape)
            except ValueError as error:
                raise ValueError(f"layer {number}: {error}") from error
        return shape

    def forward(self, x: Tensor) -> Tensor:
        for number, layer in enumerate(self._modules.values()):
            given = x
            try:
                x = layer(given)
            except (RuntimeError, TypeError) as error:
                if not isinstance(given, Tensor):
                    raise TypeError(
                        f"layer {number}, {layer}, was given a {type(given).__name__}, but takes a tensor: if the layer "
                        f"before it returns several things, wrap that one in SequenceBranch"
                    ) from error
                if not any(word in str(error) for word in ("size", "shape", "channels", "dimension")):
                    raise
                raise ValueError(
                    f"layer {number}, {layer}, was given a tensor of shape {tuple(given.shape)}: {error}. Give it the size "
                    f"that comes before it; output_shape(...) follows the sizes through the row"
                ) from error
        return x
