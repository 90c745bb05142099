"""Topologies: how the layers of a manifest are joined, beyond a row and branches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

import torch
from torch import Tensor, nn

from nnvocab.recurrent.gru import GRU
from nnvocab.vocabulary import Example, entry


def _modules(layers: Iterable[nn.Module]) -> nn.ModuleList:
    layers = list(layers)
    if not layers:
        raise ValueError("no layer was given, but a topology joins at least one")
    for i, layer in enumerate(layers):
        if not isinstance(layer, nn.Module):
            raise TypeError(f"layer {i} is a {type(layer).__name__}, but must be an nn.Module")
    return nn.ModuleList(layers)


@entry(
    name="Cyclic topology",
    aliases=("CyclicTopology", "feedback loop"),
    page="from_yaml",
    kind="block",
    paper="dehghani2019universal",
    example=lambda: Example(Cyclic([nn.Linear(4, 4), nn.Tanh()], 3), (torch.randn(2, 4),)),
    related=("Recurrent topology", "Graph topology"),
)
class Cyclic(nn.Module):
    r"""Layers in a row whose output goes in again: the same weights at every turn.

    .. math::
        x_{n} = f(x_{n-1}), \qquad n = 1, \dots, N

    where :math:`f` is the row of layers and :math:`x_0` the input.

    Args:
        layers: the layers, in order; the last gives what the first takes.
        iterations: turns N.

    Shapes:
        x: any that the layers keep. Returns the same.

    Notice:
        N turns cost what N copies cost, with the parameters of one. Every turn adds to the gradient of the one set of
        weights.

    Raises:
        ValueError: if there is no layer, ``iterations`` is below 1, or a turn changes the shape.
        TypeError: if a layer is no module.

    Source: Dehghani et al. 2019, section 2.1, with one block and a fixed number of turns.

    >>> Cyclic([nn.Linear(4, 4)], iterations=3)(torch.zeros(2, 4)).shape
    torch.Size([2, 4])
    """

    def __init__(self, layers: Sequence[nn.Module], iterations: int) -> None:
        super().__init__()
        self.layers = _modules(layers)
        if iterations < 1:
            raise ValueError(f"iterations is {iterations}, but must be at least 1")
        self.iterations = iterations

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.iterations):
            y = x
            for layer in self.layers:
                y = layer(y)
            if y.shape != x.shape:
                raise ValueError(
                    f"a turn made {tuple(y.shape)} of {tuple(x.shape)}, but what goes in again must keep its shape: "
                    f"let the last layer give {x.shape[-1]} features"
                )
            x = y
        return x


@entry(
    name="Recurrent topology",
    aliases=("RecurrentTopology",),
    page="from_yaml",
    kind="block",
    paper="elman1990finding",
    example=lambda: Example(
        WithoutStates(Recurrent([GRU(4, 3, batch_first=True), nn.Linear(3, 2)])),
        (torch.randn(2, 5, 4),),
        skip={"fake_cuda": "torch has no fake kernel of its fused GRU"},
    ),
    related=("Cyclic topology", "Graph topology"),
)
class Recurrent(nn.Module):
    r"""Layers in a row that remember: each keeps a state of its own, handed on from call to call.

    .. math::
        (y^{(l)}, s^{(l)}_{t}) = f_l\!\left(y^{(l-1)}, s^{(l)}_{t-1}\right)

    where :math:`y^{(0)}` is the input and :math:`s^{(l)}` the state of layer :math:`l`.

    Args:
        layers: modules; one that returns a pair (output, state) is called with its state, any other without.

    Shapes:
        x: what the first layer takes, such as (B, T, C). Returns the last output and a tuple of states, one a layer;
        the state of a layer without memory is None.

    Notice:
        A sequence read in two parts, with the states handed on, gives what it gives when read at once.

    Raises:
        ValueError: if there is no layer, or the number of states is not that of the layers.
        TypeError: if a layer is no module.

    Source: Elman 1990; the stacking of recurrent layers is that of ``torch.nn.LSTM(num_layers=...)``.

    >>> y, states = Recurrent([nn.GRU(4, 3, batch_first=True), nn.Linear(3, 2)])(torch.zeros(1, 5, 4))
    >>> y.shape, len(states), states[1] is None
    (torch.Size([1, 5, 2]), 2, True)
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = _modules(layers)

    def forward(self, x: Tensor, states: Sequence[Any] | None = None) -> tuple[Tensor, tuple[Any, ...]]:
        if states is not None and len(states) != len(self.layers):
            raise ValueError(f"{len(states)} states were given, but there are {len(self.layers)} layers: one each")
        kept = []
        for i, layer in enumerate(self.layers):
            state = None if states is None else states[i]
            y = layer(x) if state is None else layer(x, state)
            x, state = y if isinstance(y, tuple) else (y, None)
            kept.append(state)
        return x, tuple(kept)


