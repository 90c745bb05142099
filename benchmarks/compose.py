"""The compose chapter beside the same thing written by hand with torch: what does the container cost?"""

from __future__ import annotations

import copy

import torch
from bench import Case
from torch import Tensor, nn

from nnvocab.compose import (
    Gate,
    GridSoftmaxHead,
    Parallel,
    Residual,
    Sequential,
    Stitch,
    grid_scatter_stacked,
    weighted_sum_stacked,
)

TORCH = f"torch, by hand {torch.__version__}"
B, C = 256, 512


def cases() -> list[Case]:
    """Containers beside the lines that they stand for, with the same weights."""
    torch.manual_seed(0)
    x = torch.randn(B, C, requires_grad=True)
    row = [nn.Linear(C, C), nn.ReLU(), nn.Linear(C, C), nn.ReLU(), nn.Linear(C, C)]
    ours, theirs = Sequential(*row), nn.Sequential(*copy.deepcopy(row))
    branches = [nn.Linear(C, C) for _ in range(4)]
    added, a, b, c, d = Parallel(branches, "add"), *copy.deepcopy(branches)
    joined = Parallel(copy.deepcopy(branches))
    gated = Parallel(copy.deepcopy(branches), "filter", gate=Gate(nn.Linear(C, 4)))
    gate = nn.Linear(C, 4)
    block, body = Residual(copy.deepcopy(branches[0])), copy.deepcopy(branches[0])
    stitch, linear = Stitch(C, C), nn.Linear(C, C)
    outputs = [torch.randn(B, C, requires_grad=True) for _ in range(4)]
    many = [torch.randn(2048, C, requires_grad=True) for _ in range(4)]
    weights = torch.randn(B, 4).softmax(-1).requires_grad_()
    cells = [(0, 0), (0, 1), (1, 0), (1, 1)]
    head, logits = GridSoftmaxHead(3, 4), torch.randn(65536, 12, requires_grad=True)

    def mixed() -> Tensor:
        w = gate(x).softmax(-1)
        return torch.einsum("bn,bnc->bc", w, torch.stack([a(x), b(x), c(x), d(x)], 1))

    size = f"{B} x {C}"
    return [
        Case(
            f"row of three: {size}",
            "Sequential layer",
            f"torch.nn.Sequential {torch.__version__}",
            lambda: ours(x),
            lambda: theirs(x),
            runs=40,
        ),
        Case(
            f"four branches added: {size}",
            "Parallel layer",
            TORCH,
            lambda: added(x),
            lambda: a(x) + b(x) + c(x) + d(x),
            runs=40,
        ),
        Case(
            f"four branches joined: {size}",
            "Combine modes",
            TORCH,
            lambda: joined(x),
            lambda: torch.cat([a(x), b(x), c(x), d(x)], -1),
            runs=40,
        ),
        Case(f"four branches gated: {size}", "Filter combine mode", TORCH, lambda: gated(x), mixed, runs=40),
        Case(f"residual: {size}", "Residual layer", TORCH, lambda: block(x), lambda: x + body(x), runs=40),
        Case(
            f"stitch: {size}",
            "Stitch layer",
            f"torch.nn.Linear {torch.__version__}",
            lambda: stitch(x),
            lambda: linear(x),
            runs=40,
        ),
        Case(
            f"weighted sum of four: {size}",
            "Gate-weighted sum of branches",
            TORCH,
            lambda: weighted_sum_stacked(outputs, weights),
            lambda: torch.einsum("bn,bnc->bc", weights, torch.stack(outputs, 1)),
            runs=60,
        ),
        Case(
            f"grid of 2 x 2: 2048 x {C}",
            "Grid scatter combine mode",
            TORCH,
            lambda: grid_scatter_stacked(many, (2, 2), cells),
            lambda: torch.stack(many, 1).view(2048, 2, 2, 1, C),
            runs=60,
        ),
        Case(
            "probabilities of 65536 x 3 agents x 4 actions",
            "Grid softmax action head",
            f"torch.distributions.Categorical {torch.__version__}",
            lambda: head(logits),
            lambda: torch.distributions.Categorical(logits=logits.view(-1, 3, 4), validate_args=False).probs,
            runs=40,
        ),
    ]
