"""One layer for the whole softmax family, the variant chosen by name."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from nnvocab.activation._shared import check_scores, check_temperature
from nnvocab.activation.adaptive_softmax import adaptive_softmax, check_cutoffs
from nnvocab.activation.entmax import entmax
from nnvocab.activation.grid_softmax import grid_softmax_fused
from nnvocab.activation.gumbel_softmax import gumbel_softmax
from nnvocab.activation.hierarchical_softmax import Tree, hierarchical_softmax_fused, read_tree
from nnvocab.activation.masked_softmax import masked_softmax_fused
from nnvocab.activation.mixture_of_softmaxes import mixture_of_softmaxes
from nnvocab.activation.softmax import softmax_fused
from nnvocab.activation.sparsemax import sparsemax_fused
from nnvocab.activation.temperature_softmax import temperature_softmax_fused
from nnvocab.vocabulary import Example, entry

Variant = Literal[
    "standard",
    "grid",
    "hierarchical",
    "temperature",
    "gumbel",
    "masked",
    "sparsemax",
    "entmax",
    "adaptive",
    "mixture",
]
VARIANTS = get_args(Variant)
NEEDS = {"grid": "rows", "hierarchical": "tree", "adaptive": "cutoffs", "mixture": "num_softmaxes"}


@entry(
    name="Softmax family",
    aliases=("Ten softmax variants as a layer family", "softmax variants", "Standard"),
    ids=("loom_softmax_variants",),
    page="softmax_family",
    kind="concept",
    paper="martins2016from",
    peer="entmax",
    related=("Softmax", "Sparsemax", "Entmax", "Gumbel-softmax"),
    example=lambda: Example(SoftmaxLayer("entmax", alpha=1.5), (torch.randn(3, 5),)),
)
class SoftmaxLayer(nn.Module):
    r"""Layer that turns scores into probabilities by one of ten ways, chosen by name.

    .. math:: p = \Phi_{\text{variant}}(x) \in \Delta

    where :math:`\Delta` is the set of positive weights that sum to one (for ``grid``: one such set for each row).

    Args:
        variant: standard, grid, hierarchical, temperature, gumbel, masked, sparsemax, entmax, adaptive or mixture.
        dim: the axis of the scores.
        temperature: of temperature, gumbel and grid; an ``nn.Parameter`` is learned.
        alpha: of entmax; an ``nn.Parameter`` is learned.
        rows: of grid: how many rows the scores make.
        tree: of hierarchical: nested tuples of class numbers.
        cutoffs: of adaptive: where the head and each tail ends, the last one included.
        num_softmaxes: of mixture: K; the scores are then K for the components and K times V behind them.

    Shapes:
        x: any, scores along ``dim``. mask (masked only): True where allowed. Returns the shape of x; along ``dim`` the
        number of classes, for hierarchical, adaptive and mixture, which need more scores than there are classes.

    Notice:
        No variant falls back on another: what is missing is an error. Scores are all that a variant reads; layers with
        weights of their own are ``AdaptiveSoftmax`` and ``MixtureOfSoftmaxes``. The Gumbel draw is the soft one; for the
        straight-through draw call ``gumbel_softmax(x, hard=True)``.

    Raises:
        ValueError: if there is no such variant, what it needs is missing, or an option of another variant is given.

    Source: each variant's own; the common name is that of Martins & Astudillo 2016.

    >>> SoftmaxLayer("sparsemax")(torch.tensor([1.0, 0.8, 0.1]))
    tensor([0.6000, 0.4000, 0.0000])
    """

    def __init__(
        self,
        variant: Variant = "standard",
        dim: int = -1,
        *,
        temperature: float | nn.Parameter = 1.0,
        alpha: float | nn.Parameter = 1.5,
        rows: int | None = None,
        tree: Tree | None = None,
        cutoffs: tuple[int, ...] | None = None,
        num_softmaxes: int | None = None,
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f"variant is {variant!r}, but must be one of {', '.join(VARIANTS)}")
        given = {"rows": rows, "tree": tree, "cutoffs": cutoffs, "num_softmaxes": num_softmaxes}
        for name, value in given.items():
            needed = NEEDS.get(variant) == name
            if needed and value is None:
                raise ValueError(f"variant {variant!r} needs {name}: give it")
            if value is not None and not needed:
                raise ValueError(f"{name} is of no use to variant {variant!r}: leave it away, or choose its variant")
        if variant not in {"temperature", "gumbel", "grid"} and (isinstance(temperature, Tensor) or temperature != 1):
            raise ValueError(f"variant {variant!r} has no temperature: take variant='temperature'")
        if variant != "entmax" and (isinstance(alpha, Tensor) or alpha != 1.5):
            raise ValueError(f"variant {variant!r} has no alpha: take variant='entmax'")
        check_temperature(temperature)
        if num_softmaxes is not None and num_softmaxes < 1:
            raise ValueError(f"num_softmaxes is {num_softmaxes}, but at least 1 component is needed")
        if tree is not None:
            read_tree(tree)
        if cutoffs is not None:
            check_cutoffs(tuple(cutoffs))
        self.variant, self.dim, self.temperature, self.alpha = variant, dim, temperature, alpha
        self.rows, self.tree, self.cutoffs, self.num_softmaxes = rows, tree, cutoffs, num_softmaxes

    def forward(self, x: Tensor, mask: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
        if (mask is not None) != (self.variant == "masked"):
            raise ValueError(
                "variant 'masked' needs a mask: call layer(x, mask)"
                if mask is None
                else f"variant {self.variant!r} reads no mask: take variant='masked'"
            )
        dim = self.dim
        if self.variant == "grid":
            return grid_softmax_fused(x, self.rows, self.temperature, dim)
        if self.variant == "hierarchical":
            return hierarchical_softmax_fused(x, self.tree, dim)
        if self.variant == "temperature":
            return temperature_softmax_fused(x, self.temperature, dim)
        if self.variant == "gumbel":
            return gumbel_softmax(x, self.temperature, dim=dim, generator=generator)
        if self.variant == "masked":
            return masked_softmax_fused(x, mask, dim)
        if self.variant == "sparsemax":
            return sparsemax_fused(x, dim)
        if self.variant == "entmax":
            return entmax(x, self.alpha, dim)
        if self.variant == "adaptive":
            return adaptive_softmax(x, self.cutoffs, dim)
        if self.variant == "mixture":
            return self._mixture(x)
        return softmax_fused(x, dim)

    def _mixture(self, x: Tensor) -> Tensor:
        check_scores(x, self.dim)
        K, n = self.num_softmaxes, x.shape[self.dim]
        if n <= K or n % K:
            raise ValueError(f"{n} scores are not {K} for the components and {K} times V behind them: give K + K V")
        prior, scores = x.movedim(self.dim, -1).split([K, n - K], dim=-1)
        return mixture_of_softmaxes(scores.unflatten(-1, (K, -1)), prior).movedim(
            -1, self.dim
        )  # (..., K, V) -> (..., V)

    def extra_repr(self) -> str:
        return f"variant={self.variant!r}, dim={self.dim}"
