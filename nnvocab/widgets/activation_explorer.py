"""Activations to look into: the function, its slope, and what both do to a batch through many layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
import traitlets as t
from torch import Tensor, nn

from nnvocab.widgets.base import Widget

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACTIVATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "relu": lambda x, a: F.relu(x),
    "leaky_relu": lambda x, a: F.leaky_relu(x, a),
    "prelu": lambda x, a: F.prelu(x, x.new_tensor([a])),
    "elu": lambda x, a: F.elu(x, a),
    "selu": lambda x, a: F.selu(x),
    "gelu": lambda x, a: F.gelu(x),
    "gelu_tanh": lambda x, a: F.gelu(x, approximate="tanh"),
    "silu": lambda x, a: F.silu(x),
    "mish": lambda x, a: F.mish(x),
    "sigmoid": lambda x, a: torch.sigmoid(x),
    "tanh": lambda x, a: torch.tanh(x),
    "hardswish": lambda x, a: F.hardswish(x),
    "hardsigmoid": lambda x, a: F.hardsigmoid(x),
}
DEFAULTS = {"leaky_relu": 0.01, "prelu": 0.25, "elu": 1.0}
LOW, HIGH, POINTS, BATCH = -8.0, 8.0, 641, 40


def normals(count: int, seed: int) -> np.ndarray:
    """The standard normal numbers that the page draws for this seed: mulberry32, then Box and Muller's cosine."""
    full = np.uint64(0xFFFFFFFF)
    a = (np.uint64(seed) + np.arange(1, 2 * count + 1, dtype=np.uint64) * np.uint64(0x6D2B79F5)) & full
    x = ((a ^ (a >> np.uint64(15))) * (a | np.uint64(1))) & full
    x ^= (x + (((x ^ (x >> np.uint64(7))) * (x | np.uint64(61))) & full)) & full
    u = ((x ^ (x >> np.uint64(14))).astype(np.float64) + 0.5) / 4294967296
    return np.sqrt(-2 * np.log(u[0::2])) * np.cos(2 * np.pi * u[1::2])


def widths(shape: str, depth: int) -> list[int]:
    """Units of the input and of each layer: 48 everywhere, or from 64 down to 16."""
    return [int(np.floor(64 - 48 * i / depth + 0.5)) if shape == "narrowing" else 48 for i in range(depth + 1)]


def _name(function: Any) -> str:
    name = type(function).__name__ if isinstance(function, nn.Module) else getattr(function, "__name__", "")
    return name if name.isidentifier() else "yours"


def sample(function: Callable[[Tensor], Tensor], name: str) -> dict[str, Any]:
    """A callable and its derivative on an even grid, checked to act on each number by itself."""
    if not callable(function):
        known = ", ".join(ACTIVATIONS)
        raise TypeError(f"an activation is one of {known}, or a callable of a tensor; it was given {function!r:.60}")
    x = torch.linspace(LOW, HIGH, POINTS, dtype=torch.float64).requires_grad_()
    if isinstance(function, nn.Module) and any(p.is_floating_point() for p in function.parameters()):
        import copy

        function = copy.deepcopy(function).double()
    with torch.enable_grad():
        y = function(x)
        if not isinstance(y, Tensor) or y.shape != x.shape:
            got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise ValueError(
                f"{name} made {got} out of a tensor of shape {(POINTS,)}; an activation returns one number for each. "
                "Of a function of several arguments give a partial one, such as lambda x: f(x, 0.5)"
            )
        if not y.requires_grad:
            raise ValueError(
                f"{name}'s result has no gradient with respect to x; write it with torch's functions, without "
                ".detach(), .item() or numpy"
            )
        (d,) = torch.autograd.grad(y.sum(), x)
    if not (y.isfinite().all() and d.isfinite().all()):
        raise ValueError(f"{name} or its derivative is not finite somewhere between {LOW:g} and {HIGH:g}")
    if not torch.allclose(function(x.detach()[::2]), y.detach()[::2], atol=1e-9):
        raise ValueError(
            f"{name} does not act on each number by itself (or is random): the same numbers among others gave others. "
            "A softmax, a normalisation or dropout is no activation of this kind"
        )

    def rounded(v: Tensor) -> list[float]:
        return [float(f"{n:.7g}") for n in v.tolist()]

    return {"name": name, "low": LOW, "high": HIGH, "y": rounded(y), "d": rounded(d)}


