"""Shapes before numbers: what comes out of a module, found without computing it."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy


def first_tensor(result: object) -> Tensor:
    """The tensor of a result: itself, or the first of a tuple (as recurrent and attention layers return).

    Raises:
        TypeError: if there is no tensor at the front.
    """
    while isinstance(result, (tuple, list)) and len(result):
        result = result[0]
    if not isinstance(result, Tensor):
        raise TypeError(
            f"a layer returned {type(result).__name__}, but a tensor, or a tuple that begins with one, is needed"
        )
    return result


def as_shape(input_shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of one sample as a tuple of whole numbers.

    Raises:
        TypeError: if it is a single number, or no shape at all.
    """
    try:
        return tuple(int(n) for n in input_shape)
    except (TypeError, ValueError):
        raise TypeError(
            f"input_shape is {input_shape!r}, but the axes of one sample are needed, without the batch: (64,) or (3, 8, 8)"
        ) from None


def output_shape(module: nn.Module, input_shape: Sequence[int]) -> tuple[int, ...]:
    """The shape that ``module`` returns for one sample of shape ``input_shape``, both without the batch axis.

    It runs the module on the meta device, where tensors have shapes but no numbers. Layers that have not seen an input
    yet (``nn.LazyLinear``) are tried on a copy; containers of this chapter ask their parts one by one, so that an
    error names the part that does not fit.

    Args:
        module: any module of one tensor.
        input_shape: the shape of one sample.

    Raises:
        ValueError: if the module cannot take such a sample.
        TypeError: if ``input_shape`` is no shape, or the module returns no tensor.

    >>> output_shape(nn.Conv2d(1, 16, 3, stride=2, padding=1), (1, 8, 8))
    (16, 4, 4)
    """
    ask = getattr(module, "output_shape", None)
    if callable(ask):
        return tuple(ask(input_shape))
    sample = (2, *as_shape(input_shape))  # two samples: batch norms refuse one
    try:
        with torch.no_grad():
            weights = [*module.named_parameters(), *module.named_buffers()]
            float_type = next((t.dtype for _, t in weights if t.dtype.is_floating_point), torch.get_default_dtype())
            if any(is_lazy(p) for p in module.parameters()):
                place = next(module.parameters()).device
                with torch.random.fork_rng([place] if place.type == "cuda" else []):  # new weights draw random numbers
                    result = copy.deepcopy(module)(torch.zeros(sample, device=place, dtype=float_type))
            else:
                state = {name: torch.empty_like(t, device="meta") for name, t in weights}
                x = torch.empty(sample, device="meta", dtype=float_type)
                result = torch.func.functional_call(module, state, (x,))
    except (RuntimeError, ValueError, TypeError, AssertionError, IndexError) as error:
        raise ValueError(
            f"{type(module).__name__} cannot take samples of shape {tuple(input_shape)}: {error}. "
            f"Give it the size that comes out of the layer before it"
        ) from error
    return tuple(first_tensor(result).shape[1:])
