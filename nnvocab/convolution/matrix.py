"""Convolution as a matrix: mostly zeros, and the same few weights in every row."""

from __future__ import annotations

import torch
from torch import Tensor

from nnvocab.convolution._shared import check_weights
from nnvocab.convolution.conv2d import conv2d_torch
from nnvocab.convolution.output_size import conv_output_size
from nnvocab.vocabulary import Example, entry


@entry(
    name="Convolution as a matrix",
    page="one_kernel",
    kind="concept",
    aliases=("doubly block Toeplitz matrix", "convolution matrix", "sparse weight-tied matrix"),
    paper="dumoulin2016guide",
    peer="torch.nn.functional.conv2d",
    example=lambda: Example(
        lambda w: convolution_matrix(w, (3, 4), padding=1),
        (torch.randn(2, 2, 3, 3),),
        skip={"batch_of_one": "it takes a kernel, which has no batch"},
    ),
    related=("Kernel and weight sharing", "Transposed convolution", "2D convolution"),
)
def convolution_matrix(
    weight: Tensor, input_size: tuple[int, int], *, stride: int = 1, padding: int = 0, dilation: int = 1
) -> Tensor:
    r"""Write a 2D convolution as the one matrix that does the same to the flattened image.

    .. math::
        \operatorname{vec}(w * x) = M \operatorname{vec}(x), \qquad
        M_{(o,u,v),\,(c,\; s u + d i - p,\; s v + d j - p)} = w_{o,c,i,j}

    and every other entry of :math:`M` is 0.

    Args:
        weight: the kernels w.
        input_size: height and width of the image.
        stride: steps s between one window and the next.
        padding: zeros p on every side.
        dilation: steps d between one tap and the next.

    Shapes:
        weight: (O, C, K, K'). Returns (O H' W', C H W).

    Notice:
        A fully connected layer between the same sizes could fill the whole matrix; a convolution ties its entries to
        the O C K K' weights of the kernels. The transposed matrix is the transposed convolution.

    Raises:
        ValueError: if the kernel spans more than the padded input, or weight or input_size have other shapes.

    Source: Dumoulin and Visin 2016, section 4.1.

    >>> convolution_matrix(torch.ones(1, 1, 3, 3), (4, 4)).shape
    torch.Size([4, 16])
    """
    _check(weight, input_size)
    (rows, columns), (kernel_h, kernel_w) = input_size, weight.shape[2:]
    reads = []  # for each axis: 1 where window u reads input position r with tap i
    for n, k in ((rows, kernel_h), (columns, kernel_w)):
        count = conv_output_size(n, k, stride=stride, padding=padding, dilation=dilation)
        window, tap, place = (torch.arange(m, device=weight.device) for m in (count, k, n))
        seen = stride * window.view(-1, 1, 1) + dilation * tap.view(-1, 1) - padding  # (n', K, 1)
        reads.append((seen == place).to(weight.dtype))  # (n', K, n)
    matrix = torch.einsum("ocij,uir,vjs->ouvcrs", weight, *reads)  # (O, H', W', C, H, W)
    return matrix.flatten(3).flatten(0, 2)  # (O H' W', C H W)


def convolution_matrix_columns(
    weight: Tensor, input_size: tuple[int, int], *, stride: int = 1, padding: int = 0, dilation: int = 1
) -> Tensor:
    """The same matrix column by column: what the convolution makes of each image with a single 1."""
    _check(weight, input_size)
    size = weight.shape[1] * input_size[0] * input_size[1]
    ones = torch.eye(size, dtype=weight.dtype, device=weight.device).view(size, weight.shape[1], *input_size)
    return conv2d_torch(ones, weight, stride=stride, padding=padding, dilation=dilation).flatten(1).T


def _check(weight: Tensor, input_size: tuple[int, int]) -> None:
    check_weights(weight, None, 2)
    if not isinstance(input_size, tuple | list) or len(input_size) != 2:
        raise ValueError(f"input_size is {input_size!r}, but height and width are needed: (28, 28)")
