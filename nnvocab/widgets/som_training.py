"""A self-organizing map that trains in the browser, one sample at a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets

from nnvocab.widgets.base import Widget
from nnvocab.widgets.som_samples import builtin, checked_map, own_samples, packed, seen, unpacked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SETTINGS = (
    *("mode", "rate", "end_rate", "radius", "end_radius", "steps", "decay"),
    *("neighbourhood", "topology", "shape"),
)
CHOICES = {
    "mode": ("online", "batch"),
    "decay": ("exponential", "linear", "inverse", "constant"),
    "neighbourhood": ("gaussian", "bubble", "mexican_hat"),
    "topology": ("rectangular", "hexagonal"),
    "start": ("given", "random"),
}
VIEWS = ("weights", "umatrix", "neighbourhood", "hits")
BYTES = 190_000
"""What the state may weigh as JSON."""


class SOMTraining(Widget):
    """A self-organizing map unfolds over its data while the rate and the radius decay.

    Args:
        som: any ``nnvocab.som.SOM`` on one or two axes: training goes on from its prototypes. Anything with ``weight``,
            ``shape``, ``topology`` and ``neighbourhood`` will do. None: a fresh map of 10 x 10 units.
        data: samples (B, C) as wide as the map, or the name of a data set: "colours", "digits", "moons", "square",
            "sphere" or "swiss roll". None: "colours", or the one that is as wide as ``som``.
        labels: one a sample; they are written at the samples, two letters each at most.

    Notice:
        Every setting is a trait and acts from the present step on; ``history`` keeps which acted when, so that every
        step can be reached again. A setting that is set together with ``step`` replays the run from the start.

    Raises:
        TypeError: if ``som`` is no map, or ``data`` no array of numbers.
        ValueError: if the data are not finite, not (B, C), too wide or not as wide as the map; if the labels are not
            as many as the samples; if the map has three axes or too many numbers; if a setting does not exist.

    >>> widget = SOMTraining(data="moons")
    >>> widget.radius, widget.step
    (4.0, 0)
    """

    file: ClassVar[str] = "som_training"

    datasets = traitlets.Dict().tag(sync=True)
    weights = traitlets.Dict(None, allow_none=True).tag(sync=True)
    data = traitlets.Unicode("colours").tag(sync=True)
    mode = traitlets.Unicode("online").tag(sync=True)
    rate = traitlets.Float(0.5).tag(sync=True)
    end_rate = traitlets.Float(0.02).tag(sync=True)
    radius = traitlets.Float(4.0).tag(sync=True)
    end_radius = traitlets.Float(0.5).tag(sync=True)
    steps = traitlets.Int(2000).tag(sync=True)
    decay = traitlets.Unicode("exponential").tag(sync=True)
    neighbourhood = traitlets.Unicode("gaussian").tag(sync=True)
    topology = traitlets.Unicode("rectangular").tag(sync=True)
    shape = traitlets.List([10, 10]).tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)
    start = traitlets.Unicode("random").tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)
    history = traitlets.List().tag(sync=True)
    view = traitlets.Unicode("umatrix").tag(sync=True)
    unit = traitlets.Int(-1).tag(sync=True)
    turn = traitlets.Float(-35.0).tag(sync=True)
    tilt = traitlets.Float(22.0).tag(sync=True)
    predict = traitlets.Bool(False).tag(sync=True)

    def __init__(self, som: Any = None, data: Any = None, labels: Any = None) -> None:
        state: dict[str, Any] = {"datasets": dict(builtin())}
        weight = None
        if som is not None:
            weight, shape = checked_map(som)
            state.update(weights={**packed(weight), "shape": shape}, shape=shape, start="given")
            state.update(topology=som.topology, neighbourhood=som.neighbourhood, radius=max(max(shape) / 4, 1.0))
            if data is None:
                fitting = [name for name, d in builtin().items() if d["features"] == weight.shape[1]]
                if not fitting:
                    raise ValueError(
                        f"the map has {weight.shape[1]} features, and no data set here is as wide: give data of shape "
                        f"(samples, {weight.shape[1]})"
                    )
                data = fitting[0]
        if isinstance(data, str):
            if data not in state["datasets"]:
                raise ValueError(f"data is {data!r}, but the data sets are {', '.join(state['datasets'])}")
            if weight is not None and builtin()[data]["features"] != weight.shape[1]:
                width = builtin()[data]["features"]
                raise ValueError(
                    f"{data!r} has {width} features, but the map has {weight.shape[1]}: make SOM(..., {width})"
                )
            if labels is not None:
                raise ValueError(
                    f"labels are given, but {data!r} brings its own: give labels with data of your own only"
                )
            if weight is not None:  # the map's own start belongs to the data that are given with it
                state["datasets"]["yours"] = {**builtin()[data], "title": f"your map on {builtin()[data]['title']}"}
                data = "yours"
            state["data"] = data
        elif data is not None:
            used = sum(len(str(d)) for d in state["datasets"].values()) + len(str(state.get("weights", "")))
            state["datasets"]["yours"] = own_samples(data, labels, weight, BYTES - used - 8_000)
            state["data"] = "yours"
        elif labels is not None:
            raise ValueError("labels are given without data: give both")
        kind = state["datasets"][state.get("data", "colours")]["kind"]
        state["view"] = "umatrix" if kind == "plain" else "weights"
        super().__init__(**state)

    @traitlets.validate(*CHOICES, "data")
    def _known(self, proposal: Any) -> str:
        name, value = proposal["trait"].name, proposal["value"]
        allowed = CHOICES.get(name) or tuple(self.datasets)
        if allowed and value not in allowed:
            raise ValueError(f"{name} is {value!r}, but must be one of {', '.join(allowed)}")
        return value

    @traitlets.validate("rate", "end_rate", "radius", "end_radius", "steps")
    def _positive(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} is {value}, but must be above 0")
        if "rate" in name and value > 1:
            raise ValueError(f"{name} is {value}, but above 1 a unit would overshoot the sample")
        if name == "steps" and value > 20_000:
            raise ValueError(f"steps is {value}, but the browser keeps a way back for 20,000 at most")
        return value

    @traitlets.validate("step")
    def _reached(self, proposal: Any) -> int:
        if proposal["value"] < 0:
            raise ValueError(f"step is {proposal['value']}, but steps are counted from 0")
        return proposal["value"]

    @traitlets.validate("view")
    def _shown(self, proposal: Any) -> str:
        kind, _, number = (value := proposal["value"]).partition(" ")
        if value not in VIEWS and not (kind == "feature" and number.isdecimal() and int(number) > 0):
            raise ValueError(f"view is {value!r}, but must be one of {', '.join(VIEWS)}, or 'feature 1' and so on")
        return value

    @traitlets.validate("shape")
    def _sheet(self, proposal: Any) -> list[int]:
        shape = [int(n) for n in proposal["value"]]
        if len(shape) != 2 or min(shape) < 1 or not 2 <= shape[0] * shape[1] <= 900:
            raise ValueError(
                f"shape is {shape}, but must be [rows, columns] with 2 to 900 units; a chain is [1, units]"
            )
        return shape

    def train(self, step: int) -> tuple[np.ndarray, list[int], str]:
        """Train in Python as the browser does; return the prototypes after ``step`` steps, their shape and topology."""
        import torch

        from nnvocab.som.lattice import lattice_positions
        from nnvocab.som.schedule import decay
        from nnvocab.som.self_organizing_map import som_batch_step, som_step

        samples = torch.from_numpy(unpacked(self.datasets[self.data]))
        history = self.history or [[0, {k: getattr(self, k) for k in SETTINGS}]]
        now: dict[str, Any] = {}
        weight = positions = None
        changes = {t: {**values} for t, values in history}
        for t in range(step + 1):
            if t in changes:
                before, now = now, {**now, **changes[t]}
                rows, columns = now["shape"]
                if weight is None and self.start == "given" and self.data == "yours" and self.weights:
                    weight = torch.from_numpy(unpacked(self.weights))
                elif weight is None:
                    weight = torch.from_numpy(crumpled(samples.numpy(), rows * columns, self.seed))
                elif before["shape"] != now["shape"]:
                    weight = torch.from_numpy(resized(weight.numpy(), before["shape"], now["shape"], self.seed))
                positions = lattice_positions((rows, columns), now["topology"], dtype=torch.float64)
            if t == step:
                break
            last, kind = now["steps"], now["decay"]
            rate, radius = (
                now[k] if kind == "constant" else decay(min(t, last - 1), last, now[k], now["end_" + k], kind)
                for k in ("rate", "radius")
            )
            if now["mode"] == "batch":
                weight = som_batch_step(weight, samples, positions, radius, now["neighbourhood"])
            else:
                x = samples[int(random(self.seed, t) * len(samples))]
                weight = som_step(weight, x, positions, rate, radius, now["neighbourhood"])
        return weight.numpy(), now["shape"], now["topology"]

    def still(self) -> Figure:
        """Draw the map over its data at the present step and at the end, and its U-matrix at the end."""
        import torch
        from matplotlib import pyplot as plt

        from nnvocab.som.lattice import neighbour_pairs
        from nnvocab.som.map_quality import quantization_error, u_matrix
        from nnvocab.style import MAGNITUDE, PALETTE

        data = self.datasets[self.data]
        samples = unpacked(data)
        end = max(self.steps, self.step)
        figure = plt.figure(figsize=(7.2, 2.9), layout="constrained")
        three = data["features"] > 2
        for place, step in enumerate((self.step, end)):
            axes = figure.add_subplot(1, 3, place + 1, projection="3d" if three else None)
            weight, shape, topology = self.train(step)
            points, units = (seen(values, data)[:, : 3 if three else 2] for values in (samples, weight))
            colours = samples.clip(0, 1) if data["kind"] == "rgb" else PALETTE["input"]
            axes.scatter(*points.T, c=colours, s=6, alpha=0.6, linewidths=0, **({"depthshade": False} if three else {}))
            for a, b in neighbour_pairs(tuple(shape), topology).tolist():
                if topology == "hexagonal" or a + 1 == b or a + shape[1] == b:
                    axes.plot(*units[[a, b]].T, color=PALETTE["weight"], linewidth=1)
            error = float(quantization_error(torch.from_numpy(samples), torch.from_numpy(weight)))
            axes.set_title(f"step {step}: error {error:.2f}", fontsize=9)
            axes.tick_params(labelbottom=False, labelleft=False, labelright=False)
            for name, label in zip("xyz", data["axes"], strict=False):
                getattr(axes, f"set_{name}label", str)(label, fontsize=8, labelpad=-10 if three else 1)
            if three:
                axes.set_box_aspect(None, zoom=0.82)
                axes.view_init(elev=self.tilt, azim=-90 + self.turn)
        axes = figure.add_subplot(1, 3, 3)
        heights = u_matrix(torch.from_numpy(weight), neighbour_pairs(tuple(shape), topology)).view(*shape).numpy()
        image = axes.imshow(heights, cmap=MAGNITUDE, vmin=0, aspect="auto" if shape[0] == 1 else "equal")
        figure.colorbar(image, ax=axes, shrink=0.6, label="distance to neighbours")
        axes.set(xticks=[], yticks=[])
        axes.set_title(f"U-matrix at step {end}", fontsize=9)
        return figure


def random(seed: int, t: int) -> float:
    """Draw number t of the stream that belongs to a seed, as the browser does (mulberry32 by its counter)."""
    full = 0xFFFFFFFF
    a = ((seed + 1) * 0x9E3779B9 + (t + 1) * 0x6D2B79F5) & full
    a = ((a ^ a >> 15) * (a | 1)) & full
    a ^= (a + ((a ^ a >> 7) * (a | 61))) & full
    return ((a ^ a >> 14) & full) / 2**32


def crumpled(samples: np.ndarray, units: int, seed: int) -> np.ndarray:
    """Start with a small random cloud at the middle of the data: (units, C)."""
    draw = np.array([random(seed + 7919, i) for i in range(units * samples.shape[1])]).reshape(units, -1)
    return samples.mean(0) + 0.2 * (samples.max(0) - samples.min(0)) * (draw - 0.5)


def resized(weight: np.ndarray, old: list[int], new: list[int], seed: int) -> np.ndarray:
    """Give a lattice another size and keep what it has learned: linear between the old units."""
    width = weight.shape[1]
    grid = weight.reshape(*old, width)
    for axis in (0, 1):
        n, m = old[axis], new[axis]
        place = np.array([(n - 1) / 2]) if m == 1 else np.linspace(0, n - 1, m)
        low = np.minimum(np.floor(place).astype(int), max(n - 2, 0))
        part = (place - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        high = np.minimum(low + 1, n - 1)
        grid = grid.take(low, axis) * (1 - part) + grid.take(high, axis) * part
    out = grid.reshape(-1, width)
    if any(n == 1 and m > 1 for n, m in zip(old, new, strict=True)):  # equal units would stay equal for ever
        out = out + 1e-3 * (np.array([random(seed + 11, i) for i in range(out.size)]).reshape(out.shape) - 0.5)
    return out
