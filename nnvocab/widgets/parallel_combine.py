"""Branches side by side: how their outputs become one, and who gets which gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import traitlets as t
from torch import Tensor, nn

from nnvocab.widgets.base import Widget

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODES = ("concat", "add", "avg", "grid_scatter", "filter")
KINDS = ("softmax", "sparsemax", "entmax")
MOST_BRANCHES, WIDEST = 4, 8
NEED = (
    "ParallelCombine takes a list of 2 to 4 vectors of up to 8 numbers (the branches' outputs), or a module with branches, "
    "such as nnvocab.compose.Parallel, and x, one sample"
)


def _rounded(values: Any) -> Any:
    return [_rounded(v) for v in values] if isinstance(values, (list, tuple)) else float(f"{values:.6g}")


def _spec(branches: list[dict], **more: Any) -> dict[str, Any]:
    """A description that the page computes with: x, branches, gate, grid, and a stitch for each branch (seed 0)."""
    wide = max(len(b["values"]) for b in branches)
    generator = torch.Generator().manual_seed(0)
    stitches = [torch.randn(wide, len(b["values"]), generator=generator) / len(b["values"]) ** 0.5 for b in branches]
    side = 2 if len(branches) < 5 else 3
    return {
        **{"x": [], "branches": branches, "linear": False, "gate": {}, "logits": [0.0] * len(branches)},
        **{"stitch": _rounded([s.tolist() for s in stitches]), "grid": [side, side, 1]},
        "positions": [[0, 0, 0], [0, 1, 0], [1, 1, 0], [1, 0, 0]][: len(branches)],
        **more,
    }


def _linear(name: str, W: list[list[float]], x: list[float], b: list[float] | None = None) -> dict[str, Any]:
    b = [0.0] * len(W) if b is None else b
    values = [sum(w * v for w, v in zip(row, x, strict=True)) + c for row, c in zip(W, b, strict=True)]
    return {"name": name, "values": _rounded(values), "W": W, "b": b, "weights": len(W) * (len(x) + 1), "frozen": False}


def _presets() -> dict[str, Any]:
    """The two examples: three branches of three numbers, and branches of 3, 2 and 4 numbers, all linear in x."""
    x = [1.0, 2.0]
    first = _linear("Linear", [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], x)
    equal = [
        first,
        _linear("Linear", [[0.5, 0.0], [0.5, 0.0], [0.5, 0.0]], x),
        _linear("Linear", [[0.0, 0.1], [0.1, 0.1], [0.0, 0.1]], x),
    ]
    unequal = [
        first,
        _linear("Linear", [[1.0, -1.0], [0.5, 0.5]], x),
        _linear("Linear", [[0.2, 0.1], [-0.4, 0.3], [1.0, 0.5], [0.5, -0.6]], x),
    ]
    logits = _rounded([math.log(6), math.log(3), 0.0])
    return {
        "equal": _spec(equal, x=x, linear=True, logits=logits),
        "unequal": _spec(unequal, x=x, linear=True, logits=logits),
    }


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, (tuple, list)) else value


def _affine(layer: nn.Module) -> dict[str, Any]:
    W = layer.weight.detach().double().cpu()
    b = torch.zeros(len(W)) if layer.bias is None else layer.bias.detach().double().cpu()
    return {"W": _rounded(W.tolist()), "b": _rounded(b.tolist())}


def _measured(layer: nn.Module, x: Tensor) -> tuple[list[float], list[list[float]]]:
    """The output of a module at x, and its Jacobian there."""

    def run(v: Tensor) -> Tensor:
        return _first(layer(v))

    y = run(x)
    if not isinstance(y, Tensor) or y.ndim != 2 or y.shape[0] != 1 or not 1 <= y.shape[1] <= WIDEST:
        shape = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise ValueError(
            f"{type(layer).__name__} returned {shape}; each branch must return (1, C) with C up to {WIDEST}"
        )
    jacobian = torch.autograd.functional.jacobian(run, x).reshape(y.shape[1], -1)
    return _rounded(y[0].tolist()), _rounded(jacobian.tolist())


def _read_gate(gate: nn.Module, x: Tensor) -> tuple[dict[str, Any], list[float], dict[str, Any]]:
    """A gate's logits at x, how they depend on x, and how they become weights."""
    layer = getattr(gate, "layer", gate)
    kind = {"temperature": "softmax"}.get(getattr(gate, "kind", "softmax"), getattr(gate, "kind", "softmax"))
    alpha = getattr(gate, "alpha", 1.5)
    if getattr(gate, "top_k", None) or getattr(gate, "hard", False) or (kind == "entmax" and alpha != 1.5):
        raise ValueError(
            "a gate with top_k, hard or an alpha other than 1.5 is not shown; show the same gate without it"
        )
    logits, jacobian = _measured(layer, x)
    state = {"kind": kind, "temperature": min(10.0, max(0.05, float(getattr(gate, "temperature", 1.0))))}
    return {**({"J": jacobian} if not isinstance(layer, nn.Linear) else _affine(layer))}, logits, state