class WithoutStates(nn.Module):
    """The output of a recurrent topology without its states, where one tensor is wanted."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x)[0]


@entry(
    name="Graph topology",
    aliases=("GraphTopology", "directed acyclic graph of layers"),
    page="from_yaml",
    kind="block",
    paper="szegedy2015going",
    example=lambda: Example(
        Graph({"a": (nn.Linear(4, 4), ["input"]), "b": (nn.Tanh(), ["a"]), "c": (nn.Bilinear(4, 4, 3), ["a", "b"])}),
        (torch.randn(2, 4),),
    ),
    related=("Cyclic topology", "Recurrent topology"),
)
class Graph(nn.Module):
    r"""Layers as nodes of a directed graph without cycles: each takes what the nodes before it gave.

    .. math::
        y_v = f_v\!\left(y_{u_1}, \dots, y_{u_k}\right), \qquad u_i \to v

    where :math:`f_v` is the layer of node :math:`v` and :math:`u_i` the nodes it names.

    Args:
        nodes: name -> (layer, names of the nodes it takes); ``"input"`` is what the graph is called with. The order in
            which they are given does not matter.
        output: name of the node whose value is returned; by default the one that no other node takes.

    Shapes:
        x: what the nodes that take ``"input"`` expect. Returns what the output node gives.

    Notice:
        A layer runs once however many nodes take its value; the gradients that come back to it add up.

    Raises:
        ValueError: if a node is called "input", names a node that does not exist, takes nothing, lies on a cycle, is
            not needed for the output, or if the output is not clear.
        TypeError: if a layer is no module.

    Source: Szegedy et al. 2015, section 4, for a network that is a graph and no row.

    >>> graph = Graph({"wide": (nn.Linear(4, 8), ["input"]), "back": (nn.Linear(8, 4), ["wide"])})
    >>> graph(torch.zeros(1, 4)).shape
    torch.Size([1, 4])
    """

    def __init__(self, nodes: Mapping[str, tuple[nn.Module, Sequence[str]]], output: str | None = None) -> None:
        super().__init__()
        names = list(nodes)
        _modules(layer for layer, _ in nodes.values())
        self.takes = {name: tuple(takes) for name, (_, takes) in nodes.items()}
        for name, takes in self.takes.items():
            if name == "input":
                raise ValueError('a node is called "input", which is what the graph is called with: rename it')
            if not name or "." in name or hasattr(nn.ModuleDict, name):
                raise ValueError(f"a node cannot be called {name!r}: rename it, as node_{name.replace('.', '_')}")
            if not takes:
                raise ValueError(f'node {name!r} takes nothing: name the nodes it takes, or "input"')
            for other in takes:
                if other != "input" and other not in nodes:
                    raise ValueError(
                        f"node {name!r} takes {other!r}, which is no node; there is input, {', '.join(names)}"
                    )
        try:
            order = list(TopologicalSorter(self.takes).static_order())
        except CycleError as error:
            path = " -> ".join(reversed(error.args[1]))
            raise ValueError(
                f"the nodes {path} form a cycle, so that none can be computed first: take one of these inputs away, or "
                f"use a cyclic topology"
            ) from error
        self.order = tuple(name for name in order if name != "input")
        taken = {other for takes in self.takes.values() for other in takes}
        ends = [name for name in names if name not in taken]
        if output is None and len(ends) != 1:
            raise ValueError(f"nodes {', '.join(ends)} are taken by no other: say which one is the output")
        self.output = ends[0] if output is None else output
        if self.output not in nodes:
            raise ValueError(f"the output is {self.output!r}, which is no node; there is {', '.join(names)}")
        idle = [name for name in ends if name != self.output]
        if idle:
            raise ValueError(f"nodes {', '.join(idle)} are taken by no other and are not the output: join or drop them")
        self.layers = nn.ModuleDict({name: layer for name, (layer, _) in nodes.items()})

    def forward(self, x: Tensor) -> Any:
        values: dict[str, Any] = {"input": x}
        for name in self.order:
            values[name] = self.layers[name](*(values[other] for other in self.takes[name]))
        return values[self.output]
