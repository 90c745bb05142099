"""What a model is made of: shapes, parameters, and the bytes that a token leaves in the caches of its attention layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy


@dataclass(frozen=True)
class Line:
    """One module of a summary."""

    name: str
    kind: str
    shape: tuple[int, ...] | None
    parameters: int
    trainable: int
    cache_bytes: int


@dataclass(frozen=True)
class Summary:
    """The lines of a model and its totals; shows itself as a table."""

    lines: tuple[Line, ...]
    parameters: int
    trainable: int
    cache_bytes: int
    dtype: torch.dtype

    def __repr__(self) -> str:
        rows = [("layer", "kind", "output", "parameters", "cache/token")]
        for line in self.lines:
            shape = "" if line.shape is None else " x ".join(map(str, line.shape))
            rows.append(
                (
                    line.name,
                    line.kind,
                    shape,
                    f"{line.parameters:,}",
                    f"{line.cache_bytes:,} B" if line.cache_bytes else "",
                )
            )
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        sides = "<<<>>"
        text = [
            "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
            for row in rows
        ]
        text.insert(1, "  ".join("-" * width for width in widths))
        frozen = self.parameters - self.trainable
        text.append(f"{self.parameters:,} parameters, {self.trainable:,} of them trained, {frozen:,} frozen")
        name = str(self.dtype).removeprefix("torch.")
        text.append(f"{self.cache_bytes:,} bytes of keys and values a token, stored as {name}")
        return "\n".join(text)


def _first_tensor(value: Any) -> Tensor | None:
    while isinstance(value, tuple | list) and value:
        value = value[0]
    return value if isinstance(value, Tensor) else None


def summarize(model: nn.Module, *inputs: Tensor, depth: int = 3, cache_dtype: torch.dtype = torch.float16) -> Summary:
    """Run a model once and note the output shape, the parameters and the cache of each part.

    Args:
        model: any module; a part with a method ``new_cache(batch_size, max_len)`` counts as attention with a cache.
        inputs: what it is called with; without any, shapes stay empty and nothing runs.
        depth: how many levels of parts are listed.
        cache_dtype: type in which keys and values would be stored.

    Notice:
        A parameter that two parts share counts once in the total. A part that is used several times has a cache for
        each use. A model without parts is listed as "(model)".

    Raises:
        TypeError: if ``model`` is no module.
        ValueError: if the sizes of a lazy layer are not known yet and no input is given.

    >>> summarize(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.zeros(1, 4)).parameters
    58
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}, but must be an nn.Module")
    if not inputs and any(is_lazy(p) for p in model.parameters()):
        raise ValueError("the model has layers whose sizes are not known before they see an input: give one")
    shapes: dict[nn.Module, tuple[int, ...]] = {}
    calls: dict[nn.Module, int] = {}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        calls[module] = calls.get(module, 0) + 1
        found = _first_tensor(output)
        if found is not None:
            shapes[module] = tuple(found.shape)

    parts = list(model.named_modules())
    handles = [module.register_forward_hook(note) for _, module in parts]
    was_training = model.training
    try:
        if inputs:
            model.eval()
            with torch.no_grad():
                model(*inputs)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()

    def cache(module: nn.Module) -> int:
        make = getattr(module, "new_cache", None)
        if not callable(make):
            return 0
        kept = make(1, 1)  # one sequence, one token
        numbers = sum(b.numel() for b in kept.buffers()) if isinstance(kept, nn.Module) else 0
        return numbers * cache_dtype.itemsize * max(1, calls.get(module, 1))

    inside: set[nn.Module] = set()  # a part of what already reports its cache does not count again
    for _, module in parts:
        if module not in inside and cache(module):
            inside.update(m for m in module.modules() if m is not module)
    lines = []
    for name, module in parts:
        if (
            (name or len(parts) == 1)
            and name.count(".") < depth
            and not isinstance(module, nn.ModuleList | nn.ModuleDict)
        ):
            weights = list(module.parameters())
            lines.append(
                Line(
                    name or "(model)",
                    type(module).__name__,
                    shapes.get(module),
                    sum(p.numel() for p in weights),
                    sum(p.numel() for p in weights if p.requires_grad),
                    sum(cache(m) for m in module.modules() if m not in inside),
                )
            )
    weights = list(model.parameters())
    return Summary(
        tuple(lines),
        sum(p.numel() for p in weights),
        sum(p.numel() for p in weights if p.requires_grad),
        sum(cache(m) for _, m in parts if m not in inside),
        cache_dtype,
    )