def _read_module(module: nn.Module, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    branches = list(getattr(module, "branches", []))
    if not 2 <= len(branches) <= MOST_BRANCHES or not all(isinstance(b, nn.Module) for b in branches):
        raise TypeError(f"{NEED}; {type(module).__name__} has {len(branches)} branches")
    if not isinstance(x, Tensor) or x.ndim > 2 or not 1 <= x.shape[-1] <= WIDEST:
        given = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"a module was given with x = {given}; {NEED}: a tensor (C,) or (1, C) with C up to {WIDEST}")
    x = (x if x.ndim == 2 else x[None])[:1].detach()
    training = module.training
    module.eval()
    try:
        module(x)  # refuses, in its own words, what cannot be combined
        found, state = [], {}
        for branch in branches:
            values, jacobian = _measured(branch, x)
            weights = list(branch.parameters())
            part = _affine(branch) if isinstance(branch, nn.Linear) else {"J": jacobian}
            frozen = bool(weights) and not any(w.requires_grad for w in weights)
            count = sum(w.numel() for w in weights)
            found.append({"name": type(branch).__name__, "values": values, "weights": count, "frozen": frozen, **part})
        more: dict[str, Any] = {"x": _rounded(x[0].tolist()), "linear": all("W" in b for b in found)}
        gate = getattr(module, "gate", None)
        if isinstance(gate, nn.Module):
            more["gate"], more["logits"], state = _read_gate(gate, x)
            more["linear"] = more["linear"] and "W" in more["gate"]
        mode = getattr(module, "mode", "concat")
        state["mode"] = str(getattr(mode, "value", mode))
        if getattr(module, "grid", None) is not None:
            more["grid"] = [*module.grid, 1][:3]
            more["positions"] = [[*p, 0][:3] for p in module.positions]
    finally:
        module.train(training)
    return _spec(found, **more), state


