"""Padding: what a convolution sees beyond the edge."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from nnvocab.vocabulary import Example, entry

MODES = ("zeros", "reflect", "replicate", "circular")


@entry(
    name="Padding",
    page="one_kernel",
    kind="concept",
    aliases=("zero padding", "same padding", "valid padding"),
    ids=("loom_padding",),
    paper="dumoulin2016guide",
    peer="torch.nn.functional.pad",
    example=lambda: Example(lambda x: pad(x, (1, 2), mode="reflect"), (torch.randn(2, 3, 4, 5),)),
    related=("Output size", "2D convolution"),
)
def pad(x: Tensor, padding: int | Sequence[int], *, mode: str = "zeros") -> Tensor:
    r"""Lengthen the axes after batch and channels at both ends: with zeros, or with values of the input.

    .. math::
        y_t = x_{m(t - p)}, \qquad m(i) = \begin{cases} i & 0 \le i < n \\
        \text{nowhere (0)} & \text{zeros} \\ -i \;\text{ or }\; 2(n - 1) - i & \text{reflect} \\
        \min(\max(i, 0),\, n - 1) & \text{replicate} \\ i \bmod n & \text{circular} \end{cases}

    Args:
        x: the input.
        padding: positions p added at both ends of an axis; one number for all axes, or one an axis.
        mode: ``"zeros"``, ``"reflect"`` (mirror without the edge itself), ``"replicate"`` (repeat the edge) or
            ``"circular"`` (go round).

    Shapes:
        x: (B, C, ...) with one to three axes after the channels. Returns the same, each of these axes longer by 2p.

    Notice:
        Zeros put a dark frame round an image, so a kernel sees an edge that is not there. Circular padding is the only
        one under which a convolution commutes with every shift, if the input goes round too.

    Raises:
        ValueError: if the mode is unknown, the number of axes does not fit, or an axis is too short to be mirrored or
            to go round.

    Source: Dumoulin and Visin 2016, section 2.2, for zeros; the other modes are common practice.

    >>> pad(torch.tensor([[[1.0, 2.0, 3.0]]]), 2, mode="reflect")
    tensor([[[3., 2., 1., 2., 3., 2., 1.]]])
    """
    amounts = _amounts(x, padding, mode)
    for axis, p in enumerate(amounts, start=2):
        n = x.shape[axis]
        i = torch.arange(-p, n + p, device=x.device)  # where each output position would be in the input
        if mode == "reflect":
            i = (n - 1) - ((n - 1) - i.abs()).abs()
        elif mode == "circular":
            i = i % n
        y = x.index_select(axis, i.clamp(0, n - 1))
        if mode == "zeros":
            outside = ((i < 0) | (i >= n)).view(-1, *[1] * (x.dim() - 1 - axis))
            y = y.masked_fill(outside, 0)  # (B, C, ..., n + 2p, ...)
        x = y
    return x


def pad_torch(x: Tensor, padding: int | Sequence[int], *, mode: str = "zeros") -> Tensor:
    """The same function by torch's kernels, which copy each value once."""
    amounts = _amounts(x, padding, mode)
    flat = [p for axis in reversed(amounts) for p in (axis, axis)]
    return F.pad(x, flat, mode="constant" if mode == "zeros" else mode)


def _amounts(x: Tensor, padding: int | Sequence[int], mode: str) -> list[int]:
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}, but must be one of {MODES}")
    sizes = list(x.shape[2:])
    if not 1 <= len(sizes) <= 3:
        raise ValueError(f"x has shape {tuple(x.shape)}, but batch, channels and one to three more axes are needed")
    amounts = list(padding) if isinstance(padding, Sequence) else [padding] * len(sizes)
    if len(amounts) != len(sizes) or not all(isinstance(p, int) and p >= 0 for p in amounts):
        raise ValueError(
            f"padding is {padding!r}, but a whole number of at least 0, or {len(sizes)} of them, are needed"
        )
    if 0 in sizes:
        raise ValueError(f"x has shape {tuple(x.shape)}: an axis without positions has nothing to be padded")
    limit = {"reflect": -1, "circular": 0}.get(mode)
    for n, p in zip(sizes, amounts, strict=True):
        if limit is not None and p > n + limit:
            raise ValueError(
                f"{mode} padding of {p} needs an axis of at least {p - limit}, but it has {n}: pad less, or use zeros"
            )
    return amounts
