"""Stride: how far the kernel moves from one window to the next."""

from __future__ import annotations

from nnvocab.convolution.output_size import conv_output_size
from nnvocab.vocabulary import entry


@entry(
    name="Stride",
    page="one_kernel",
    kind="concept",
    aliases=("convolution stride", "strided convolution"),
    ids=("loom_stride",),
    paper="dumoulin2016guide",
    peer="torch.nn.Conv2d",
    related=("Output size", "2D convolution"),
)
def window_positions(
    size: int, kernel_size: int, *, stride: int = 1, padding: int = 0, dilation: int = 1
) -> list[list[int]]:
    r"""List the input positions that each window reads along one axis.

    .. math::
        \text{window } t \text{ reads } \{\, s t + d k - p \;:\; k = 0, \dots, K - 1 \,\}

    Args:
        size: positions n along the axis.
        kernel_size: taps K of the kernel along the axis.
        stride: steps s between one window and the next.
        padding: positions p added on both ends.
        dilation: steps d between one tap and the next.

    Notice:
        A position below 0, or from ``size`` on, lies in the padding. With a stride above 1 some positions may be read
        by no window at all.

    Raises:
        ValueError: if a number is out of range, or the kernel spans more than the padded input.

    Source: Dumoulin and Visin 2016, section 2.3.

    >>> window_positions(5, 3, stride=2)
    [[0, 1, 2], [2, 3, 4]]
    """
    count = conv_output_size(size, kernel_size, stride=stride, padding=padding, dilation=dilation)
    return [[stride * t + dilation * k - padding for k in range(kernel_size)] for t in range(count)]
