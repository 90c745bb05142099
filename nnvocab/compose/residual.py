"""A layer beside an open road: what comes in is added to what comes out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nnvocab.compose.shapes import as_shape, first_tensor, output_shape
from nnvocab.vocabulary import Example, entry


def residual(x: Tensor, change: Tensor) -> Tensor:
    r"""Add to the input what the layer made of it, as the equation is written.

    .. math::
        y = x + f(x)

    where ``change`` is :math:`f(x)`.

    Shapes:
        x and change: equal. Returns the same.

    Raises:
        ValueError: if the two have different shapes: broadcasting would hide it.
    """
    if x.shape != change.shape:
        raise ValueError(
            f"the layer returned shape {tuple(change.shape)}, but {tuple(x.shape)} came in, and the two are added: give "
            f"a projection, as projection=nn.Linear({x.shape[-1]}, {change.shape[-1]}), or use Residual.fitting"
        )
    return x + change


@entry(
    name="Residual layer",
    aliases=("skip connection", "shortcut"),
    ids=("loom_residual",),
    page="in_a_row",
    kind="block",
    paper="he2016deep",
    related=("Sequential layer", "Parallel layer"),
    example=lambda: Example(Residual(nn.Linear(6, 4), projection=nn.Linear(6, 4, bias=False)), (torch.randn(2, 6),)),
)
class Residual(nn.Module):
    r"""Add the input to what a layer makes of it.

    .. math::
        y = P x + f(x)

    where :math:`f` is the layer and :math:`P` the identity, or a projection where the two shapes differ.

    Args:
        layer: the module :math:`f`, any container included.
        projection: the module :math:`P`, needed only where the layer changes the shape.

    Shapes:
        x: what the layer takes. Returns what the layer returns.

    Notice:
        The identity map is reached when the layer returns **zero**, not when it learns the identity: then y = 2x. Hence
        blocks start close to the identity if the last weights of the layer start at zero (:meth:`start_at_identity`).

    Raises:
        ValueError: if the shapes differ and no projection is given.
        TypeError: if the layer or the projection is no module.

    Source: He et al. 2016, section 3.2, equations 1 and 2.

    >>> block = Residual(nn.Linear(3, 3)).start_at_identity()
    >>> block(torch.tensor([[1.0, 2.0, 3.0]])).tolist()
    [[1.0, 2.0, 3.0]]
    """

    def __init__(self, layer: nn.Module, *, projection: nn.Module | None = None) -> None:
        super().__init__()
        if not isinstance(layer, nn.Module):
            raise TypeError(
                f"layer is a {type(layer).__name__}, but must be an nn.Module; put several in Sequential(...)"
            )
        if projection is not None and not isinstance(projection, nn.Module):
            raise TypeError(f"projection is a {type(projection).__name__}, but must be an nn.Module or None")
        self.layer, self.projection = layer, projection

    @classmethod
    def fitting(cls, layer: nn.Module, input_shape: Sequence[int]) -> Residual:
        """Make the block with the projection that its shapes ask for: none, a linear map, or a 1x1 convolution."""
        before, after = as_shape(input_shape), output_shape(layer, input_shape)
        if before == after:
            return cls(layer)
        like = next(layer.parameters(), None)
        place = {} if like is None else {"device": like.device, "dtype": like.dtype}
        made: nn.Module | None = None
        if len(before) == len(after) == 3:
            strides = [max(1, b // a) for b, a in zip(before[1:], after[1:], strict=True)]
            made = nn.Conv2d(before[0], after[0], 1, stride=strides, bias=False, **place)
        elif len(before) == len(after) and before[:-1] == after[:-1]:
            made = nn.Linear(before[-1], after[-1], bias=False, **place)
        if made is None or output_shape(made, before) != after:
            raise ValueError(
                f"no linear map or 1x1 convolution leads from {before} to {after}: build the module that does and give "
                f"it as projection="
            )
        return cls(layer, projection=made)

    def start_at_identity(self) -> Residual:
        """Set the last weights of the layer to zero, so that the block starts as the identity (or the projection).

        Raises:
            ValueError: if the last module of the layer that has weights is not the last module of the layer, or has none.
        """
        leaves = [m for m in self.layer.modules() if not list(m.children())]
        if not leaves or not list(leaves[-1].parameters(recurse=False)):
            raise ValueError(
                "the layer does not end in weights that could be set to zero: put the activation or norm in front of "
                "the last linear or convolution layer"
            )
        with torch.no_grad():
            for weight in leaves[-1].parameters(recurse=False):
                weight.zero_()
        return self

    def output_shape(self, input_shape: Sequence[int]) -> tuple[int, ...]:
        """The shape that one sample of shape ``input_shape`` leaves with."""
        after = output_shape(self.layer, input_shape)
        beside = as_shape(input_shape) if self.projection is None else output_shape(self.projection, input_shape)
        if beside != after:
            raise ValueError(f"{beside} is to be added to {after}: give a projection; Residual.fitting(...) makes it")
        return after

    def forward(self, x: Tensor) -> Tensor:
        return residual(x if self.projection is None else self.projection(x), first_tensor(self.layer(x)))
