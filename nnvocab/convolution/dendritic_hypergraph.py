"""Dendritic hypergraph 4D convolution: branches of four-axis convolutions, then messages along lines of the grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from nnvocab.convolution._shared import per_axis
from nnvocab.convolution.dendrite import DendriteBranches
from nnvocab.convolution.hypergraph import HypergraphMessagePassing, line_hyperedges
from nnvocab.vocabulary import Example, entry


@entry(
    name="Dendritic hypergraph 4D convolution",
    page="four_dimensions",
    kind="block",
    aliases=("4D dilated convolution with dendrite branches and hypergraph tips",),
    ids=("dendritic_hypergraph_conv4d",),
    evidence="speculative",
    example=lambda: Example(
        DendriticHypergraph4DConv(
            1, 2, num_branches=2, kernel_sizes=(3, 1), dilations=(1, 1), num_heads=2, activation=torch.tanh
        ),
        (torch.randn(2, 1, 2, 2, 3, 2),),
    ),
    related=("4D dilated convolution", "Dendrite branches", "Hypergraph message passing"),
)
class DendriticHypergraph4DConv(nn.Module):
    r"""Block of 4D dendrite branches, summed by a soma, whose positions then speak along the lines of their grid.

    .. math::
        z = b + \sum_{i} w_i \odot \phi\big(W_i *_{d_i} x + b_i\big), \qquad
        y_n = z_n + \alpha \sum_{h \ni n} \psi\Big(\operatorname{pool}_{m \in h} f(z_m)\Big)

    Args:
        in_channels: channels C of the input.
        out_channels: channels O of the output.
        num_branches: number of branches.
        kernel_sizes: kernel size of each branch; None takes 3, 5, 7, and 3 for all that follow.
        dilations: dilation of each branch; None takes 1, 1, 1, and 4, 8, 16, ... for those that follow.
        num_heads: heads of the attention that pools a hyperedge; it must divide O.
        dims: 4 for (time, depth, height, width), 3 for (depth, height, width).
        activation: the nonlinearity φ of each branch.

    Shapes:
        x: (B, C, T, D, H, W), or (B, C, D, H, W) if dims is 3. Returns (B, O, ...) of the same sizes.

    Notice:
        A hyperedge is a whole line of positions along one axis, so a position has one hyperedge an axis, and two such
        layers connect all positions of a plane. The memberships are dims times the positions: linear, where
        attention between all positions is quadratic.

    Raises:
        ValueError: if num_branches is not the number of kernel_sizes or dilations, num_heads does not divide
            out_channels, or the input does not fit.

    Source: no paper tests this combination. Its parts: Choy et al. 2019 (4D convolution), Poirazi et al. 2003
    (branches), Feng et al. 2019 (hypergraphs).

    >>> block = DendriticHypergraph4DConv(1, 4, num_branches=2, num_heads=2)
    >>> block(torch.zeros(1, 1, 3, 4, 5, 4)).shape
    torch.Size([1, 4, 3, 4, 5, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_branches: int = 4,
        *,
        kernel_sizes: Sequence[int] | None = None,
        dilations: Sequence[int] | None = None,
        num_heads: int = 1,
        dims: int = 4,
        activation: Callable[[Tensor], Tensor] = torch.relu,
    ) -> None:
        super().__init__()
        per_axis(num_branches, 1, "num_branches")
        if dims not in (3, 4):
            raise ValueError(f"dims is {dims!r}, but must be 3 (depth, height, width) or 4 (time before them)")
        if kernel_sizes is None:
            kernel_sizes = [(3, 5, 7)[i] if i < 3 else 3 for i in range(num_branches)]
        if dilations is None:
            dilations = [1 if i < 3 else 2 ** (i - 1) for i in range(num_branches)]
        for name, given in (("kernel_sizes", kernel_sizes), ("dilations", dilations)):
            if isinstance(given, Sequence) and len(given) != num_branches:
                raise ValueError(
                    f"{name} has {len(given)} numbers for {num_branches} branches: num_branches must equal it"
                )
        self.dims = dims
        self.dendrites = DendriteBranches(
            in_channels, out_channels, kernel_sizes=kernel_sizes, dilations=dilations, dims=dims, activation=activation
        )
        self.tips = HypergraphMessagePassing(out_channels, aggregate="attention", num_heads=num_heads)

    def forward(self, x: Tensor) -> Tensor:
        z = self.dendrites(x)  # (B, O, sizes)
        nodes = z.flatten(2).transpose(1, 2)  # (B, N, O)
        y = self.tips(nodes, line_hyperedges(z.shape[2:], z.device))
        return y.transpose(1, 2).unflatten(2, z.shape[2:])  # (B, O, sizes)
