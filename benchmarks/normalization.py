"""The normalization chapter beside torch: the same sizes, the same epsilon; and RMS beside layer normalization."""

from __future__ import annotations

from collections.abc import Callable

import torch
from bench import Case
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from nnvocab.normalization import (
    BatchNorm,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    RMSNorm,
    add_spectral_norm,
    add_weight_norm,
)


def cases() -> list[Case]:
    """Every normalization beside torch's layer of the same name."""
    torch.manual_seed(0)
    tokens = torch.randn(8, 256, 512, requires_grad=True)
    images = torch.randn(16, 64, 32, 32, requires_grad=True)
    rows = torch.randn(256, 512, requires_grad=True)
    linear = [nn.Linear(512, 512) for _ in range(4)]
    pairs: list[tuple[str, str, str, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], Tensor]] = [
        ("Layer normalization", "8x256, width 512", "nn.LayerNorm", LayerNorm(512), nn.LayerNorm(512), tokens),
        ("RMS normalization", "8x256, width 512", "nn.RMSNorm", RMSNorm(512), nn.RMSNorm(512, 1e-5), tokens),
        ("Batch normalization", "16x64x32x32", "nn.BatchNorm2d", BatchNorm(64), nn.BatchNorm2d(64), images),
        ("Instance normalization", "16x64x32x32", "nn.InstanceNorm2d", InstanceNorm(64), nn.InstanceNorm2d(64), images),
        ("Group normalization", "16x64x32x32, 8 groups", "nn.GroupNorm", GroupNorm(8, 64), nn.GroupNorm(8, 64), images),
        (
            "Weight normalization",
            "linear 512 to 512, 256 rows",
            "parametrizations.weight_norm",
            add_weight_norm(linear[0]),
            parametrizations.weight_norm(linear[1]),
            rows,
        ),
        (
            "Spectral normalization",
            "linear 512 to 512, 256 rows",
            "parametrizations.spectral_norm",
            add_spectral_norm(linear[2]),
            parametrizations.spectral_norm(linear[3]),
            rows,
        ),
    ]
    return [
        Case(
            f"{entry.split()[0].lower()}: {size}",
            entry,
            f"torch {peer} {torch.__version__}",
            lambda o=ours, x=x: o(x),
            lambda p=theirs, x=x: p(x),
            runs=40,
        )
        for entry, size, peer, ours, theirs, x in pairs
    ]
