"""Attention masks to draw and to read: who may look at whom, what a stack of layers reaches, and the work it saves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
import traitlets as t
from torch import Tensor

from nnvocab.widgets.base import Widget

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PATTERNS = ("full", "causal", "window", "global", "dilated", "random", "bigbird", "strided", "fixed", "oscillating")
LONGEST = 48
WINDOW, GLOBAL, RANDOM, STRIDE, PLAIN, DILATED = 1, 2, 3, 4, 5, 6  # why a cell is open


def uniform(seed: int) -> Iterator[float]:
    """Random numbers in [0, 1), the same ones as in the page (the generator mulberry32)."""
    a, cut = seed & 0xFFFFFFFF, 0xFFFFFFFF
    while True:
        a = (a + 0x6D2B79F5) & cut
        b = ((a ^ (a >> 15)) * (1 | a)) & cut
        b = ((b + (((b ^ (b >> 7)) * (61 | b)) & cut)) & cut) ^ b
        yield (b ^ (b >> 14)) / 2**32


def _draw(reasons: list[list[int]], count: int, causal: bool, seed: int) -> None:
    """Open ``count`` more keys in each row: distinct ones that are still closed, none of the future if causal."""
    numbers = uniform(seed)
    for i, row in enumerate(reasons):
        left = [s for s in range(len(row)) if not row[s] and (s <= i or not causal)]
        for n in range(min(count, len(left))):
            at = n + int(next(numbers) * (len(left) - n))
            left[n], left[at] = left[at], left[n]
            row[left[n]] = RANDOM


def reasons(
    pattern: str,
    T: int,
    *,
    causal: bool = False,
    window: int = 2,
    dilation: int = 2,
    global_tokens: int = 1,
    random_keys: int = 2,
    seed: int = 0,
    stride: int = 4,
    summary: int = 1,
    unit: int = 1,
    split: bool = False,
) -> list[list[list[int]]]:
    """Why each key is open to each query (0: it is not), a grid for each mask that the layers take in turn."""

    def grid(rule: Any, size: int = T) -> list[list[int]]:
        return [[rule(i, s) for s in range(size)] for i in range(size)]

    def near(i: int, s: int) -> int:
        return WINDOW if (i - window < s <= i if causal else abs(i - s) <= window) else 0

    def anchored(i: int, s: int) -> int:
        return GLOBAL if (i < global_tokens or s < global_tokens) and (s <= i or not causal) else near(i, s)

    def dilated(i: int, s: int) -> int:
        far = (window - 1) * dilation if causal else window * dilation
        return DILATED if (i - s) % dilation == 0 and (0 if causal else -far) <= i - s <= far else 0

    if pattern == "oscillating":
        return [grid(lambda i, s: PLAIN), grid(lambda i, s: PLAIN * (s <= i)), grid(lambda i, s: PLAIN * (s >= i))]
    if pattern in ("strided", "fixed"):
        if pattern == "strided":
            first = grid(lambda i, s: WINDOW * (i - stride <= s <= i))
            second = grid(lambda i, s: STRIDE * (s <= i and (i - s) % stride == 0))
        else:
            first = grid(lambda i, s: WINDOW * (s <= i and s // stride == i // stride))
            second = grid(lambda i, s: STRIDE * (s <= i and s % stride >= stride - summary))
        return [first, second] if split else [grid(lambda i, s: first[i][s] or second[i][s])]
    if pattern == "bigbird":
        blocks = grid(anchored, -(-T // unit))
        _draw(blocks, random_keys, causal, seed)
        return [grid(lambda i, s: blocks[i // unit][s // unit] if s <= i or not causal else 0)]
    if pattern == "random":
        found = grid(lambda i, s: PLAIN * (s == i))
        _draw(found, random_keys, causal, seed)
        return [found]
    rules = {
        "full": lambda i, s: PLAIN,
        "causal": lambda i, s: PLAIN * (s <= i),
        "window": near,
        "global": anchored,
        "dilated": dilated,
    }
    return [grid(rules[pattern])]


def _given(mask: Any) -> list[Tensor]:
    masks = list(mask) if isinstance(mask, (list, tuple)) else [mask]
    need = "give a tensor of bool, (T, S), True where a query may look, or a list of them that the layers take in turn"
    for one in masks:
        if not isinstance(one, Tensor):
            raise TypeError(f"a mask was given as {type(one).__name__}; {need}")
        if one.dtype != torch.bool:
            raise TypeError(
                f"the mask holds {one.dtype}; {need}. Of a mask that is added to the scores: mask > -inf. "
                "Of nn.MultiheadAttention's, where True forbids: ~mask"
            )
        if one.ndim != 2 or not 1 <= min(one.shape) or max(one.shape) > LONGEST:
            raise ValueError(
                f"the mask has shape {tuple(one.shape)}; it needs (T, S) with 1 to {LONGEST} positions. "
                "Select one example and one head, or its first rows and columns"
            )
    if not masks:
        raise ValueError(f"an empty list of masks was given; {need}")
    shapes = {tuple(one.shape) for one in masks}
    if len(masks) > 1 and (len(shapes) > 1 or any(T != S for T, S in shapes)):
        raise ValueError(f"masks of shapes {sorted(shapes)} make no stack of layers; give square ones of one size")
    return masks


class MaskPatterns(Widget):
    """Attention masks to choose, to draw and to read, and what a stack of layers can reach through them.

    The left grid is one layer's mask: row t may look at column s. The right grid counts the layers that information
    needs from s to t; below, the ways it takes. A position keeps what it has, as a residual connection lets it.

    Args:
        mask: a tensor of bool, (T, S), True where query t may look at key s, or a list of square ones that the layers
            take in turn. Without it the widget shows the pattern named by its trait ``pattern``.
        T: how many positions the named patterns have, 2 to 48.

    Notice:
        ``window`` counts as the formulas do: both ways \\|t − s\\| ≤ w, which is 2w + 1 keys, and causal t − w < s ≤ t,
        which is w keys. BigBird's ``window``, ``global_tokens`` and ``random_keys`` count blocks of ``unit`` tokens.

    Raises:
        TypeError: for a mask that is no tensor of bool. ValueError: for shapes that cannot be shown.
    """

    file = "mask_patterns"

    pattern = t.CaselessStrEnum((*PATTERNS, "drawn"), "window").tag(sync=True)
    T = t.Int(16, min=2, max=LONGEST).tag(sync=True)
    causal = t.Bool(False, help="nobody looks ahead").tag(sync=True)
    window = t.Int(2, min=0, max=LONGEST).tag(sync=True)
    dilation = t.Int(2, min=1, max=LONGEST).tag(sync=True)
    global_tokens = t.Int(1, min=0, max=LONGEST).tag(sync=True)
    random_keys = t.Int(2, min=0, max=LONGEST).tag(sync=True)
    seed = t.Int(0, min=0).tag(sync=True)
    stride = t.Int(4, min=1, max=LONGEST).tag(sync=True)
    summary = t.Int(1, min=1, max=LONGEST, help="c of the fixed pattern: how many close a block").tag(sync=True)
    unit = t.Int(1, min=1, max=8, help="tokens in a block of BigBird's").tag(sync=True)
    split = t.Bool(False, help="the two parts of strided and fixed take turns, layer by layer").tag(sync=True)
    block = t.Int(4, min=1, max=LONGEST, help="side of the blocks that a kernel can skip").tag(sync=True)
    layers = t.Int(1, min=1).tag(sync=True)
    row = t.Int(9, min=0).tag(sync=True)
    col = t.Int(7, min=0).tag(sync=True)
    drawn = t.List(help="for each mask its rows, as text of 0 and 1").tag(sync=True)

    def __init__(self, mask: Tensor | Sequence[Tensor] | None = None, T: int = 16) -> None:
        if mask is None:
            if not isinstance(T, int) or not 2 <= T <= LONGEST:
                raise ValueError(f"T = {T!r} positions cannot be shown; give an int from 2 to {LONGEST}")
            super().__init__(T=T, row=min(9, T - 1), col=min(7, T - 1))
            return
        masks = _given(mask)
        rows = [["".join("01"[bool(x)] for x in row) for row in one.tolist()] for one in masks]
        size, width = masks[0].shape
        super().__init__(pattern="drawn", drawn=rows, T=max(2, size), row=size - 1, col=width - 1)

    @t.validate("drawn")
    def _rows(self, proposal: dict) -> list:
        masks = proposal["value"]
        sizes = {(len(rows), len(row)) for rows in masks for row in rows}
        good = all(isinstance(row, str) and set(row) <= {"0", "1"} for rows in masks for row in rows)
        if len(sizes) > 1 or not good or any(not 1 <= n <= LONGEST for size in sizes for n in size):
            raise ValueError(
                f"drawn needs, for each mask, T rows of text of 0 and 1, all of one length up to {LONGEST}; "
                "such as [['10', '11']] for a causal mask of two"
            )
        return masks

    def masks(self) -> Tensor:
        """The masks that the layers take in turn, (how many, T, S) of bool."""
        if self.pattern == "drawn" and self.drawn:
            return torch.tensor([[[x == "1" for x in row] for row in rows] for rows in self.drawn])
        names = ("causal", "window", "dilation", "global_tokens", "random_keys", "seed", "stride", "summary", "unit")
        pattern = "full" if self.pattern == "drawn" else self.pattern
        options = {name: getattr(self, name) for name in (*names, "split")}
        return torch.tensor(reasons(pattern, self.T, **options)) > 0

    def layers_needed(self) -> Tensor:
        """How many layers information needs from s to t, (T, T); -1 where it never comes. 0 on the diagonal."""
        masks = self.masks()
        cycle, T, S = masks.shape
        if T != S:
            raise ValueError(f"a mask of {T} queries and {S} keys cannot be stacked; give a square one")
        reached = torch.eye(T, dtype=torch.bool)
        needed = torch.full((T, T), -1).masked_fill(reached, 0)
        still = 0
        for n in range(1, T * cycle + 1):
            now = reached | (masks[(n - 1) % cycle].float() @ reached.float() > 0)
            needed[now & ~reached] = n
            still = 0 if bool((now != reached).any()) else still + 1
            if still == cycle:
                break
            reached = now
        return needed

    def still(self) -> Figure:
        """The mask of the present layer, and the layers that each pair needs."""
        from matplotlib import pyplot as plt
        from matplotlib.colors import ListedColormap

        from nnvocab.style import MAGNITUDE, PALETTE

        masks = self.masks()
        cycle, T, S = masks.shape
        mask = masks[(self.layers - 1) % cycle]
        figure, axes = plt.subplots(1, 2 if T == S else 1, figsize=(7.2, 3.9), layout="constrained", squeeze=False)
        ax = axes[0, 0]
        colours = ListedColormap(["white", PALETTE["input"]])
        ax.imshow(mask.numpy(), cmap=colours, vmin=0, vmax=1)
        share = mask.float().mean().item()
        ax.set_title(f"{self.pattern}: {int(mask.sum())} of {T * S} pairs ({share:.0%})")
        if T == S:
            needed = self.layers_needed()
            most = int(needed.max())
            shown = needed.float().masked_fill(needed < 0, float("nan"))
            image = axes[0, 1].imshow(shown.numpy(), cmap=MAGNITUDE + "_r", vmin=0, vmax=max(1, most))
            axes[0, 1].set_title(f"layers that information needs: up to {most}")
            figure.colorbar(image, ax=axes[0, 1], shrink=0.7, label="layers")
        for one in axes.flat:
            one.set(xlabel="key s", ylabel="query t")
            one.grid(False)
        return figure
