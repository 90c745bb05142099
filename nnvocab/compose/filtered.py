"""Filter mode: a gate decides how much of each branch goes into the mixture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from nnvocab.compose.combine import weighted_sum_stacked
from nnvocab.compose.gate import Gate, Kind
from nnvocab.compose.shapes import first_tensor, output_shape
from nnvocab.vocabulary import Example, entry


def check_branches(branches: Iterable[nn.Module]) -> nn.ModuleList:
    """The branches as a module list; refuses none at all and what is no module."""
    made = list(branches)
    if not made:
        raise ValueError("there is no branch: give at least one module, nn.Identity() for a branch that hands x on")
    for number, branch in enumerate(made):
        if not isinstance(branch, nn.Module):
            raise TypeError(f"branch {number} is a {type(branch).__name__}, but must be an nn.Module")
        if isinstance(branch, nn.MultiheadAttention):
            raise TypeError(
                f"branch {number} is a MultiheadAttention, which takes three inputs: wrap it, as SequenceBranch(layer)"
            )
    return nn.ModuleList(made)


def check_gate(gate: nn.Module, count: int) -> None:
    """Refuse a gate that returns logits, or is known to have another number of outputs than there are branches."""
    if not isinstance(gate, nn.Module):
        raise TypeError(
            f"gate is a {type(gate).__name__}, but must be a module, as Gate(nn.Linear(in_features, {count}))"
        )
    if isinstance(gate, nn.Linear):
        raise ValueError(
            "gate is an nn.Linear, which returns logits, but weights that sum to 1 are needed: wrap it, as Gate(layer)"
        )
    known = getattr(gate, "num_branches", None)
    if known is not None and known != count:
        raise ValueError(
            f"the gate has {known} outputs for {count} branches: it needs one for each, as nn.Linear(in_features, {count})"
        )


def mix_branches(branches: Sequence[nn.Module], x: Tensor, weights: Tensor, *, pad: bool = False) -> Tensor:
    r"""Run every branch and add what they return, each times its weight, as the equation is written.

    .. math::
        y = \sum_i w_i\, f_i(x)

    where :math:`f_i` are the branches and :math:`w_i` their weights.
    """
    return weighted_sum_stacked([first_tensor(branch(x)) for branch in branches], weights, pad=pad)


def mix_branches_skipping(branches: Sequence[nn.Module], x: Tensor, weights: Tensor, *, pad: bool = False) -> Tensor:
    """The same function with less work: a branch runs on those samples alone in which its weight is not zero.

    The value is the same, and so is every gradient through a gate whose zeros are flat (sparsemax, entmax, top-k). The
    branches must treat the samples of a batch one by one, so no batch norm in training. Which samples a branch gets is
    read from the weights, so a GPU waits once for each branch.
    """
    if pad:
        raise ValueError(
            "a branch that is skipped has no width to pad to: use Stitch for one size, or skip_zeros=False"
        )
    if weights.dim() != 2:
        raise ValueError(f"weights have shape {tuple(weights.shape)}, but samples are skipped, so (B, N) is needed")
    if weights.shape[1] != len(branches):
        raise ValueError(
            f"there are {weights.shape[1]} weights for {len(branches)} branches: the gate must have one output for each "
            f"branch, as nn.Linear(in_features, {len(branches)})"
        )
    if len(x) == 0:
        return mix_branches(branches, x, weights)
    y = None
    for i, branch in enumerate(branches):
        rows = weights[:, i].nonzero().squeeze(-1)  # the samples that use branch i
        if len(rows) == 0:
            continue
        part = first_tensor(branch(x[rows]))
        part = weights[rows, i].reshape(-1, *[1] * (part.dim() - 1)) * part
        y = part.new_zeros(len(x), *part.shape[1:]) if y is None else y
        if part.shape[1:] != y.shape[1:]:
            raise ValueError(
                f"branch {i} returns samples of shape {tuple(part.shape[1:])}, another branch {tuple(y.shape[1:])}: bring them "
                f"to one size with Stitch"
            )
        y = y.index_add(0, rows, part)
    if y is None:
        raise ValueError("every weight is zero: the weights of a sample must sum to 1")
    return y


@entry(
    name="Filter combine mode",
    aliases=(
        "soft mixture of experts",
        "gated combination",
        "dynamic logic gate",
        "Building a filtered parallel layer",
        "FilterGateConfig",
    ),
    ids=("loom_filter_mode", "par_filter", "par_build_filter"),
    page="gates",
    kind="block",
    paper="jacobs1991adaptive",
    related=("Gate-weighted sum of branches", "Learned routing by the gate", "Parallel layer"),
    example=lambda: Example(
        FilteredParallel([nn.Linear(4, 3), nn.Linear(4, 3)], Gate(nn.Linear(4, 2))), (torch.randn(2, 4),)
    ),
)
class FilteredParallel(nn.Module):
    r"""Let a gate mix what the branches return, anew for every input.

    .. math::
        y = \sum_i w_i(x)\, f_i(x), \qquad w_i(x) \ge 0, \quad \sum_i w_i(x) = 1

    where :math:`f_i` are the branches and :math:`w(x)` is what the gate returns.

    Args:
        branches: modules of the same input, any kind.
        gate: a :class:`Gate`, or a module from the input to weights (B, N).
        pad: fill smaller outputs with zeros; else the branches must return equal shapes.
        skip_zeros: run a branch on those samples alone in which its weight is not exactly zero.

    Shapes:
        x: what the branches take, (B, ...). Returns what they return; with ``need_weights`` also the weights (B, N).

    Notice:
        A weight of zero saves nothing by itself: by default every branch runs on every sample. ``skip_zeros`` saves
        the work, and pays only where the gate has true zeros (sparsemax, entmax, top-k, hard).

    Raises:
        ValueError: if there is no branch, the gate has another number of outputs, or the outputs do not fit.
        TypeError: if a branch is no module.

    Source: Jacobs et al. 1991, figure 1 and equation 1.1.

    >>> layer = FilteredParallel([nn.Linear(16, 8), nn.Linear(16, 8)], Gate(nn.Linear(16, 2)))
    >>> y, weights = layer(torch.zeros(3, 16), need_weights=True)
    >>> y.shape, weights.shape
    (torch.Size([3, 8]), torch.Size([3, 2]))
    """

    def __init__(
        self, branches: Iterable[nn.Module], gate: nn.Module, *, pad: bool = False, skip_zeros: bool = False
    ) -> None:
        super().__init__()
        self.branches = check_branches(branches)
        check_gate(gate, len(self.branches))
        if pad and skip_zeros:
            raise ValueError("a branch that is skipped has no width to pad to: choose pad or skip_zeros, or use Stitch")
        self.gate, self.pad, self.skip_zeros = gate, pad, skip_zeros

    def output_shape(self, input_shape: Sequence[int]) -> tuple[int, ...]:
        """The shape that one sample of shape ``input_shape`` leaves with."""
        shapes = [output_shape(branch, input_shape) for branch in self.branches]
        samples = [torch.empty(1, *s, device="meta") for s in shapes]
        weights = torch.empty(1, len(shapes), device="meta")
        return tuple(weighted_sum_stacked(samples, weights, pad=self.pad).shape[1:])

    def forward(self, x: Tensor, *, need_weights: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        weights = self.gate(x)  # (B, N)
        if weights.shape[-1] != len(self.branches):
            check = f"the gate returned {weights.shape[-1]} weights for {len(self.branches)} branches"
            raise ValueError(f"{check}: it needs one for each, as nn.Linear(in_features, {len(self.branches)})")
        mix = mix_branches_skipping if self.skip_zeros else mix_branches
        y = mix(self.branches, x, weights, pad=self.pad)
        return (y, weights) if need_weights else y


def balance_loss(weights: Tensor, probabilities: Tensor | None = None) -> Tensor:
    r"""How unevenly a batch uses the branches: 1 if evenly, N if one branch takes all.

    .. math::
        L = N \sum_i f_i P_i

    where :math:`f_i` is the part of the samples whose largest weight is that of branch i (it has no gradient), and
    :math:`P_i` the mean probability of branch i.

    Args:
        weights: what the gate returned.
        probabilities: the softmax over all logits of the gate; None takes the weights. Give it with top-k: what was not
            chosen has weight 0, and only by its probability does it get a gradient.

    Shapes:
        weights and probabilities: (B, N). Returns a scalar.

    Raises:
        ValueError: if there is no sample, or probabilities and weights differ in shape.

    Source: Fedus et al. 2022, section 2.2, equations 4 to 6.

    >>> balance_loss(torch.tensor([[1.0, 0.0], [1.0, 0.0]])).item()
    2.0
    """
    if weights.numel() == 0:
        raise ValueError(
            f"weights have shape {tuple(weights.shape)}: how evenly branches are used needs a sample at least"
        )
    if probabilities is not None and probabilities.shape != weights.shape:
        raise ValueError(
            f"weights have shape {tuple(weights.shape)} and probabilities {tuple(probabilities.shape)}, but must be equal"
        )
    N = weights.shape[-1]
    flat = weights.reshape(-1, N)
    first = torch.zeros_like(flat).scatter(-1, flat.argmax(-1, keepdim=True), 1.0)
    share = flat if probabilities is None else probabilities.reshape(-1, N)
    return N * (first.mean(0).detach() * share.mean(0)).sum()


@entry(
    name="Filtered parallel layer (mixture of experts)",
    aliases=("InitFilteredParallelLayer", "filtered parallel layer"),
    ids=("par_moe_layer",),
    page="gates",
    kind="block",
    paper="shazeer2017outrageously",
    related=("Filter combine mode", "Gate configuration options", "Expert specialization"),
    example=lambda: Example(
        mixture_of_branches([nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(4, 3)], 4), (torch.randn(2, 4),)
    ),
)
def mixture_of_branches(
    branches: Iterable[nn.Module],
    in_features: int,
    *,
    kind: Kind = "softmax",
    temperature: float = 1.0,
    top_k: int | None = None,
) -> FilteredParallel:
    r"""Build a mixture of experts in one call: the branches, and a linear gate of the right size in front of them.

    .. math::
        y = \sum_{i \in \text{top-}k} w_i(x)\, f_i(x), \qquad w = \operatorname{softmax}\big((A x + b)/T\big) \text{ over the top } k

    where :math:`f_i` are the branches, A and b the gate's weights, and T the temperature.

    Args:
        branches: the experts, modules of (B, in_features).
        in_features: width of the input, which is also the gate's.
        kind: "softmax", "temperature", "sparsemax" or "entmax".
        temperature: divides the gate's logits.
        top_k: only the k largest logits share the weight; the other branches are skipped.

    Shapes:
        x: (B, in_features). The layer returns what the branches return, (B, C).

    Notice:
        Add ``balance_loss`` times a small factor to the loss where experts fall out of use: what is never
        chosen never learns. Branches with exactly zero weight do not run where ``top_k`` or the kind makes zeros.

    Raises:
        ValueError: if there is no branch, or ``top_k`` exceeds their number, or is 1: a single weight is always 1 and the gate would
            get no gradient.

    Source: Shazeer et al. 2017, section 2.1 (top-k gating, here without noise).

    >>> layer = mixture_of_branches([nn.Linear(64, 32) for _ in range(4)], 64, top_k=2)
    >>> _, weights = layer(torch.randn(5, 64), need_weights=True)
    >>> (weights > 0).sum(-1).tolist()
    [2, 2, 2, 2, 2]
    """
    made = check_branches(branches)
    first = next(made.parameters(), None)
    place = {} if first is None else {"device": first.device, "dtype": first.dtype}
    gate = Gate(nn.Linear(in_features, len(made), **place), kind=kind, temperature=temperature, top_k=top_k)
    sparse = kind in ("sparsemax", "entmax") or (top_k is not None and top_k < len(made))
    return FilteredParallel(made, gate, skip_zeros=sparse)
