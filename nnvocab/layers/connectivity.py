"""Dense versus sparse connectivity: what a convolution leaves out of the full matrix."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nnvocab.convolution import convolution_matrix
from nnvocab.vocabulary import entry


@dataclass(frozen=True)
class Connectivity:
    """Counts of one layer, unrolled into a matrix between flattened images."""

    matrix: Tensor
    connections: int
    distinct: int
    dense: int

    def __repr__(self) -> str:
        return (
            f"dense: {self.dense:,} weights; sparse: {self.connections:,} connections "
            f"({self.connections / self.dense:.1%}) that share {self.distinct:,} weights"
        )


@entry(
    name="Dense versus sparse connectivity",
    page="linear",
    kind="concept",
    aliases=("sparse connectivity", "local connectivity", "dense connectivity"),
    ids=("loom_dense_vs_sparse",),
    paper="lecun1989backpropagation",
    peer="torch.nn.Conv2d",
    related=("Dense layer", "Convolution as a matrix", "2D convolution"),
)
def connectivity(weight: Tensor, input_size: tuple[int, int], *, stride: int = 1, padding: int = 0) -> Connectivity:
    r"""Unroll a convolution into the matrix of a dense layer and count what is in it.

    .. math::
        \operatorname{vec}(w * x) = M \operatorname{vec}(x)

    ``dense`` counts the entries of M, which a dense layer could fill; ``connections`` those that the convolution
    fills; ``distinct`` the weights they share.

    Args:
        weight: the kernels, (O, C, K, K').
        input_size: height and width of the image.
        stride: steps between one window and the next.
        padding: zeros on every side.

    Notice:
        Two savings come together: most entries are 0 (each output sees one window), and those that are not repeat the
        same few weights (each window is seen with the same kernel).

    Raises:
        ValueError: if the kernel spans more than the padded input.

    Source: LeCun et al. 1989, section 3: 9,760 weights stand for 64,660 connections.

    >>> connectivity(torch.randn(1, 1, 3, 3), (8, 8))
    dense: 2,304 weights; sparse: 324 connections (14.1%) that share 9 weights
    """
    ones = torch.ones_like(weight)  # a weight that happens to be 0 is a connection all the same
    matrix = convolution_matrix(weight, input_size, stride=stride, padding=padding)
    places = convolution_matrix(ones, input_size, stride=stride, padding=padding)
    return Connectivity(matrix, int(places.sum()), weight.numel(), matrix.numel())
