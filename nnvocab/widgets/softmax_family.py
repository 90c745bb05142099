"""Ten ways to turn scores into weights, each beside standard softmax, with the arithmetic of every weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import traitlets as t
from torch import Tensor

from nnvocab.widgets.base import Widget

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VARIANTS = (
    *("standard", "temperature", "sparsemax", "entmax", "masked", "grid", "hierarchical", "gumbel"),
    *("adaptive", "mixture"),
)
LOGITS, NAMES = [2.0, 1.1, 0.1, -0.6, 1.6, -1.4], ["cat", "dog", "horse", "car", "truck", "ship"]
MOST = 12


def gumbel_noise(count: int, seed: int) -> Tensor:
    """The noise that the page draws for this seed: -log(-log u), with u from the mulberry32 generator."""
    full, noise = 0xFFFFFFFF, []
    a = seed & full
    for _ in range(count):
        a = (a + 0x6D2B79F5) & full
        x = ((a ^ (a >> 15)) * (a | 1)) & full
        x ^= (x + ((x ^ (x >> 7)) * (x | 61) & full)) & full
        noise.append(((x ^ (x >> 14)) + 0.5) / 4294967296)
    return -torch.tensor(noise, dtype=torch.float64).log().neg().log()


def entmax_by_bisection(z: Tensor, alpha: float) -> Tensor:
    """alpha-entmax of a vector: the threshold at which the weights sum to 1 is found by halving an interval."""
    if alpha - 1 < 1e-6:
        return z.softmax(dim=0)
    scaled = (alpha - 1) * z

    def weights(tau: float) -> Tensor:
        return (scaled - tau).clamp(min=0) ** (1 / (alpha - 1))

    low, high = scaled.max().item() - 1, scaled.max().item()
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if weights(middle).sum() >= 1 else (low, middle)
    return weights(low) / weights(low).sum()


def _leaves(tree: Any) -> list[int]:
    return [leaf for child in tree for leaf in (_leaves(child) if isinstance(child, (list, tuple)) else [child])]


def _branches(tree: Any) -> int:
    return sum(1 + _branches(child) for child in tree if isinstance(child, (list, tuple)))


def tree_softmax(tree: Sequence, logits: Tensor, branch_logits: Sequence[float]) -> Tensor:
    """Weights of a tree's leaves: the product of a softmax at each branch along the path. Branches are in preorder."""
    out, given = torch.zeros_like(logits), list(branch_logits)

    def open_branch(children: Sequence, reach: Tensor | float) -> None:
        # preorder: a branch's logit stands before those of the branches inside it
        scores, at = [], 0
        for child in children:
            inside = isinstance(child, (list, tuple))
            scores.append(logits.new_tensor(given[at]) if inside else logits[child])
            at += 1 + _branches(child) if inside else 0
        for child, chance in zip(children, torch.stack(scores).softmax(dim=0), strict=True):
            if isinstance(child, (list, tuple)):
                given.pop(0)
                open_branch(child, reach * chance)
            else:
                out[child] = reach * chance

    open_branch(tree, 1.0)
    return out


