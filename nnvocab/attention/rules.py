"""Rules of who may look at whom, how much they leave, and how far a stack of layers reaches.

A rule is a function of two positions, ``rule(i, j)``: may the query at i look at the key at j? It is written with
operators only, so that it takes integers, arrays and tensors alike and can be asked about any block of the mask
without making all of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nnvocab.attention.qkv import check_at_least, lines

Rule = Callable[[Any, Any], Any]


def window_rule(window_size: int, *, causal: bool = False, dilation: int = 1) -> Rule:
    """Look at [i - w, i + w], or at [i - w + 1, i] if causal; with a dilation d at every d-th position, d times as far."""
    check_at_least(1, window_size=window_size, dilation=dilation)
    if causal:
        return lambda i, j: (j <= i) & (i - j < window_size * dilation) & ((i - j) % dilation == 0)
    return lambda i, j: (abs(i - j) <= window_size * dilation) & ((i - j) % dilation == 0)


def global_rule(global_tokens: Sequence[int]) -> Rule:
    """Chosen positions look at all, and all look at them."""
    chosen = tuple(global_tokens)

    def rule(i: Any, j: Any) -> Any:
        seen = (i < 0) & (j < 0)  # nobody, in the right shape
        for g in chosen:
            seen = seen | (i == g) | (j == g)
        return seen

    return rule


def strided_rule(stride: int) -> Rule:
    """The Sparse Transformer's strided pattern, causal: the last ``stride`` positions, and every ``stride``-th before."""
    check_at_least(1, stride=stride)
    return lambda i, j: (j <= i) & ((i - j < stride) | ((i - j) % stride == 0))


def fixed_rule(stride: int, summary: int = 1) -> Rule:
    """The Sparse Transformer's fixed pattern, causal: the own block, and the last ``summary`` cells of all before."""
    if not 1 <= summary <= stride:
        raise ValueError(f"summary is {summary} and stride {stride}, but a block has from 1 to {stride} summary cells")
    return lambda i, j: (j <= i) & ((i // stride == j // stride) | (j % stride >= stride - summary))


def random_rule(T: int, num_random: int, *, seed: int = 0, causal: bool = False) -> Rule:
    """Each query looks at ``num_random`` distinct keys of T, drawn once for all (of the past and itself if causal)."""
    check_at_least(1, T=T)
    check_at_least(0, num_random=num_random)
    draw = random.Random(seed)
    picks = np.full((T, num_random), -1)
    for i in range(T):
        found = draw.sample(range(i + 1 if causal else T), min(num_random, i + 1 if causal else T))
        picks[i, : len(found)] = found

    def rule(i: Any, j: Any) -> Any:
        try:
            if isinstance(i, Tensor):
                return (torch.as_tensor(picks, device=i.device)[i] == j.unsqueeze(-1)).any(-1)
            return (picks[i] == np.asarray(j)[..., None]).any(-1)
        except IndexError:
            raise ValueError(
                f"lots were drawn for {T} positions, but are asked about more: make the rule anew"
            ) from None

    return rule


def causal_rule(i: Any, j: Any) -> Any:
    """Look at the own position and back."""
    return j <= i


def either(*rules: Rule) -> Rule:
    """Look where one of the rules allows it."""

    def rule(i: Any, j: Any) -> Any:
        seen = rules[0](i, j)
        for other in rules[1:]:
            seen = seen | other(i, j)
        return seen

    return rule


def both(*rules: Rule) -> Rule:
    """Look only where all of the rules allow it."""

    def rule(i: Any, j: Any) -> Any:
        seen = rules[0](i, j)
        for other in rules[1:]:
            seen = seen & other(i, j)
        return seen

    return rule


def rule_mask(rule: Rule, T: int, *, device: torch.device | str | None = None) -> Tensor:
    """Ask a rule about every pair of T positions: the mask (T, T), True where a query may look.

    >>> rule_mask(window_rule(1), 4).int()
    tensor([[1, 1, 0, 0],
            [1, 1, 1, 0],
            [0, 1, 1, 1],
            [0, 0, 1, 1]], dtype=torch.int32)
    """
    check_at_least(1, T=T)
    return rule(*lines(T, device))


def density(mask: Tensor) -> float:
    """The share of the pairs that a mask leaves.

    >>> density(torch.ones(4, 4).tril().bool())
    0.625
    """
    return mask.float().mean().item()


def check_square(mask: Tensor) -> None:
    """Raise an error unless the mask has as many queries as keys."""
    if mask.ndim != 2 or mask.shape[0] != mask.shape[1]:
        raise ValueError(f"a mask has shape {tuple(mask.shape)}, but needs (T, T), of one layer and one head")


def reach(masks: Iterable[Tensor]) -> Tensor:
    """Say which inputs can influence which outputs when layers with these masks follow each other.

    Args:
        masks: the mask of each layer, the first layer's first.

    Shapes:
        Each mask (T, T) of booleans. Returns (T, T): row i is True at the inputs that output i can depend on.

    >>> one = rule_mask(window_rule(1), 5)
    >>> reach([one, one])[0].int()
    tensor([1, 1, 1, 0, 0], dtype=torch.int32)
    """
    seen: Tensor | None = None
    for mask in masks:
        check_square(mask)
        step = mask.double()
        seen = step if seen is None else ((step @ seen) > 0).double()
    if seen is None:
        raise ValueError("no mask was given: reach needs that of one layer at least")
    return seen > 0


def layers_to_reach_all(mask: Tensor, *, most: int = 1000) -> int | None:
    """Count the layers with this mask after which every output can depend on every input; None if it never happens.

    Args:
        mask: (T, T) of booleans.
        most: layers that are tried.

    >>> layers_to_reach_all(rule_mask(window_rule(2), 9)), layers_to_reach_all(rule_mask(causal_rule, 9))
    (4, None)
    """
    check_square(mask)
    seen = mask
    for n in range(1, most + 1):
        if seen.all():
            return n
        wider = (mask.double() @ seen.double()) > 0
        if torch.equal(wider, seen):
            return None
        seen = wider
    return None


def dependencies(module: nn.Module | Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Measure by gradients which outputs depend on which inputs.

    Args:
        module: what maps (B, T, C) to (B, T, C').
        x: an input.

    Shapes:
        x: (B, T, C). Returns (T, T) of booleans: row t is True at the positions whose change moves output t.
    """
    x = x.detach().requires_grad_()
    y = module(x)
    rows = []
    for t in range(y.shape[1]):
        (g,) = torch.autograd.grad((y[:, t] * torch.linspace(1, 2, y.shape[-1]).to(y)).sum(), x, retain_graph=True)
        rows.append((g != 0).any(dim=-1).any(dim=0))
    return torch.stack(rows)