class ParallelCombine(Widget):
    """Branches that see the same input, their outputs combined in five ways, and the gradient on its way back.

    Without arguments there are two examples, of three linear branches of x: three numbers each, or 3, 2 and 4.

    Args:
        branches: the outputs of 2 to 4 branches, a list of vectors of up to 8 numbers; or a module with ``branches``
            (and ``mode``, ``gate``, ``grid``, ``positions`` where it has them), such as ``Parallel``.
        x: the module's input, one sample, (C,) or (1, C).

    Notice:
        Where branches differ in size, all modes but concat first bring them to one: by zeros at the end, or by a stitch, a
        linear layer for each branch (here random, of seed 0). A frozen branch gets no gradient for its weights; what
        goes through it to the input is the same. Of a module whose branches are not all linear, x stands fixed, and the
        gradient is exact there.

    Raises:
        TypeError: for what has no branches. ValueError: for vectors that cannot be shown, or a gate that chooses.
    """

    file = "parallel_combine"

    specs = t.Dict(help="what may be shown, by name").tag(sync=True)
    preset = t.Unicode("equal").tag(sync=True)
    mode = t.CaselessStrEnum(MODES, "filter").tag(sync=True)
    kind = t.CaselessStrEnum(KINDS, "softmax").tag(sync=True)
    temperature = t.Float(1.0, min=0.05, max=10.0).tag(sync=True)
    fit = t.CaselessStrEnum(("pad", "stitch"), "pad").tag(sync=True)
    x = t.List(help="the input; [] takes the example's").tag(sync=True)
    values = t.List(help="the branches' outputs, where only they are known").tag(sync=True)
    logits = t.List(help="the gate's logits; [] takes the example's").tag(sync=True)
    upstream = t.List(help="the gradient of the loss by the output; [] takes one that fits").tag(sync=True)
    frozen = t.List(t.Bool()).tag(sync=True)
    step = t.Int(1000, min=1).tag(sync=True)
    at = t.Unicode("out-0", help="the number that is explained").tag(sync=True)

    def __init__(self, branches: nn.Module | Sequence[Any] | None = None, x: Tensor | None = None) -> None:
        if branches is None:
            if x is not None:
                raise TypeError(f"x was given without a module; {NEED}")
            super().__init__(specs=_presets())
            return
        if isinstance(branches, nn.Module):
            spec, state = _read_module(branches, x)
            super().__init__(
                specs={"given": spec}, preset="given", frozen=[b["frozen"] for b in spec["branches"]], **state
            )
            return
        if not isinstance(branches, (list, tuple)):
            raise TypeError(f"{NEED}; it was given {type(branches).__name__}")
        if x is not None:
            raise TypeError(f"x belongs to a module, and vectors were given; {NEED}")
        try:
            vectors = [[float(v) for v in branch] for branch in branches]
        except TypeError as error:
            raise TypeError(f"{NEED}; it was given {branches!r}") from error
        good = all(1 <= len(v) <= WIDEST and all(map(math.isfinite, v)) for v in vectors)
        if not good or not 2 <= len(vectors) <= MOST_BRANCHES:
            raise ValueError(f"{len(vectors)} vectors of {[len(v) for v in vectors]} numbers were given; {NEED}")
        parts = [{"name": "given", "values": _rounded(v), "weights": 0, "frozen": False} for v in vectors]
        super().__init__(specs={"given": _spec(parts)}, preset="given", mode="add")

    def outputs(self) -> list[Tensor]:
        """What the branches return in the present state."""
        spec = self.specs.get(self.preset) or next(iter(self.specs.values()))
        x = torch.tensor(self.x if self.x and spec["linear"] else spec["x"], dtype=torch.float64)
        plain = self.values if self.values and not spec["x"] else [b["values"] for b in spec["branches"]]
        return [
            torch.tensor(b["W"], dtype=torch.float64) @ x + torch.tensor(b["b"], dtype=torch.float64)
            if spec["linear"]
            else torch.tensor(v, dtype=torch.float64)
            for b, v in zip(spec["branches"], plain, strict=True)
        ]

    def still(self) -> Figure:
        """The branches' numbers, each in its own row."""
        from matplotlib import pyplot as plt

        from nnvocab.style import SIGNED

        parts = self.outputs()
        wide, limit = max(map(len, parts)), max(1e-9, max(p.abs().max().item() for p in parts))
        figure, ax = plt.subplots(figsize=(7.2, 0.7 * len(parts) + 1.2), layout="constrained")
        grid = torch.full((len(parts), wide), math.nan, dtype=torch.float64)
        for i, part in enumerate(parts):
            grid[i, : len(part)] = part
            for k, value in enumerate(part.tolist()):
                dark = abs(value) > 0.55 * limit
                ax.text(k, i, f"{value:.2f}", ha="center", va="center", color="white" if dark else "black")
        image = ax.imshow(grid.numpy(), cmap=SIGNED, vmin=-limit, vmax=limit, aspect="auto")
        ax.set_yticks(range(len(parts)), [f"branch {i + 1}" for i in range(len(parts))])
        ax.set_xticks(range(wide))
        ax.set(xlabel="feature", title=f"What the branches return; combined by {self.mode}")
        ax.grid(False)
        figure.colorbar(image, ax=ax, label="value")
        return figure
