"""Attention heads: take one away and see what it was worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nnvocab.vocabulary import Example, entry


@contextmanager
def without_heads(layer: nn.Module, heads: Iterable[int]) -> Iterator[None]:
    """Silence heads of an attention layer: inside the ``with`` block their outputs are 0 before the last projection.

    Args:
        layer: an attention layer with ``num_heads`` and an output projection ``out``, as those of this chapter.
        heads: the heads to silence, counted from 0.

    Raises:
        TypeError: if the layer has no ``num_heads`` or no ``out``.
        ValueError: if there is no such head.
    """
    layer = getattr(layer, "attention", layer)
    if not isinstance(getattr(layer, "out", None), nn.Linear) or not hasattr(layer, "num_heads"):
        raise TypeError(f"{type(layer).__name__} must have num_heads and an output projection out, an nn.Linear")
    heads = sorted(set(heads))
    if heads and not 0 <= heads[0] <= heads[-1] < layer.num_heads:
        raise ValueError(f"heads {heads} were named, but the layer has heads 0 to {layer.num_heads - 1}")
    D = layer.out.in_features // layer.num_heads
    keep = torch.ones(layer.num_heads, device=layer.out.weight.device)
    keep[heads] = 0.0

    def silence(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (inputs[0] * keep.repeat_interleave(D).to(inputs[0]),)  # (B, T, H*D)

    handle = layer.out.register_forward_pre_hook(silence)
    try:
        yield
    finally:
        handle.remove()


def _example() -> Example:
    from nnvocab.attention.multi_head import MultiHeadAttention

    layer = MultiHeadAttention(8, num_heads=2)

    def importance(x: Tensor) -> Tensor:
        moved = layer.to(x)
        return head_importance(moved, lambda: moved(x).square().mean(dim=(1, 2)))

    return Example(
        importance,
        (torch.randn(2, 3, 8),),
        skip={
            "fake_cuda": "the layer it ablates is part of the function, not an input",
            "compile": "hooks are put on and off between calls",
        },
    )


@entry(
    name="Attention heads",
    aliases=("Multiple heads as multiple perspectives", "head specialisation", "head specialization", "head ablation"),
    page="many_heads",
    kind="concept",
    ids=("loom_multiple_heads",),
    paper="voita2019analyzing",
    example=_example,
    related=("Multi-head attention", "Grouped-query attention"),
)
def head_importance(layer: nn.Module, loss: Callable[[], Tensor | float]) -> Tensor:
    r"""Measure what each head of a layer is worth: how much the loss grows when it is silenced.

    .. math::
        I_h = \mathcal{L}(\text{model without head } h) - \mathcal{L}(\text{model})

    where :math:`\mathcal{L}` is the loss on fixed data.

    Args:
        layer: an attention layer of the model, with ``num_heads`` and an output projection ``out``.
        loss: runs the model that holds the layer and returns its loss, a tensor or a number; called once for every
            head and once more.

    Shapes:
        ``loss`` returns any shape (...). Returns (..., H).

    Notice:
        A head whose ablation changes nothing may still be useful: another may do the same work. Importances of single
        heads do not add up.

    Raises:
        TypeError: if the layer has no ``num_heads`` or no ``out``.

    Source: Voita et al. 2019; Michel et al. 2019, section 3, who find that most heads can go one at a time.

    >>> from nnvocab.attention import MultiHeadAttention
    >>> layer, x = MultiHeadAttention(8, num_heads=2), torch.ones(1, 3, 8)
    >>> head_importance(layer, lambda: layer(x).square().mean()).shape
    torch.Size([2])
    """
    inner = getattr(layer, "attention", layer)
    whole = torch.as_tensor(loss())
    worth = []
    for head in range(getattr(inner, "num_heads", 1)):
        with without_heads(layer, [head]):
            worth.append(torch.as_tensor(loss()) - whole)
    return torch.stack(worth, dim=-1)
