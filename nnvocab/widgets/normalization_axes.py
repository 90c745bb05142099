"""Which entries of a tensor share a mean and a variance: batch, layer, instance, group and RMS normalization."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
import traitlets as t
from torch import Tensor, nn

from nnvocab.widgets.base import Widget

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("batch", "layer", "instance", "group", "rms")
MOST = 400


@lru_cache(maxsize=1)
def photographs() -> Tensor:
    """3 x 3 places of two photographs, (4, 4, 3, 3): brightness, blurred brightness, and its slope right and down."""
    from sklearn.datasets import load_sample_image

    found = []
    for name, corners in (("china.jpg", [(40, 60), (236, 270), (240, 590)]), ("flower.jpg", [(190, 300)])):
        image = torch.from_numpy(load_sample_image(name).copy()).double().mean(dim=-1)[None, None] / 255  # (1, 1, H, W)
        padded = F.pad(image, (2, 2, 2, 2), mode="replicate")
        maps = [
            *(image, F.avg_pool2d(padded, 5, stride=1)),
            *(padded[..., 2:-2, 4:] - padded[..., 2:-2, :-4], padded[..., 4:, 2:-2] - padded[..., :-4, 2:-2]),
        ]
        maps = torch.cat(maps, dim=1)[0]  # (4, H, W)
        found += [maps[:, y : y + 24 : 8, x : x + 24 : 8] for y, x in corners]
    return torch.stack(found)


class NormalizationAxes(Widget):
    """Which entries of a tensor share a mean: batch, layer, instance, group and RMS norm on one grid of numbers.

    Args:
        x: a tensor (N, C, H, W) or (N, C, L) with at most 400 entries; without one, places of two photographs as
            brightness, blurred brightness, and its slope to the right and down.
        samples: N names. channels: C names.
        kind: batch, layer, instance, group or rms.

    Notice:
        No scale and no shift are applied (weight 1, bias 0). Layer and RMS norm run over a sample's channels and
        positions (``span="sample"``, as ``nn.LayerNorm([C, H, W])``) or over the channels at each position
        (``span="channels"``, as in a transformer). Batch norm's running averages begin at 0 and 1, as torch's.

    Raises:
        TypeError: for what is no tensor of numbers. ValueError: for a shape that is none of the two, too many entries,
        values that are not finite, names that do not fit, and groups that do not divide the channels.
    """

    file = "normalization_axes"

    shape = t.List(t.Int()).tag(sync=True)
    values = t.List().tag(sync=True)
    samples = t.List(t.Unicode()).tag(sync=True)
    channels = t.List(t.Unicode()).tag(sync=True)
    kind = t.CaselessStrEnum(KINDS, "batch").tag(sync=True)
    groups = t.Int(2, min=1).tag(sync=True)
    span = t.CaselessStrEnum(("sample", "channels"), "sample").tag(sync=True)
    eps = t.Float(1e-5, min=0.0).tag(sync=True)
    focus = t.Int(0, min=0, help="the place of the chosen entry in the flattened tensor").tag(sync=True)
    training = t.Bool(True, help="of batch norm: the batch's own averages, else the running ones").tag(sync=True)
    view = t.CaselessStrEnum(("before", "after"), "before").tag(sync=True)
    momentum = t.Float(0.1, min=0.0, max=1.0).tag(sync=True)
    running_mean = t.List(t.Float()).tag(sync=True)
    running_var = t.List(t.Float()).tag(sync=True)

    def __init__(
        self,
        x: Any = None,
        samples: Sequence[str] | None = None,
        channels: Sequence[str] | None = None,
        kind: str = "batch",
    ) -> None:
        if x is None:
            x = photographs()
            samples = ["sky", "roof", "trees", "petal"] if samples is None else samples
            channels = ["bright", "blurred", "slope →", "slope ↓"] if channels is None else channels
        try:
            x = torch.as_tensor(x).detach().cpu().double()
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"x must be a tensor of numbers; it was given {x!r:.60}") from error
        if x.ndim not in (3, 4) or not x.numel():
            raise ValueError(
                f"x has shape {tuple(x.shape)}; the figure needs (N, C, H, W) or (N, C, L). Of a transformer's "
                "(B, T, C) give x.transpose(1, 2)"
            )
        if x.numel() > MOST:
            raise ValueError(
                f"x has {x.numel()} entries, and at most {MOST} are drawn. Give a part, such as x[:4, :4, :4, :4]"
            )
        if not x.isfinite().all():
            raise ValueError("x holds values that are not finite; clean it first, for example with x.nan_to_num()")
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}; it must be one of {', '.join(KINDS)}")
        N, C = x.shape[:2]
        super().__init__(
            shape=list(x.shape),
            values=[float(f"{v:.6g}") for v in x.flatten().tolist()],
            samples=_names(samples, N, "samples"),
            channels=_names(channels, C, "channels"),
            kind=kind,
            groups=2 if C % 2 == 0 else 1,
            focus=(x[0].numel() if N > 1 else 0) + x[0, 0].numel() // 2,
            running_mean=[0.0] * C,
            running_var=[1.0] * C,
        )

    @t.validate("groups")
    def _divides(self, proposal: dict) -> int:
        groups, C = proposal["value"], self.shape[1] if self.shape else proposal["value"]
        if C % groups:
            fit = ", ".join(str(g) for g in range(1, C + 1) if C % g == 0)
            raise ValueError(f"groups is {groups}, and {C} channels do not divide by it; choose one of {fit}")
        return groups

    @t.validate("values")
    def _complete(self, proposal: dict) -> list[float]:
        values = [float(v) for v in proposal["value"]]
        need = int(torch.tensor(self.shape).prod()) if self.shape else len(values)
        if len(values) != need or not torch.tensor(values).isfinite().all():
            raise ValueError(f"values needs {need} finite numbers for shape {self.shape}; it was given {len(values)}")
        return values

    def tensor(self) -> Tensor:
        """The tensor in its present state."""
        return torch.tensor(self.values, dtype=torch.float64).view(self.shape)

    def normalized(self) -> Tensor:
        """What torch's own layer makes of it."""
        x = self.tensor()
        N, C, *rest = x.shape
        if self.kind == "batch":
            mean, var = torch.tensor(self.running_mean).double(), torch.tensor(self.running_var).double()
            if not self.training:
                return F.batch_norm(x, mean, var, training=False, eps=self.eps)
            flat = x.transpose(0, 1).reshape(C, -1)
            if flat.shape[1] == 1:
                return torch.zeros_like(x)
            return F.batch_norm(x, None, None, training=True, eps=self.eps)
        if self.kind in ("instance", "group"):
            return F.group_norm(x, C if self.kind == "instance" else self.groups, eps=self.eps)
        wide = x if self.span == "sample" else x.movedim(1, -1)
        over = [C, *rest] if self.span == "sample" else [C]
        if self.kind == "layer":
            y = F.layer_norm(wide, over, eps=self.eps)
        else:
            y = nn.RMSNorm(over, eps=self.eps, elementwise_affine=False)(wide)
        return y if self.span == "sample" else y.movedim(-1, 1)

    def members(self) -> Tensor:
        """Which entries share the statistics of the chosen one: True there, in the tensor's shape."""
        N, C = self.shape[:2]
        P = len(self.values) // (N * C)
        n, c, p = torch.meshgrid(torch.arange(N), torch.arange(C), torch.arange(P), indexing="ij")
        ids = {
            **{"batch": c, "instance": n * C + c, "group": n * self.groups + c // (C // self.groups)},
            **dict.fromkeys(("layer", "rms"), n if self.span == "sample" else n * P + p),
        }[self.kind].flatten()
        return (ids == ids[min(self.focus, len(ids) - 1)]).view(self.shape)

    def still(self) -> Figure:
        """The tensor before and after, the chosen entry's set framed."""
        from matplotlib import pyplot as plt
        from matplotlib.patches import Rectangle

        from nnvocab.style import PALETTE, SIGNED

        def board(x: Tensor) -> Tensor:
            """Rows are samples and their rows, columns are channels and their columns."""
            x = x.reshape(x.shape[0], x.shape[1], -1, x.shape[-1])
            return x.transpose(1, 2).reshape(x.shape[0] * x.shape[2], -1)

        figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.9), layout="constrained")
        N, C = self.shape[:2]
        shared = board(self.members())
        for ax, x, what in zip(axes, (self.tensor(), self.normalized()), ("before", "after"), strict=True):
            grid = board(x)
            limit = 2.5 if what == "after" else max(grid.abs().max().item(), 1e-9)
            ax.imshow(grid.numpy(), cmap=SIGNED, vmin=-limit, vmax=limit, aspect="auto")
            for r, c in shared.nonzero().tolist():
                ax.add_patch(
                    Rectangle((c - 0.42, r - 0.42), 0.84, 0.84, fill=False, edgecolor=PALETTE["output"], lw=2, zorder=3)
                )
            rows, columns = grid.shape[0] // N, grid.shape[1] // C
            ax.set_xticks([columns * (i + 0.5) - 0.5 for i in range(C)], self.channels, size=8)
            ax.set_yticks([rows * (i + 0.5) - 0.5 for i in range(N)], self.samples, size=8)
            for i in range(1, C):
                ax.axvline(columns * i - 0.5, color="white", linewidth=3)
            for i in range(1, N):
                ax.axhline(rows * i - 0.5, color="white", linewidth=3)
            ax.grid(False)
            ax.set_title(f"{what} {self.kind} norm", size=11)
        axes[0].set_xlabel(f"green: the {int(shared.sum())} entries that share one mean", size=9)
        return figure


def _names(given: Sequence[str] | None, count: int, what: str) -> list[str]:
    names = [str(i + 1) for i in range(count)] if given is None else [str(name) for name in given]
    if len(names) != count:
        raise ValueError(f"{what} holds {len(names)} names, and x has {count} {what}; give one for each")
    return names
