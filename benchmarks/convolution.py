"""The convolutions that have a peer in torch, timed beside it."""

from __future__ import annotations

import torch
from bench import Case
from torch import nn

from nnvocab.convolution import DepthwiseSeparableConv2d, DilatedConv2d, TransposedConv2d

TORCH = f"torch {torch.__version__.split('+')[0]}"


def cases() -> list[Case]:
    """The same weights and the same input on both sides."""
    torch.manual_seed(0)
    x = torch.randn(8, 64, 56, 56, requires_grad=True)
    small = torch.randn(8, 64, 28, 28, requires_grad=True)

    separable = DepthwiseSeparableConv2d(64, 128, 3, padding=1)
    two_layers = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1, groups=64), nn.Conv2d(64, 128, 1))
    two_layers[0].load_state_dict(separable.depthwise.state_dict())
    two_layers[1].load_state_dict(separable.pointwise.state_dict())

    dilated, plain_dilated = DilatedConv2d(64, 64, 3, dilation=2), nn.Conv2d(64, 64, 3, padding=2, dilation=2)
    plain_dilated.load_state_dict(dilated.state_dict())

    transposed = TransposedConv2d(64, 32, 4, stride=2, padding=1)
    plain_transposed = nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1)
    plain_transposed.load_state_dict(transposed.state_dict())

    return [
        Case(
            "Depthwise separable, 64 to 128 channels, 8 x 56 x 56",
            "Depthwise separable convolution",
            f"{TORCH} nn.Conv2d(groups=64) and nn.Conv2d(1 x 1)",
            lambda: separable(x),
            lambda: two_layers(x),
        ),
        Case(
            "Dilated by 2, 64 to 64 channels, 8 x 28 x 28",
            "Dilated convolution",
            f"{TORCH} nn.Conv2d(dilation=2)",
            lambda: dilated(small),
            lambda: plain_dilated(small),
        ),
        Case(
            "Transposed, stride 2, 64 to 32 channels, 8 x 28 x 28",
            "Transposed convolution",
            f"{TORCH} nn.ConvTranspose2d",
            lambda: transposed(small),
            lambda: plain_transposed(small),
        ),
    ]
