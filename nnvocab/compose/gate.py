"""The gate: how much of each branch, decided for every input."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from nnvocab.activation import entmax, sparsemax
from nnvocab.vocabulary import Example, entry

Kind = Literal["softmax", "temperature", "sparsemax", "entmax"]
KINDS = ("softmax", "temperature", "sparsemax", "entmax")


@entry(
    name="Gate configuration options",
    aliases=(
        "FilterSoftmax",
        "FilterTemperature",
        "Standard softmax gate",
        "Entmax gate",
        "Sparsemax gate",
        "SoftmaxSparsemax",
        "Temperature softmax gate",
        "Filter temperature",
        "routing sharpness",
    ),
    ids=(
        "par_gate_options",
        "par_gate_softmax_standard",
        "par_gate_entmax",
        "par_gate_sparsemax",
        "par_gate_temperature_softmax",
        "par_filter_temperature",
    ),
    page="gates",
    kind="function",
    paper="peters2019sparse",
    peer="entmax.sparsemax, entmax.entmax15, torch.softmax",
    related=("Learned routing by the gate", "Filter combine mode"),
    example=lambda: Example(
        lambda z: gate_weights(z, kind="entmax", temperature=0.5), (torch.tensor([[2.0, 1.0, 0.2], [0.1, 0.2, 1.5]]),)
    ),
)
def gate_weights(
    logits: Tensor,
    *,
    kind: Kind = "softmax",
    temperature: float = 1.0,
    alpha: float | Tensor = 1.5,
    top_k: int | None = None,
) -> Tensor:
    r"""Turn the logits of a gate into weights that are not negative and sum to 1.

    .. math::
        w = \operatorname{softmax}(z / T), \quad \operatorname{sparsemax}(z / T) \quad\text{or}\quad \alpha\text{-entmax}(z / T)

    where :math:`z` are the logits and :math:`T` the temperature, by which they are divided first, whatever the kind.

    Args:
        logits: what the gate's linear layer returns, one for each branch in the last axis.
        kind: "softmax" (every weight above zero), "temperature" (its other name: the same function), "sparsemax"
            or "entmax" (both may give weights of exactly zero).
        temperature: T; below 1 sharper, above 1 softer.
        alpha: of entmax; 1 is softmax, 2 is sparsemax.
        top_k: only the k largest logits share the weight; the others get exactly zero.

    Shapes:
        logits: (..., N). Returns (..., N).

    Notice:
        How many weights are zero depends on the gaps between the logits, not on the kind alone: equal logits share
        equally in every kind. A low temperature makes the softmax sharp and its gradient small where it is sharp.

    Raises:
        ValueError: if the kind is unknown, the temperature is not above zero, alpha is below 1, or top_k does not fit.

    Source: Martins and Astudillo 2016, section 2; Peters et al. 2019, section 3; top-k from Shazeer et al. 2017, section 2.1.

    >>> [round(w, 3) for w in gate_weights(torch.tensor([2.0, 1.0]), temperature=0.5).tolist()]
    [0.881, 0.119]
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, but must be one of {', '.join(KINDS)}")
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, but must be above 0; 0.1 is nearly a hard choice")
    if not isinstance(alpha, Tensor) and alpha < 1:
        raise ValueError(f"alpha is {alpha}, but must be at least 1: 1 is softmax, 2 is sparsemax")
    N = logits.shape[-1]
    if top_k is not None and not 1 <= top_k <= N:
        raise ValueError(f"top_k is {top_k}, but must lie between 1 and the {N} branches")
    z = logits / temperature
    index = None
    if top_k is not None and top_k < N:
        z, index = z.topk(top_k, dim=-1)  # (..., k)
    if kind in ("softmax", "temperature"):
        w = z.softmax(dim=-1)
    else:
        w = sparsemax(z, dim=-1) if kind == "sparsemax" else entmax(z, alpha=alpha, dim=-1)
    return w if index is None else w.new_zeros(logits.shape).scatter(-1, index, w)  # (..., k) -> (..., N)


def temperature_at(step: int, steps: int, *, start: float = 2.0, end: float = 0.1) -> float:
    """An annealing schedule from soft to hard: the temperature falls by the same factor at each step.

    Args:
        step: the step that is trained now, from 0.
        steps: all steps; from then on the temperature stays at ``end``.
        start: the temperature of step 0.
        end: the temperature of the last step.

    Raises:
        ValueError: if a temperature is not above zero, or there is no step.

    >>> [round(temperature_at(s, 3, start=2.0, end=0.5), 2) for s in range(4)]
    [2.0, 1.0, 0.5, 0.5]
    """
    if min(start, end) <= 0 or steps < 1:
        raise ValueError(
            f"start is {start}, end {end}, steps {steps}: temperatures above 0 and at least one step are needed"
        )
    part = min(max(step, 0) / max(steps - 1, 1), 1.0)
    return start * (end / start) ** part


