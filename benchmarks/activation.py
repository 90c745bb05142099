"""The activation chapter beside torch, and sparsemax and entmax beside the entmax package."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import torch
import torch.nn.functional as F
from bench import Case
from torch import Tensor, nn

from nnvocab.activation import (
    ELU,
    GEGLU,
    GELU,
    GLU,
    SELU,
    AdaptiveSoftmax,
    Hardsigmoid,
    Hardswish,
    LeakyReLU,
    Mish,
    PReLU,
    ReGLU,
    ReLU,
    Sigmoid,
    SiLU,
    SwiGLU,
    Tanh,
    entmax,
    gumbel_softmax,
    log_softmax_fused,
    masked_softmax_fused,
    softmax_fused,
    sparsemax_fused,
    temperature_softmax_fused,
)

TORCH = f"torch {torch.__version__}"
B, C = 512, 2048


def _halves(gate: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def call(x: Tensor) -> Tensor:
        value, other = x.chunk(2, -1)
        return value * gate(other)

    return call


def cases() -> list[Case]:
    """Every activation beside torch's own; the sparse family beside the package of its authors."""
    torch.manual_seed(0)
    x = torch.randn(B, C, requires_grad=True)
    size = f"{B} x {C}"
    pairs: list[tuple[str, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = [
        ("ReLU", ReLU(), nn.ReLU()),
        ("Leaky ReLU", LeakyReLU(), nn.LeakyReLU()),
        ("PReLU", PReLU(), nn.PReLU()),
        ("ELU", ELU(), nn.ELU()),
        ("SELU", SELU(), nn.SELU()),
        ("GELU", GELU(), nn.GELU()),
        ("SiLU / Swish", SiLU(), nn.SiLU()),
        ("Mish", Mish(), nn.Mish()),
        ("Sigmoid", Sigmoid(), nn.Sigmoid()),
        ("Tanh", Tanh(), nn.Tanh()),
        ("Hardsigmoid", Hardsigmoid(), nn.Hardsigmoid()),
        ("Hardswish", Hardswish(), nn.Hardswish()),
        ("GLU", GLU(), nn.GLU()),
        ("ReGLU", ReGLU(), _halves(F.relu)),
        ("GeGLU", GEGLU(), _halves(F.gelu)),
        ("SwiGLU", SwiGLU(), _halves(F.silu)),
        ("Softmax", softmax_fused, lambda v: torch.softmax(v, -1)),
        ("Log-softmax", log_softmax_fused, lambda v: torch.log_softmax(v, -1)),
    ]
    rows = [
        Case(f"{entry}: {size}", entry, TORCH, lambda f=ours: f(x), lambda f=theirs: f(x), runs=40)
        for entry, ours, theirs in pairs
    ]
    mask = torch.rand(B, C) < 0.7
    more: list[tuple[str, Callable[[], Tensor], Callable[[], Tensor], float]] = [
        (
            "Masked softmax",
            lambda: masked_softmax_fused(x, mask),
            lambda: torch.nan_to_num(torch.masked.softmax(x, -1, mask=mask)),
            1.05,  # ours fills twice, so that no NaN arises on the way, forwards or back, and pays for it
        ),
        (
            "Temperature softmax",
            lambda: temperature_softmax_fused(x, 2.0),
            lambda: torch.softmax((x - x.detach().amax(-1, keepdim=True)) / 2.0, -1),
            1.05,
        ),
        ("Gumbel-softmax", lambda: gumbel_softmax(x, 0.5), lambda: F.gumbel_softmax(x, 0.5), 1.05),
    ]
    rows += [Case(f"{entry}: {size}", entry, TORCH, ours, theirs, goal=goal) for entry, ours, theirs, goal in more]

    features, target = torch.randn(256, 64, requires_grad=True), torch.randint(5000, (256,))
    theirs = nn.AdaptiveLogSoftmaxWithLoss(64, 5000, [200, 1000])
    ours = AdaptiveSoftmax(64, 5000, (200, 1000))
    rows.append(
        Case(
            "Adaptive softmax, loss: 256 x 64, 5000 classes",
            "Adaptive softmax",
            TORCH,
            lambda: ours.loss(features, target),
            lambda: theirs(features, target).loss,
        )
    )
    try:
        import entmax as peer
    except ImportError:
        return rows
    try:
        name = f"entmax {version('entmax')}"
    except PackageNotFoundError:  # pragma: no cover
        name = "entmax"
    for n, width in ((512, 64), (128, 2048)):
        s = torch.randn(n, width, requires_grad=True)
        at = f"{n} x {width}"
        rows += [
            Case(
                f"Sparsemax: {at}",
                "Sparsemax",
                name,
                lambda s=s: sparsemax_fused(s),
                lambda s=s: peer.sparsemax(s),
                goal=1.0,
            ),
            Case(
                f"Entmax, alpha 1.5: {at}",
                "Entmax",
                name,
                lambda s=s: entmax(s),
                lambda s=s: peer.entmax15(s),
                goal=1.0,
            ),
            Case(
                f"Entmax, alpha 1.3: {at}",
                "Entmax",
                name,
                lambda s=s: entmax(s, 1.3),
                lambda s=s: peer.entmax_bisect(s, 1.3),
                goal=1.0,
            ),
        ]
    return rows
