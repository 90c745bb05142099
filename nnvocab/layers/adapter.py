"""Adapter layer: a narrow detour behind a frozen layer, one for each task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.layers.lora import named_targets, replace_module
from nnvocab.layers.lora_linear import LINEAR
from nnvocab.vocabulary import Example, entry


def bottleneck(x: Tensor, w_down: Tensor, b_down: Tensor, w_up: Tensor, b_up: Tensor) -> Tensor:
    r"""Go through few numbers and add what comes back: :math:`x + W_u \max(0, W_d x + b_d) + b_u`.

    Args:
        x: the input.
        w_down, b_down: weight and bias of the way in.
        w_up, b_up: weight and bias of the way back.

    Shapes:
        x: (..., C); w_down: (K, C); b_down: (K,); w_up: (C, K); b_up: (C,). Returns (..., C).
    """
    return x + F.linear(torch.relu(F.linear(x, w_down, b_down)), w_up, b_up)


def _example() -> Example:
    adapter = Adapter(6, adapter_size=4)
    nn.init.normal_(adapter.up.weight)
    return Example(adapter, (torch.randn(3, 6),))


@entry(
    name="Adapter layer",
    aliases=("bottleneck adapter", "Houlsby adapter"),
    ids=("adapter",),
    page="small_changes",
    paper="houlsby2019parameter",
    example=_example,
    related=("Low-rank adaptation", "Prefix tuning"),
)
class Adapter(nn.Module):
    r"""A residual bottleneck that starts as the identity.

    .. math::
        y = x + W_u\, \phi(W_d x + b_d) + b_u

    where :math:`W_d` maps to few numbers, :math:`\phi` is an activation, and :math:`W_u` maps back.

    Args:
        embed_dim: width C.
        adapter_size: width K of the bottleneck.
        activation: the function :math:`\phi`; ReLU if not given.

    Shapes:
        x: (..., C). Returns (..., C).

    Notice:
        :math:`W_u` and :math:`b_u` start at 0, so the adapter changes nothing at first, whatever comes in; from the
        usual random start it would disturb the trained layers around it. Unlike a low-rank change it is not linear,
        so it cannot be merged into a weight: its cost stays.

    Raises:
        ValueError: if a width is below 1, or the input has another.

    Source: Houlsby et al. 2019, section 2.1 and figure 2. They draw both weights from a normal distribution of
    deviation 0.01; here the second is exactly 0.

    >>> x = torch.randn(2, 64)
    >>> torch.equal(Adapter(64, adapter_size=16)(x), x)
    True
    """

    def __init__(self, embed_dim: int, adapter_size: int = 64, *, activation: nn.Module | None = None) -> None:
        super().__init__()
        if embed_dim < 1 or adapter_size < 1:
            raise ValueError(f"embed_dim {embed_dim} and adapter_size {adapter_size} must be at least 1")
        self.embed_dim = embed_dim
        self.down, self.up = nn.Linear(embed_dim, adapter_size), nn.Linear(adapter_size, embed_dim)
        self.activation = nn.ReLU() if activation is None else activation
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] != self.embed_dim:
            raise ValueError(f"x has width {x.shape[-1]}, but this adapter was made for width {self.embed_dim}")
        return x + self.up(self.activation(self.down(x)))  # (..., C) -> (..., K) -> (..., C)


class Adapted(nn.Module):
    """A frozen module and, behind it, the adapter of the active task; ``active`` None leaves it as it was."""

    def __init__(self, base: nn.Module, adapters: dict[str, Adapter]) -> None:
        super().__init__()
        self.base, self.tasks, self.active = base, nn.ModuleDict(adapters), next(iter(adapters))

    def forward(self, x: Tensor) -> Tensor:
        y = self.base(x)
        return y if self.active is None else self.tasks[self.active](y)


class AdapterModel(nn.Module):
    """A frozen model with adapters behind the named layers, one set for each task, of which one is active.

    Args:
        model: the model; it is changed in place and frozen.
        target_modules: names, or ends of names, of linear layers behind which an adapter stands: the last of attention
            and the last of the feed-forward layer, before the residual sum.
        adapter_size: width of every bottleneck.
        tasks: names of the tasks; the first is active at the start.

    Shapes:
        As the model's: the inputs, named ones too, are handed on as they are.

    Raises:
        ValueError: if a target names nothing, or there is no task or no such task.
        TypeError: if a target is no linear layer, or the targets are one string.

    >>> model = AdapterModel(nn.Sequential(nn.Linear(8, 8), nn.ReLU()), ["0"], adapter_size=2, tasks=["a", "b"])
    >>> model.switch("b")
    >>> model.trainable_parameters()
    42
    """

    def __init__(
        self,
        model: nn.Module,
        target_modules: Sequence[str],
        adapter_size: int = 64,
        *,
        tasks: Sequence[str] = ("default",),
    ) -> None:
        super().__init__()
        if not tasks or isinstance(tasks, str):
            raise ValueError(f"tasks is {tasks!r}; give a list of at least one name")
        names = named_targets(model, target_modules)
        model.requires_grad_(False)
        for name in names:
            base = model.get_submodule(name)
            if not isinstance(base, LINEAR):
                raise TypeError(f"{name!r} is a {type(base).__name__}; an adapter needs the width of a linear layer")
            like = base.weight
            made = {task: Adapter(base.out_features, adapter_size).to(like.device, like.dtype) for task in tasks}
            replace_module(model, name, Adapted(base, made))
        self.model, self.adapted, self.tasks = model, tuple(names), tuple(tasks)
        self.switch(self.tasks[0])

    def switch(self, task: str | None) -> None:
        """Make one task active and the only one that is trained; None takes all adapters out."""
        if task is not None:
            self._check(task)
        self.active = task
        for name in self.adapted:
            place = self.model.get_submodule(name)
            place.active = task
            for key, adapter in place.tasks.items():
                adapter.requires_grad_(key == task)

    def _check(self, task: str) -> None:
        if task not in self.tasks:
            raise ValueError(f"there is no task {task!r}; the tasks are {', '.join(self.tasks)}")

    def trainable_parameters(self) -> int:
        """Count the numbers that are trained: those of the active task's adapters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def adapter_state_dict(self, task: str) -> dict[str, Tensor]:
        """Return the weights of one task's adapters and nothing else."""
        self._check(task)
        inside = f".tasks.{task}."
        return {n: p.detach().clone() for n, p in self.model.named_parameters() if inside in n}

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.model(*inputs, **named)
