"""Low-rank adaptation: freeze a model and learn small products beside the weights that are named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nnvocab.layers.lora_linear import LINEAR, LoRALinear
from nnvocab.vocabulary import Example, entry


def named_targets(model: nn.Module, targets: Sequence[str]) -> list[str]:
    """List the modules whose name is a target or ends in ``.target``, in the order of the model.

    Raises:
        TypeError: if targets is one string: a list is needed.
        ValueError: if there is no target, or one names nothing; the message lists the last parts of the names.
    """
    if isinstance(targets, str):
        raise TypeError(f"the targets are the string {targets!r}; give a list: [{targets!r}]")
    if not targets:
        raise ValueError("no target was given: nothing would learn; name at least one layer")
    names = [name for name, _ in model.named_modules() if name]

    def fits(name: str, target: str) -> bool:
        return name == target or name.endswith("." + target)

    for target in targets:
        if not any(fits(name, target) for name in names):
            endings = sorted({name.split(".")[-1] for name in names})
            raise ValueError(f"no module is called {target!r}; the names of this model end in {', '.join(endings)}")
    return [name for name in names if any(fits(name, target) for target in targets)]


def replace_module(model: nn.Module, name: str, new: nn.Module) -> None:
    """Put a module in the place of the one with this dotted name."""
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, new)


def _example() -> Example:
    return Example(
        LoRAModel(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)), ["0", "2"], r=2), (torch.randn(3, 6),)
    )


@entry(
    name="Low-rank adaptation",
    aliases=("LoRA", "PEFT"),
    ids=("lora", "caramba_lora"),
    page="small_changes",
    kind="algorithm",
    paper="hu2022lora",
    peer="peft",
    example=_example,
    related=("LoRA linear layer", "LoRA on attention projections", "Adapter layer"),
)
class LoRAModel(nn.Module):
    r"""A frozen model whose named linear layers learn a change of low rank.

    .. math::
        W' = W + \frac{\alpha}{r}\, B A, \qquad A \sim \mathcal{U}, \quad B = 0 \text{ at the start}

    where :math:`W` is a frozen weight of the model and :math:`B A` a learned product of rank :math:`r`.

    Args:
        model: the model; it is changed in place and frozen.
        target_modules: names, or ends of names, of the linear layers that are adapted: ``nn.Linear`` or ``Linear``.
        r: rank of each change.
        lora_alpha: the number :math:`\alpha`; the change is scaled by :math:`\alpha / r`.
        lora_dropout: probability with which a number of the input is hidden from A while training.

    Shapes:
        As the model's: the inputs, named ones too, are handed on as they are.

    Notice:
        It starts as the model was. The change is small to store (``adapter_state_dict``), can be merged into the
        weights for use and taken out again, and several changes can share one frozen model. It needs a higher
        learning rate than training all weights does.

    Raises:
        ValueError: if no target is given, one names nothing, or r, alpha or dropout do not fit.
        TypeError: if a target is no linear layer, or the targets are one string.

    Source: Hu et al. 2022, sections 4.1 and 4.2.

    >>> model = LoRAModel(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), ["0"], r=4)
    >>> model.trainable_parameters(), list(model.adapter_state_dict())
    (512, ['0.lora_A', '0.lora_B'])
    """

    def __init__(
        self,
        model: nn.Module,
        target_modules: Sequence[str],
        r: int = 8,
        *,
        lora_alpha: float = 16.0,
        lora_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers = {}
        for name in named_targets(model, target_modules):
            base = model.get_submodule(name)
            if not isinstance(base, LINEAR):
                raise TypeError(f"{name!r} is a {type(base).__name__}; only linear layers take a low-rank change here")
            layers[name] = LoRALinear.from_linear(base, r, lora_alpha=lora_alpha, lora_dropout=lora_dropout)
        self._inject(model, layers)

    @classmethod
    def with_layers(cls, model: nn.Module, layers: Mapping[str, nn.Module]) -> LoRAModel:
        """Freeze a model and put the given adapting layers in the places that their names say."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made._inject(model, layers)
        return made

    def _inject(self, model: nn.Module, layers: Mapping[str, nn.Module]) -> None:
        model.requires_grad_(False)
        for name, layer in layers.items():
            replace_module(model, name, layer)
        self.model, self.adapted = model, tuple(layers)

    def layers(self) -> dict[str, Any]:
        """Return the adapting layers by name."""
        return {name: self.model.get_submodule(name) for name in self.adapted}

    def trainable_parameters(self) -> int:
        """Count the numbers that are trained."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def trainable_share(self) -> float:
        """Say which part of all numbers is trained, between 0 and 1."""
        return self.trainable_parameters() / sum(p.numel() for p in self.parameters())

    def adapter_state_dict(self) -> dict[str, Tensor]:
        """Return what was learned and nothing else: all that has to be stored for a task."""
        return {n: p.detach().clone() for n, p in self.model.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def load_adapter(self, state: Mapping[str, Tensor]) -> None:
        """Put a stored change in; raise a ValueError if it belongs to other layers or another rank."""
        if any(layer.merged for layer in self.layers().values()):
            raise RuntimeError("a change is merged into the weights: call unmerge() before another is loaded")
        own = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        if {n: p.shape for n, p in own.items()} != {n: t.shape for n, t in state.items()}:
            raise ValueError(
                f"the stored change has {sorted(state)}, but this model takes {sorted(own)}, in these shapes: "
                f"{[tuple(p.shape) for _, p in sorted(own.items())]}"
            )
        for name, p in own.items():
            p.copy_(state[name])

    def merge(self) -> None:
        """Add every change to its weight."""
        for layer in self.layers().values():
            layer.merge()

    def unmerge(self) -> None:
        """Take every change out of its weight."""
        for layer in self.layers().values():
            layer.unmerge()

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.model(*inputs, **named)
