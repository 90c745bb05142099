"""Feature maps: one map a kernel, and a report of what each layer of a stack makes."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nnvocab.convolution.receptive_field import receptive_field
from nnvocab.vocabulary import entry


class FeatureMapRow(NamedTuple):
    """One layer of the report."""

    layer: str
    channels: int
    size: tuple[int, ...]
    receptive_field: tuple[int, ...] | None
    jump: tuple[int, ...] | None
    parameters: int
    multiply_adds: int


@entry(
    name="Feature maps",
    page="one_kernel",
    kind="concept",
    aliases=("feature map", "channels", "Multiple filters and feature maps"),
    ids=("loom_feature_maps",),
    paper="zeiler2014visualizing",
    peer="torch.nn.Conv2d",
    related=("2D convolution", "Receptive field", "Output size"),
)
def feature_map_report(model: nn.Sequential, x: Tensor) -> list[FeatureMapRow]:
    r"""List what each layer of a stack makes: its maps, their size, what one value of them sees, and what it costs.

    .. math::
        \text{multiply-adds of a convolution} = O\, \frac{C}{g}\, \prod_a k_a \prod_a n'_a

    where :math:`n'` are the sizes of the maps, :math:`k` those of the kernel and :math:`g` the groups.

    Args:
        model: layers in a row, nested as you like; convolutions of ours or of torch's, pooling, norms, activations.
        x: one input, (1, C, sizes); only its shape counts.

    Returns:
        A row a layer: name, channels, size, receptive field and jump an axis, parameters, multiply-adds. Where a layer
        mixes all positions (a Linear, an adaptive pooling) or is transposed, the receptive field is None from there on.

    Notice:
        What the statistics of a norm carry from other positions is not counted.

    Raises:
        TypeError: if the model is not an ``nn.Sequential``, or a layer of it holds layers of its own: in a graph with
            branches a layer has no single field.

    Source: the equation counts what the sum of :func:`conv2d` multiplies; sizes after Dumoulin and Visin 2016,
    relationship 15; fields by the rule of :func:`receptive_field`.

    >>> row = feature_map_report(nn.Sequential(nn.Conv2d(1, 32, 3)), torch.zeros(1, 1, 28, 28))[0]
    >>> row.channels, row.size, row.receptive_field, row.multiply_adds
    (32, (26, 26), (3, 3), 194688)
    """
    if not isinstance(model, nn.Sequential):
        raise TypeError(f"model is a {type(model).__name__}, but an nn.Sequential is needed: layers in a row")
    layers = _flat(model)
    for layer in layers:
        if next(layer.children(), None) is not None:
            raise TypeError(
                f"the model holds a {type(layer).__name__} with layers of its own, which may branch: write its parts "
                f"into an nn.Sequential, in a row"
            )
    dims, rows = x.dim() - 2, []
    seen: list[list[tuple[int, int, int]]] | None = [[] for _ in range(dims)]
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            for layer in layers:
                before, x = x.shape, layer(x)
                window = _window(layer, dims)
                if getattr(layer, "transposed", False):
                    seen = None
                elif window is not None and seen is not None:
                    for axis, part in enumerate(window):
                        seen[axis].append(part)
                elif isinstance(layer, nn.Linear) or x.dim() != dims + 2 or x.shape[2:] != before[2:]:
                    seen = None
                found = None if seen is None else [receptive_field(axis) for axis in seen]
                rows.append(
                    FeatureMapRow(
                        type(layer).__name__,
                        x.shape[1],
                        tuple(x.shape[2:]),
                        None if found is None else tuple(field for field, _ in found),
                        None if found is None else tuple(jump for _, jump in found),
                        sum(p.numel() for p in layer.parameters()),
                        _multiply_adds(layer, before if getattr(layer, "transposed", False) else x.shape),
                    )
                )
    finally:
        for module, training in modes.items():
            module.training = training
    return rows


def _flat(model: nn.Sequential) -> list[nn.Module]:
    return [leaf for layer in model for leaf in (_flat(layer) if isinstance(layer, nn.Sequential) else [layer])]


def _window(layer: nn.Module, dims: int) -> list[tuple[int, int, int]] | None:
    if not hasattr(layer, "kernel_size"):
        return None
    parts = (layer.kernel_size, getattr(layer, "stride", 1), getattr(layer, "dilation", 1))
    sizes = [(part,) * dims if isinstance(part, int) else tuple(part) for part in parts]
    return list(zip(*sizes, strict=True))


def _multiply_adds(layer: nn.Module, shape: tuple[int, ...]) -> int:
    """Every weight is used once a position: of the output, or of the input where the layer is transposed."""
    if isinstance(layer, nn.Linear):
        return layer.weight.numel() * math.prod(shape[1:-1])
    weight = getattr(layer, "weight", None)
    return 0 if weight is None or not hasattr(layer, "kernel_size") else weight.numel() * math.prod(shape[2:])