class SoftmaxFamily(Widget):
    """Ten ways to turn scores into weights: move a logit, see each weight and its arithmetic.

    Args:
        logits: 2 to 12 scores, a tensor of shape (N,) or a list, such as a classifier's output for one example.
        names: N strings, one an entry.
        variant: the one shown beside standard softmax: standard, temperature, sparsemax, entmax, masked, grid,
            hierarchical, gumbel, adaptive or mixture.

    Notice:
        The temperature divides the logits of every variant but standard. Of a masked row with no entry left, all
        weights are 0. Traits such as ``temperature``, ``alpha``, ``masked`` (a list of entries), ``rows``, ``tree``
        (nested lists of entries), ``nodes`` (a logit for each branch, in preorder), ``cutoff``, ``tail``, ``second``
        and ``share`` can be set from Python, and each answers in the page.

    Raises:
        TypeError: for logits that are no numbers. ValueError: for too few, too many, or not finite ones, for a
        variant that is none, and for a tree that does not hold each entry once.
    """

    file = "softmax_family"

    variant = t.Unicode("sparsemax").tag(sync=True)
    logits = t.List(LOGITS).tag(sync=True)
    names = t.List(t.Unicode(), NAMES).tag(sync=True)
    temperature = t.Float(1.0, min=0.05).tag(sync=True)
    alpha = t.Float(1.5, min=1.0).tag(sync=True)
    masked = t.List(t.Int(), [3, 4]).tag(sync=True)
    rows = t.Int(2, min=1, help="of the grid; it divides the number of entries").tag(sync=True)
    tree = t.List([[0, 1, 2], [[3, 4], 5]], help="nested lists of entries").tag(sync=True)
    nodes = t.List(t.Float(), [0.5, 0.0, 1.0], help="a logit for each branch, in preorder").tag(sync=True)
    cutoff = t.Int(3, min=1, help="entries in the head of adaptive softmax").tag(sync=True)
    tail = t.Float(0.0, help="the logit of its tail").tag(sync=True)
    second = t.List(t.Float(), [-1.0, -0.5, 0.2, 2.4, 0.0, 1.0], help="logits of the second softmax").tag(sync=True)
    share = t.Float(0.5, min=0.0, max=1.0, help="the first softmax's part of the mixture").tag(sync=True)
    component = t.Int(1, min=1, max=2, help="which softmax of the mixture the sliders move").tag(sync=True)
    seed = t.Int(7, min=0).tag(sync=True)
    hard = t.Bool(False, help="straight-through: one-hot forward").tag(sync=True)
    focus = t.Int(1, min=0).tag(sync=True)

    def __init__(self, logits: Any = None, names: Sequence[str] | None = None, variant: str = "sparsemax") -> None:
        if logits is None:
            super().__init__(variant=variant, **({} if names is None else {"names": list(names)}))
            return
        try:
            values = torch.as_tensor(logits).detach().cpu().double()
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"logits must be a tensor or a list of numbers; it was given {logits!r:.60}") from error
        if values.ndim != 1 or not 2 <= len(values) <= MOST:
            raise ValueError(
                f"logits has shape {tuple(values.shape)}; the figure needs (N,) with N from 2 to {MOST}. "
                f"Of a batch choose one row, of many scores the largest: logits[0].topk({MOST}).values"
            )
        N = len(values)
        half = (N + 1) // 2
        names = [str(i + 1) for i in range(N)] if names is None else list(names)
        super().__init__(
            logits=[float(f"{x:.6g}") for x in values.tolist()],
            names=names,
            variant=variant,
            masked=[],
            rows=2 if N % 2 == 0 else 1,
            tree=[list(range(half)), list(range(half, N))],
            nodes=[0.0, 0.0],
            cutoff=half if half < N else 1,
            second=[float(f"{x:.6g}") for x in values.flip(0).tolist()],
            focus=0,
        )

    @t.validate("variant")
    def _known(self, proposal: dict) -> str:
        if proposal["value"] not in VARIANTS:
            raise ValueError(f"variant is {proposal['value']!r}; it must be one of {', '.join(VARIANTS)}")
        return proposal["value"]

    @t.validate("logits", "second")
    def _finite(self, proposal: dict) -> list[float]:
        value = [float(x) for x in proposal["value"]]
        if not 2 <= len(value) <= MOST or not torch.tensor(value).isfinite().all():
            raise ValueError(
                f"{proposal['trait'].name} needs 2 to {MOST} finite numbers, and was given {proposal['value']}. "
                "To leave an entry out, use masked=[its place] with variant='masked'"
            )
        return value

    @t.validate("names")
    def _one_a_logit(self, proposal: dict) -> list[str]:
        if len(proposal["value"]) != len(self.logits):
            raise ValueError(
                f"names holds {len(proposal['value'])} strings for {len(self.logits)} logits; give one for each"
            )
        return [str(name) for name in proposal["value"]]

    @t.validate("tree")
    def _whole(self, proposal: dict) -> list:
        tree = proposal["value"]
        if sorted(_leaves(tree)) != list(range(len(self.logits))):
            raise ValueError(
                f"tree is {tree}; it must hold each entry from 0 to {len(self.logits) - 1} once, in nested lists such "
                "as [[0, 1], [2, [3, 4]]]"
            )
        return tree

    def standard(self) -> Tensor:
        """Softmax of the logits as they are, (N,)."""
        return torch.tensor(self.logits, dtype=torch.float64).softmax(dim=0)

    def weights(self) -> Tensor:
        """The chosen variant's weights in the present state, (N,)."""
        logits = torch.tensor(self.logits, dtype=torch.float64)
        N, z = len(logits), logits / (1.0 if self.variant == "standard" else self.temperature)
        if self.variant in ("sparsemax", "entmax"):
            return entmax_by_bisection(z, 2.0 if self.variant == "sparsemax" else self.alpha)
        if self.variant == "masked":
            hidden = torch.tensor([i in self.masked for i in range(N)])
            return z.masked_fill(hidden, float("-inf")).softmax(dim=0).nan_to_num(0.0)
        if self.variant == "grid":
            return z.view(self.rows if N % self.rows == 0 else 1, -1).softmax(dim=1).flatten()
        if self.variant == "hierarchical":
            given = [*self.nodes, *[0.0] * _branches(self.tree)]
            return tree_softmax(self.tree, z, [x / self.temperature for x in given])
        if self.variant == "adaptive":
            head = min(self.cutoff, N - 1)
            return tree_softmax([*range(head), list(range(head, N))], z, [self.tail / self.temperature])
        if self.variant == "gumbel":
            soft = ((logits + gumbel_noise(N, self.seed)) / self.temperature).softmax(dim=0)
            return torch.eye(N, dtype=torch.float64)[soft.argmax()] if self.hard else soft
        if self.variant == "mixture":
            other = torch.tensor(([*self.second] + [0.0] * N)[:N], dtype=torch.float64) / self.temperature
            return self.share * z.softmax(dim=0) + (1 - self.share) * other.softmax(dim=0)
        return z.softmax(dim=0)

    def still(self) -> Figure:
        """The logits, standard softmax, and the chosen variant."""
        from matplotlib import pyplot as plt

        from nnvocab.style import PALETTE

        weights, standard, N = self.weights(), self.standard(), len(self.logits)
        places = torch.arange(N).numpy()
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(7.2, 1.2 + 0.4 * N), sharey=True, layout="constrained", width_ratios=(2, 3)
        )
        left.hlines(places, 0, self.logits, color=PALETTE["input"])
        left.plot(self.logits, places, "o", color=PALETTE["input"])
        left.axvline(0, color="#999999", linewidth=0.8)
        left.set(xlabel="logit z", title="Scores", yticks=places)
        left.set_yticklabels(self.names)
        left.invert_yaxis()
        right.barh(places - 0.24, standard.numpy(), 0.2, color=PALETTE["masked"], label="standard softmax")
        right.barh(places + 0.12, weights.numpy(), 0.44, color=PALETTE["output"], label=self.variant)
        for i, (a, b) in enumerate(zip(standard.tolist(), weights.tolist(), strict=True)):
            right.text(a + 0.01, i - 0.24, f"{a:.2f}", va="center", size=8)
            right.text(b + 0.01, i + 0.14, "0" if b == 0 else f"{b:.3f}", va="center", size=9, weight="bold")
        right.set(xlabel="weight p", xlim=(0, 1.15))
        right.set_title(f"{self.variant}: {int((weights == 0).sum())} of {N} weights are exactly 0")
        right.legend(loc="lower right", fontsize=9)
        return figure