class ActivationExplorer(Widget):
    """An activation, its derivative, and what they do to a batch and to a gradient through many layers.

    Args:
        activation: the one shown first: relu, leaky_relu, prelu, elu, selu, gelu, gelu_tanh, silu, mish, sigmoid, tanh,
            hardswish, hardsigmoid; or a callable of a tensor, an ``nn.Module`` among them, that acts on each number.
        more: further callables that the reader may choose.

    Notice:
        A callable is sampled from -8 to 8 at 641 points with its derivative by autograd; between them the page draws a
        cubic, beyond them a straight line. The network below has random weights without bias, and 40 inputs; nothing
        is trained.

    Raises:
        TypeError: for what is neither a name nor callable. ValueError: for a name that is none, and for a callable
        that does not act on each number by itself, has no gradient, or is not finite.
    """

    file = "activation_explorer"

    activation = t.Unicode("gelu").tag(sync=True)
    a = t.Float(0.0, help="the argument of leaky_relu, prelu and elu").tag(sync=True)
    custom = t.List(help="callables, sampled").tag(sync=True)
    beside = t.Unicode("relu", help="another to draw beside it, or nothing").tag(sync=True)
    x = t.Float(-0.8).tag(sync=True)
    depth = t.Int(10, min=1, max=20).tag(sync=True)
    gain = t.Float(1.0, min=0.1, max=4.0, help="what the weights are multiplied by").tag(sync=True)
    init = t.CaselessStrEnum(("kaiming", "xavier", "lecun"), "kaiming").tag(sync=True)
    shape = t.CaselessStrEnum(("even", "narrowing"), "even").tag(sync=True)
    seed = t.Int(0, min=0).tag(sync=True)
    layer = t.Int(1, min=0).tag(sync=True)

    def __init__(self, activation: Any = "gelu", more: Sequence[Callable[[Tensor], Tensor]] = ()) -> None:
        given = [activation, *more] if not isinstance(activation, str) else list(more)
        custom: list[dict[str, Any]] = []
        self._callables: dict[str, Callable[[Tensor], Tensor]] = {}
        for function in given:
            name, taken = _name(function), {c["name"] for c in custom}
            while name in taken:
                name += "_"
            custom.append(sample(function, name))
            self._callables[name] = function
        first = activation if isinstance(activation, str) else custom[0]["name"]
        super().__init__(custom=custom, activation=first, a=DEFAULTS.get(first, 0.0))

    @t.validate("activation", "beside")
    def _known(self, proposal: dict) -> str:
        name, known = proposal["value"], [*ACTIVATIONS, *(c["name"] for c in self.custom)]
        if name not in known and not (name == "" and proposal["trait"].name == "beside"):
            raise ValueError(
                f"{proposal['trait'].name} is {name!r}; it must be one of {', '.join(known)}. Any other goes in as a "
                "callable: ActivationExplorer(torch.sin)"
            )
        return name

    def function(self, name: str | None = None) -> Callable[[Tensor], Tensor]:
        """The chosen activation as a function of a tensor, or the one of this name with its usual argument."""
        chosen = self.activation if name is None else name
        if chosen in self._callables:
            return self._callables[chosen]
        a = self.a if name is None else DEFAULTS.get(chosen, 0.0)
        return lambda x: ACTIVATIONS[chosen](x, a)

    def layers(self) -> list[dict[str, float]]:
        """Of the input and of each layer: mean, std, zeros (share), dead (share of units), grad (times the last)."""
        n, f = widths(self.shape, self.depth), self.function()
        a = torch.from_numpy(normals(BATCH * n[0], 1000 * self.seed)).view(BATCH, -1).requires_grad_()
        outs, slopes = [a], [None]
        for i in range(self.depth):
            into, out = n[i], n[i + 1]
            std = {"lecun": 1 / into, "xavier": 2 / (into + out), "kaiming": 2 / into}[self.init] ** 0.5 * self.gain
            weight = torch.from_numpy(normals(out * into, 1000 * self.seed + i + 1)).view(out, into) * std
            z = (outs[-1] @ weight.T).requires_grad_()
            slopes.append(torch.autograd.grad(f(z).sum(), z, retain_graph=True)[0])
            outs.append(f(z))
        end = torch.from_numpy(normals(BATCH * n[-1], 1000 * self.seed + 999)).view(BATCH, -1)
        grads = torch.autograd.grad(outs[-1], outs, end)
        rows = []
        for out, slope, grad in zip(outs, slopes, grads, strict=True):
            row = {"mean": out.mean(), "std": out.std(correction=0), "zeros": (out == 0).double().mean()}
            row["dead"] = (slope == 0).all(dim=0).double().mean() if slope is not None else out.new_zeros(())
            row["grad"] = grad.square().mean().sqrt() / end.square().mean().sqrt()
            rows.append({key: value.item() for key, value in row.items()})
        return rows

    def still(self) -> Figure:
        """The function and its derivative, and the sizes of batch and gradient layer by layer."""
        from matplotlib import pyplot as plt

        from nnvocab.style import PALETTE

        x = torch.linspace(-5, 5, 801, dtype=torch.float64).requires_grad_()
        y = self.function()(x)
        (d,) = torch.autograd.grad(y.sum(), x)
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.4), layout="constrained", width_ratios=(5, 4))
        grid = x.detach().numpy()
        if self.beside:
            with torch.no_grad():
                left.plot(grid, self.function(self.beside)(x.detach()).numpy(), color=PALETTE["masked"], linewidth=1.2)
        left.plot(grid, y.detach().numpy(), color=PALETTE["output"], label=f"{self.activation}")
        left.plot(grid, d.numpy(), "--", color=PALETTE["gradient"], label="its derivative")
        at = torch.tensor([self.x], dtype=torch.float64)
        left.plot(self.x, self.function()(at).item(), "o", color=PALETTE["output"])
        low, high = min(y.min().item(), d.min().item()), max(y.max().item(), d.max().item())
        left.set(
            xlabel="x", ylim=(max(-6.0, low - 0.2), min(6.0, high + 0.2)), title=f"{self.activation} and its slope"
        )
        left.legend(fontsize=9)
        rows = self.layers()
        for key, colour, what in [
            ("std", "output", "std of the outputs"),
            ("grad", "gradient", "gradient, × the last"),
        ]:
            size = [max(row[key], 1e-30) for row in rows]
            right.plot(range(len(rows)), size, "o-", color=PALETTE[colour], label=what)
        right.set_yscale("log")
        low, high = right.get_ylim()
        right.set(ylim=(min(low, 0.1), max(high, 10)), xticks=range(0, len(rows), 2 if len(rows) > 8 else 1))
        right.set(xlabel="layer", title=f"{self.depth} random layers, {self.init} × {self.gain:g}")
        right.legend(fontsize=9)
        return figure
