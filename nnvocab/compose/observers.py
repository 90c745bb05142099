"""Observers: what passes through each branch, forwards and backwards, without changing it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nnvocab.compose.shapes import first_tensor
from nnvocab.vocabulary import entry


@dataclass(frozen=True)
class BranchEvent:
    """One tensor that passed: where, and its statistics. They stay on the device until one is read.

    Args:
        phase: "forward" (the tensor is the output) or "backward" (it is the gradient of the output).
        path: the name of the module inside what is observed, as "branches.0".
        index: which branch of its container it is, counted from 0; -1 for a gate.
        layer: the class of the module.
        in_shape: the shape of what came in.
        out_shape: the shape of what came out.
        numbers: mean, standard deviation, smallest, largest, count above zero.
    """

    phase: Literal["forward", "backward"]
    path: str
    index: int
    layer: str
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    numbers: Tensor

    mean = property(lambda self: float(self.numbers[0]))
    std = property(lambda self: float(self.numbers[1]))
    minimum = property(lambda self: float(self.numbers[2]))
    maximum = property(lambda self: float(self.numbers[3]))
    active = property(lambda self: int(self.numbers[4]))

    @property
    def total(self) -> int:
        """How many numbers the tensor has."""
        return int(torch.Size(self.out_shape).numel())

    def __str__(self) -> str:
        way = "output" if self.phase == "forward" else "gradient"
        mean, std, low, high = (round(float(v), 2) + 0.0 for v in self.numbers[:4])  # + 0.0: no minus zero
        return (
            f"[{self.path}] {self.layer}: {self.in_shape} -> {self.out_shape}, {way} mean={mean:.2f}, "
            f"std={std:.2f}, min={low:.2f}, max={high:.2f}, active {self.active} of {self.total}"
        )


STATISTICS = ("mean", "std", "minimum", "maximum", "active")
Observer = Callable[[BranchEvent], Any]


def to_console(event: BranchEvent) -> None:
    """An observer that prints each event as a line."""
    print(event)


def _check_choice(statistic: str, phase: str) -> None:
    if statistic not in STATISTICS:
        raise ValueError(f"statistic is {statistic!r}, but must be one of {', '.join(STATISTICS)}")
    if phase not in ("forward", "backward"):
        raise ValueError(f"phase is {phase!r}, but must be 'forward' or 'backward'")


class Recorder:
    """An observer that keeps the events.

    >>> recorder, model = Recorder(), nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    >>> with observe(model, recorder):
    ...     y = model(torch.zeros(1, 4))
    >>> recorder.paths()
    ['0', '1']
    """

    def __init__(self) -> None:
        self.events: list[BranchEvent] = []

    def __call__(self, event: BranchEvent) -> None:
        self.events.append(event)

    def series(self, path: str, statistic: str = "std", phase: str = "forward") -> list[float]:
        """One statistic of one module over time.

        Raises:
            ValueError: if there is no such statistic or phase.
        """
        _check_choice(statistic, phase)
        return [getattr(e, statistic) for e in self.events if e.path == path and e.phase == phase]

    def paths(self) -> list[str]:
        """The modules that were seen, in the order in which they were first seen."""
        return list(dict.fromkeys(e.path for e in self.events))


class LivePlot(Recorder):
    """A recorder that draws one line for each branch while the network runs.

    Args:
        ax: the axes of matplotlib to draw on.
        statistic: "mean", "std", "minimum", "maximum" or "active".
        phase: "forward" or "backward".
        every: redraw after so many events.
        display: what ``IPython.display.display(fig, display_id=True)`` returned. A notebook shows a figure only at the
            end of the cell; with this it is shown anew at every drawing.

    Raises:
        ValueError: if there is no such statistic or phase, or ``every`` is below 1.
    """

    def __init__(
        self, ax: Any, *, statistic: str = "std", phase: str = "forward", every: int = 50, display: Any = None
    ) -> None:
        super().__init__()
        _check_choice(statistic, phase)
        if every < 1:
            raise ValueError(f"every is {every}, but must be at least 1: redraw after so many events")
        self.ax, self.statistic, self.phase, self.every, self.display = ax, statistic, phase, every, display

    def __call__(self, event: BranchEvent) -> None:
        super().__call__(event)
        if len(self.events) % self.every == 0:
            self.draw()

    def draw(self) -> None:
        """Draw what was recorded so far."""
        self.ax.clear()
        for path in self.paths():
            line = self.series(path, self.statistic, self.phase)
            if line:
                self.ax.plot(line)
                self.ax.annotate(path, (len(line) - 1, line[-1]), (4, 0), textcoords="offset points", va="center")
        what = self.statistic if self.phase == "forward" else f"{self.statistic} of the gradient"
        self.ax.set(xlabel="call (count)", ylabel=what)
        self.ax.figure.canvas.draw_idle()
        if self.display is not None:
            self.display.update(self.ax.figure)


class Watch:
    """The hooks of an observation; ``remove()`` takes them off, and so does leaving a ``with`` block."""

    def __init__(self, handles: list[Any], paths: list[str]) -> None:
        self.handles, self.paths = handles, paths

    def remove(self) -> None:
        """Take the hooks off; the module is as it was."""
        for handle in self.handles:
            handle.remove()
        self.handles = []

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


def _watched(module: nn.Module) -> list[tuple[str, int, nn.Module]]:
    """Every branch and gate in the module, however deep; its children, if it has no branches."""
    found = []
    for name, part in module.named_modules():
        front = f"{name}." if name else ""
        branches = getattr(part, "branches", None)
        if isinstance(branches, nn.ModuleList):
            found += [(f"{front}branches.{i}", i, branch) for i, branch in enumerate(branches)]
            if isinstance(getattr(part, "gate", None), nn.Module):
                found.append((f"{front}gate", -1, part.gate))
    return found or [(name, i, child) for i, (name, child) in enumerate(module.named_children())]


def branch_statistics(y: Tensor) -> Tensor:
    """Mean, standard deviation, smallest, largest and the count above zero, as one tensor on the tensor's device.

    Of an empty tensor the count is 0, and nothing else is a number.
    """
    y = y.detach().float()
    if y.numel() == 0:
        return y.new_tensor([float("nan")] * 4 + [0.0])
    return torch.stack([y.mean(), y.std(correction=0), y.min(), y.max(), (y > 0).sum().to(y.dtype)])


@entry(
    name="Observers for parallel layers",
    aliases=("ConsoleObserver", "forward hooks", "branch statistics"),
    ids=("par_observers",),
    page="side_by_side",
    kind="function",
    paper="paszke2019pytorch",
    related=("Parallel layer", "Expert specialization"),
)
def observe(module: nn.Module, *observers: Observer, gradients: bool = True) -> Watch:
    r"""Call observers with the statistics of every branch, whenever the module runs forwards or backwards.

    .. math::
        \text{mean}(y_i), \quad \text{std}(y_i), \quad \min y_i, \quad \max y_i, \quad \#\{y_i > 0\}

    where :math:`y_i` is what branch i returns, or the gradient that comes back to it.

    Args:
        module: a parallel layer, or anything that contains some: their branches and gates are watched at any depth.
            In a module without branches its direct children are watched.
        observers: called with each :class:`BranchEvent`: :func:`to_console`, a :class:`Recorder`, a
            :class:`LivePlot`, or any function of your own.
        gradients: also report the gradients of the outputs.

    Notice:
        Nothing is computed differently: the hooks read. The five numbers of an event stay on the device until an observer
        reads them, so that recording does not make a GPU wait; printing does. ``remove()`` takes all hooks off.

    Raises:
        ValueError: if there is no observer, or nothing to watch.

    Source: the hooks of ``torch.nn.Module``; Paszke et al. 2019.

    >>> model, seen = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), []
    >>> with observe(model, seen.append):
    ...     y = model(torch.zeros(2, 4))
    >>> [(event.path, event.layer, event.out_shape) for event in seen]
    [('0', 'Linear', (2, 3)), ('1', 'ReLU', (2, 3))]
    """
    if not observers:
        raise ValueError("there is no observer: give one, as observe(module, to_console)")
    parts = _watched(module)
    if not parts:
        raise ValueError(f"{type(module).__name__} has neither branches nor children: there is nothing to watch")

    def hook_for(path: str, index: int) -> Callable[..., None]:
        def tell(phase: Literal["forward", "backward"], layer: nn.Module, before: Tensor, y: Tensor) -> None:
            with torch.no_grad():
                numbers = branch_statistics(y)
            event = BranchEvent(phase, path, index, type(layer).__name__, tuple(before.shape), tuple(y.shape), numbers)
            for observer in observers:
                observer(event)

        def hook(layer: nn.Module, args: tuple[Any, ...], named: dict[str, Any], result: Any) -> None:
            before, y = first_tensor((*args, *named.values())), first_tensor(result)
            tell("forward", layer, before, y)
            if gradients and y.requires_grad:
                y.register_hook(lambda g: tell("backward", layer, before.detach(), g))

        return hook

    handles = [part.register_forward_hook(hook_for(path, index), with_kwargs=True) for path, index, part in parts]
    return Watch(handles, [path for path, _, _ in parts])
