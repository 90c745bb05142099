"""Output size: how many positions a window finds on an axis."""

from __future__ import annotations

from nnvocab.vocabulary import entry


@entry(
    name="Output size",
    page="one_kernel",
    kind="concept",
    aliases=("convolution arithmetic", "output size of a convolution"),
    paper="dumoulin2016guide",
    peer="torch.nn.Conv2d",
    related=("Stride", "Padding", "Transposed convolution"),
)
def conv_output_size(size: int, kernel_size: int, *, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    r"""The number of places that a kernel finds along one axis.

    .. math::
        n' = \left\lfloor \frac{n + 2p - d(k - 1) - 1}{s} \right\rfloor + 1

    Args:
        size: positions n along the axis.
        kernel_size: taps k of the kernel along the axis.
        stride: steps s between one window and the next.
        padding: positions p added on both ends.
        dilation: steps d between one tap and the next; the kernel spans d(k - 1) + 1 positions.

    Notice:
        The division is floored: where the last step does not fit, the last positions are never the start of a window.
        Padding p = d(k - 1) / 2 keeps the size at stride 1, which is whole only if d(k - 1) is even.

    Raises:
        ValueError: if a number is out of range, or the kernel spans more than the padded input.

    Source: Dumoulin and Visin 2016, relationship 15.

    >>> conv_output_size(28, 3), conv_output_size(28, 3, padding=1, stride=2)
    (26, 14)
    """
    _check(size, kernel_size, stride, padding, dilation)
    room = size + 2 * padding - dilation * (kernel_size - 1) - 1
    if room < 0:
        raise ValueError(
            f"a kernel of {kernel_size} with dilation {dilation} spans {dilation * (kernel_size - 1) + 1} positions, "
            f"but the padded input has {size + 2 * padding}: use a smaller kernel or dilation, or more padding"
        )
    return room // stride + 1


def conv_transpose_output_size(
    size: int, kernel_size: int, *, stride: int = 1, padding: int = 0, output_padding: int = 0, dilation: int = 1
) -> int:
    r"""The number of positions that a transposed convolution writes along one axis.

    .. math::
        n' = (n - 1)s - 2p + d(k - 1) + q + 1

    where :math:`q` is the output padding. It is the size that :func:`conv_output_size` brings back to :math:`n`; with a
    stride above 1 there are :math:`s` such sizes, and :math:`q < \max(s, d)` picks one.

    Raises:
        ValueError: if a number is out of range, or nothing would remain.

    >>> conv_transpose_output_size(8, 3, stride=2, padding=1), conv_transpose_output_size(8, 4, stride=2, padding=1)
    (15, 16)
    """
    _check(size, kernel_size, stride, padding, dilation)
    if not 0 <= output_padding < max(stride, dilation):
        raise ValueError(
            f"output_padding is {output_padding}, but must be at least 0 and less than stride or dilation "
            f"({max(stride, dilation)}): it only picks one of the sizes that the stride confuses"
        )
    result = (size - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1
    if result < 1:
        raise ValueError(f"padding {padding} removes everything: the result would have {result} positions")
    return result


def _check(size: int, kernel_size: int, stride: int, padding: int, dilation: int) -> None:
    for name, value, least in (
        ("size", size, 1),
        ("kernel_size", kernel_size, 1),
        ("stride", stride, 1),
        ("padding", padding, 0),
        ("dilation", dilation, 1),
    ):
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name} is {value!r}, but must be a whole number of at least {least}")
