"""Temporal convolutional network: causal dilated convolutions in residual blocks, as a whole or as a stream."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from nnvocab.recurrent.stack import check_dropout
from nnvocab.vocabulary import Example, entry


def causal_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, dilation: int = 1) -> Tensor:
    r"""Convolve with the present and the past only, as the equation is written.

    .. math::
        y_t = b + \sum_{k=0}^{K-1} W_k\, x_{t - (K - 1 - k) d}, \qquad x_s = 0 \text{ for } s < 0

    Shapes:
        x: (B, C, T); weight: (C', C, K); bias: (C',). Returns (B, C', T).
    """
    K, T = weight.shape[2], x.shape[2]
    padded = F.pad(x, ((K - 1) * dilation, 0))  # (B, C, T + (K - 1) d)
    y = sum(weight[:, :, k] @ padded[:, :, k * dilation : k * dilation + T] for k in range(K))
    return y if bias is None else y + bias[:, None]


def causal_conv_fused(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, dilation: int = 1) -> Tensor:
    """The same function by torch's convolution."""
    return F.conv1d(F.pad(x, ((weight.shape[2] - 1) * dilation, 0)), weight, bias, dilation=dilation)


def receptive_field(kernel_size: int, num_levels: int, *, dilation_base: int = 2, convs_per_level: int = 2) -> int:
    r"""Count the steps that an output of a temporal convolutional network depends on.

    .. math::
        R = 1 + 2 (K - 1) \sum_{i=0}^{L-1} 2^i = 1 + 2 (K - 1)(2^L - 1)

    Args:
        kernel_size: K.
        num_levels: levels L; level i has dilation ``dilation_base ** i``.
        dilation_base: 2 in the paper.
        convs_per_level: convolutions in a block, 2 in the paper.

    Raises:
        ValueError: if a number is below 1.

    >>> receptive_field(kernel_size=3, num_levels=4)
    61
    """
    if min(kernel_size, num_levels, dilation_base, convs_per_level) < 1:
        raise ValueError(
            f"kernel_size {kernel_size}, num_levels {num_levels}, dilation_base {dilation_base} and convs_per_level "
            f"{convs_per_level} must be at least 1"
        )
    return 1 + convs_per_level * (kernel_size - 1) * sum(dilation_base**i for i in range(num_levels))


class TemporalBlock(nn.Module):
    """Two causal dilated convolutions, each with weight norm, ReLU and dropout, beside a skip.

    Args:
        in_channels: width C of the input.
        out_channels: width C' of the output; the skip is a 1x1 convolution where it differs from C.
        kernel_size: taps K of each convolution.
        dilation: steps between two taps.
        dropout: probability of dropping an activation while training.

    Shapes:
        x: (B, C, T); past: what ``stream`` kept. Returns (B, C', T).
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, dilation: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.conv1 = weight_norm(nn.Conv1d(in_channels, out_channels, kernel_size, dilation=dilation))
        self.conv2 = weight_norm(nn.Conv1d(out_channels, out_channels, kernel_size, dilation=dilation))
        self.skip = nn.Conv1d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        self.reach, self.dropout = (kernel_size - 1) * dilation, dropout

    def forward(self, x: Tensor) -> Tensor:
        return self.stream(x, None)[0]

    def stream(self, x: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Read on: ``past`` holds the last inputs of the two convolutions, zeros at the beginning."""
        shapes = [(x.shape[0], c.in_channels, self.reach) for c in (self.conv1, self.conv2)]
        if past is None:
            past = tuple(x.new_zeros(shape) for shape in shapes)
        elif [tuple(p.shape) for p in past] != shapes:
            given = [tuple(p.shape) for p in past]
            raise ValueError(f"past of a level has shapes {given}, but {shapes} are needed: is it of another batch?")
        y, kept = x, []
        for conv, before in zip((self.conv1, self.conv2), past, strict=True):
            seen = torch.cat([before, y], dim=2)  # (B, C, reach + T)
            kept.append(seen.narrow(2, seen.shape[2] - self.reach, self.reach))
            y = F.dropout(torch.relu(conv(seen)), self.dropout, self.training)
        return torch.relu(y + self.skip(x)), tuple(kept)


@entry(
    name="Temporal convolutional network",
    aliases=("TCN",),
    page="both_ways",
    kind="model",
    ids=("tcn",),
    paper="bai2018empirical",
    peer="pytorch_tcn.TCN",
    related=("Long short-term memory", "State space model"),
    example=lambda: Example(TCN(2, (3, 4), kernel_size=2), (torch.randn(2, 2, 7),)),
)
class TCN(nn.Module):
    r"""A stack of causal convolutions: each level looks twice as far back as the one below, and never ahead.

    .. math::
        x^{(i+1)} = \operatorname{ReLU}\big(\operatorname{skip}(x^{(i)}) + \phi(\phi(x^{(i)}))\big), \qquad
        \phi(x) = \operatorname{Dropout}(\operatorname{ReLU}(W *_{2^i} x + b))

    where :math:`*_{d}` is the causal convolution with dilation d, level i has :math:`d = 2^i`, and the weights are
    normalized: :math:`W = g\, V / \lVert V \rVert`.

    Args:
        in_channels: width C of the input.
        channels: the width of each level; their number is the number of levels.
        kernel_size: taps K of each convolution.
        dropout: probability of dropping an activation while training.

    Shapes:
        x: (B, C, T). Returns (B, channels[-1], T).

    Notice:
        All positions are computed at once, and what an output can see is fixed: ``receptive_field`` steps, which
        doubles with every level. An RNN's state has no such edge.

    Raises:
        TypeError: if channels is one number.
        ValueError: if there is no level, a size is below 1, dropout is no probability, or x or the past has the wrong
            shape.

    Source: Bai et al. 2018, section 3.

    >>> tcn = TCN(3, (16, 16, 16), kernel_size=3)
    >>> tcn(torch.zeros(2, 3, 50)).shape, tcn.receptive_field
    (torch.Size([2, 16, 50]), 29)
    """

    def __init__(
        self, in_channels: int, channels: Sequence[int], kernel_size: int = 2, *, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if isinstance(channels, int):
            raise TypeError(f"channels is {channels}, but names the width of each level: give e.g. ({channels},) * 3")
        if not channels or min(in_channels, kernel_size, *channels) < 1:
            raise ValueError(
                f"channels {tuple(channels)} must name a level, and in_channels {in_channels}, each width and "
                f"kernel_size {kernel_size} be at least 1"
            )
        check_dropout(dropout)
        self.in_channels = in_channels
        self.receptive_field = receptive_field(kernel_size, len(channels))
        widths = [in_channels, *channels]
        self.blocks = nn.ModuleList(
            TemporalBlock(widths[i], widths[i + 1], kernel_size, 2**i, dropout) for i in range(len(channels))
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.stream(x)[0]

    def stream(
        self, x: Tensor, past: list[tuple[Tensor, Tensor]] | None = None
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Read a sequence piece by piece: the outputs are those of the whole sequence.

        Args:
            x: the next piece (B, C, T), one step or many.
            past: what the last call returned; None at the beginning.
        """
        if x.dim() != 3 or x.shape[1] != self.in_channels or x.shape[2] == 0:
            raise ValueError(
                f"x has shape {tuple(x.shape)}, but (B, {self.in_channels}, T) with at least one step is needed; for "
                f"(B, T, C) give x.transpose(1, 2)"
            )
        if past is not None and len(past) != len(self.blocks):
            raise ValueError(f"past has {len(past)} levels, but the network has {len(self.blocks)}")
        kept = []
        for block, before in zip(self.blocks, past or [None] * len(self.blocks), strict=True):
            x, after = block.stream(x, before)
            kept.append(after)
        return x, kept