def straight_through(logits: Tensor, *, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    """A hard choice that can be trained: forwards one branch, backwards the gradient of the softmax.

    Args:
        logits: one for each branch, in the last axis.
        temperature: of the softmax whose gradient is taken.
        generator: draws Gumbel noise, so that branches are chosen with the softmax's probabilities; None takes the largest.

    Shapes:
        logits: (..., N). Returns (..., N), one 1 and zeros.

    Raises:
        ValueError: if the temperature is not above zero.
    """
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, but must be above 0")
    z = logits
    if generator is not None:
        u = torch.rand(z.shape, generator=generator, device=z.device, dtype=z.dtype)
        tiny = torch.finfo(z.dtype).tiny
        z = z - (-u.clamp_min(tiny).log()).clamp_min(tiny).log()
    soft = (z / temperature).softmax(dim=-1)
    hard = torch.zeros_like(soft).scatter(-1, soft.argmax(dim=-1, keepdim=True), 1.0)
    return hard + (soft - soft.detach())


@entry(
    name="Learned routing by the gate",
    aliases=(
        "learned routing",
        "dynamic routing by a gate",
        "dynamic logic gate (learned if/else)",
        "soft conditional",
        "gate network",
    ),
    ids=("par_dynamic_routing", "par_dynamic_logic_gate"),
    page="gates",
    paper="jordan1994hierarchical",
    related=("Gate configuration options", "Filter combine mode", "Expert specialization"),
    example=lambda: Example(Gate(nn.Linear(4, 3), temperature=0.5), (torch.randn(2, 4),)),
)
class Gate(nn.Module):
    r"""Look at the input and return the weight of each branch.

    .. math::
        w(x) = \operatorname{softmax}\big((A x + b) / T\big)

    where :math:`A x + b` is the gate's layer and :math:`T` the temperature; the softmax may be another of its family.

    Args:
        layer: the module from the input to one logit for each branch, as ``nn.Linear(in_features, N)``.
        kind: "softmax", "temperature", "sparsemax" or "entmax", see :func:`gate_weights`.
        temperature: T; an attribute that may be changed while training (:func:`temperature_at`).
        alpha: of entmax; "learned" makes it a weight that stays between 1 and 2, from 1.5 on.
        top_k: only the k largest share the weight; at least 2, for a single weight is always 1 and teaches the gate nothing.
        hard: choose one branch alone, with the gradient of the softmax (:func:`straight_through`).

    Shapes:
        x: what the layer takes, (B, C). Returns (B, N).

    Notice:
        The logits must be able to be negative. Behind a ReLU all branches that the gate does not want get the same
        logit 0 and no gradient. A weight is a share of the mixture, not a reason; a soft gate runs all branches.

    Raises:
        ValueError: if kind, temperature, alpha or top_k do not fit, or the layer ends in a ReLU.
        TypeError: if the layer is no module.

    Source: Jordan and Jacobs 1994, section 2.

    >>> gate = Gate(nn.Linear(4, 3))
    >>> gate(torch.zeros(2, 4)).sum(-1).tolist()
    [1.0, 1.0]
    """

    def __init__(
        self,
        layer: nn.Module,
        *,
        kind: Kind = "softmax",
        temperature: float = 1.0,
        alpha: float | Literal["learned"] = 1.5,
        top_k: int | None = None,
        hard: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(layer, nn.Module):
            raise TypeError(f"layer is a {type(layer).__name__}, but must be a module, as nn.Linear(in_features, N)")
        last = [m for m in layer.modules() if not list(m.children())][-1]
        if isinstance(last, (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Softmax, nn.Softplus)):
            raise ValueError(
                f"the gate's layer ends in {type(last).__name__}, but its logits must be free to be negative: end it with "
                f"a linear layer; the softmax is applied here"
            )
        if top_k == 1 and getattr(last, "out_features", 2) > 1:
            raise ValueError(
                "top_k=1 leaves one weight, which is then 1 whatever the logits, and no gradient: choose top_k=2, or hard=True"
            )
        learned = alpha == "learned"
        if isinstance(alpha, str) and not learned:
            raise ValueError(f"alpha is {alpha!r}, but must be a number of at least 1, or 'learned'")
        if learned and kind != "entmax":
            raise ValueError(
                f"alpha='learned' is a weight of kind='entmax', but kind is {kind!r}: it would never learn"
            )
        if hard and (kind not in ("softmax", "temperature") or top_k is not None):
            raise ValueError("hard=True chooses one branch by itself: leave kind at 'softmax' and top_k at None")
        self.layer, self.kind, self.temperature, self.top_k, self.hard = layer, kind, temperature, top_k, hard
        self.num_branches: int | None = getattr(last, "out_features", None)
        self.alpha = 1.5 if learned else float(alpha)
        self.raw_alpha = nn.Parameter(torch.zeros(())) if learned else None
        gate_weights(torch.zeros(1, self.num_branches or top_k or 2), kind=kind, temperature=temperature,
                     alpha=self.alpha, top_k=top_k)  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        logits = self.layer(x)  # (B, N)
        if self.hard:
            return straight_through(logits, temperature=self.temperature)
        alpha = self.alpha if self.raw_alpha is None else 1 + self.raw_alpha.sigmoid()
        return gate_weights(logits, kind=self.kind, temperature=self.temperature, alpha=alpha, top_k=self.top_k)

    def extra_repr(self) -> str:
        return f"kind={self.kind!r}, temperature={self.temperature}, top_k={self.top_k}, hard={self.hard}"
