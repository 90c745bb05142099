"""Finds the attention weights of a module, and its Q, K and V where they can be known, for `AttentionMaps`."""

from __future__ import annotations

import inspect
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TAKES = (
    "AttentionMaps takes an nn.MultiheadAttention, a module that holds some, a module whose forward returns "
    "(output, weights), or the weights themselves as a tensor (T, S), (H, T, S) or (L, H, T, S)"
)


def read_weights(given: Any, name: str = "weights") -> Tensor:
    """Attention weights as (L, H, T, S), checked; a list holds one tensor a layer, (B, H, T, S) or (H, T, S)."""
    if isinstance(given, (list, tuple)):
        layers = [torch.as_tensor(w) for w in given]
        if not layers or any(w.ndim not in (2, 3, 4) for w in layers) or len({w.shape for w in layers}) > 1:
            raise ValueError(
                f"{name} is a list of shapes {[tuple(w.shape) for w in layers]}; it needs one tensor a layer, "
                "all of the same shape (B, H, T, S), (H, T, S) or (T, S). "
                "Give layers of other shapes a widget of their own"
            )
        given = torch.stack([w[0] if w.ndim == 4 else w if w.ndim == 3 else w[None] for w in layers])
    weights = torch.as_tensor(given).detach().cpu().float()
    if weights.ndim not in (2, 3, 4) or not weights.numel():
        raise ValueError(
            f"{name} has shape {tuple(weights.shape)}; it needs (T, S), (H, T, S) or (L, H, T, S). Select one "
            "example of a batch first, as in weights[0]"
        )
    weights = weights.reshape((1,) * (4 - weights.ndim) + weights.shape)
    sums = weights.sum(dim=-1)
    good = ((sums - 1).abs() < 1e-2) | (sums.abs() < 1e-6)
    if not torch.isfinite(weights).all() or (weights < -1e-6).any() or not good.all():
        raise ValueError(
            f"{name} has entries from {weights.min():.3g} to {weights.max():.3g} and rows that sum to between "
            f"{sums.min():.3g} and {sums.max():.3g}; attention weights are not negative and each row sums to 1 (or is "
            "all 0, where it may look nowhere). If these are scores, give scores.softmax(dim=-1)"
        )
    return weights.clamp(min=0)


def _first(x: Tensor, batch_first: bool) -> Tensor:
    return x if x.ndim == 2 else x[0] if batch_first else x[:, 0]


def _project(m: nn.MultiheadAttention, call: dict[str, Any]) -> dict[str, Tensor | int]:
    """Q, K, V (H, T, D) of the first example, and what its masks add to the scores (H, T, S)."""
    query, key, value = (_first(call[n], m.batch_first) for n in ("query", "key", "value"))  # (T, C), (S, C), (S, C)
    ways = (
        m.in_proj_weight.chunk(3)
        if m.in_proj_weight is not None
        else (m.q_proj_weight, m.k_proj_weight, m.v_proj_weight)
    )
    biases = m.in_proj_bias.chunk(3) if m.in_proj_bias is not None else (None,) * 3
    q, k, v = (F.linear(x, w, b) for x, w, b in zip((query, key, value), ways, biases, strict=True))
    extra = 0
    if m.bias_k is not None:
        k, v, extra = torch.cat([k, m.bias_k[0]]), torch.cat([v, m.bias_v[0]]), extra + 1
    if m.add_zero_attn:
        k, v, extra = torch.cat([k, k.new_zeros(1, k.shape[1])]), torch.cat([v, v.new_zeros(1, v.shape[1])]), extra + 1
    q, k, v = (x.unflatten(-1, (m.num_heads, -1)).transpose(0, 1) for x in (q, k, v))  # (T, C) -> (H, T, D)
    bias = q.new_zeros(m.num_heads, q.shape[1], k.shape[1])  # (H, T, S)
    for mask in (call.get("attn_mask"), call.get("key_padding_mask")):
        if mask is None:
            continue
        if mask is call.get("key_padding_mask"):
            mask = mask if mask.ndim == 1 else mask[0]  # (S,)
        elif mask.ndim == 3:
            mask = mask[: m.num_heads]  # (B * H, T, S) -> the first example's (H, T, S)
        if mask.dtype == torch.bool:
            mask = torch.zeros(mask.shape, device=mask.device).masked_fill(mask, float("-inf"))
        bias = bias + F.pad(mask.to(bias), (0, extra))
    return {"q": q, "k": k, "v": v, "bias": bias, "extra": extra}


def _run(module: nn.Module, x: Any, hooked: list[nn.MultiheadAttention]) -> tuple[Any, list[dict]]:
    """Call the module once, without training, and project what each of its MultiheadAttentions is given."""
    parameters = inspect.signature(module.forward).parameters
    needed = [p for p in parameters.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    inputs = x if isinstance(x, (tuple, list)) else (x,) * (3 if len(needed) == 3 else 1)
    if len(inputs) == 2 and len(needed) == 3:
        inputs = (inputs[0], inputs[1], inputs[1])
    options = {
        n: v for n, v in {"need_weights": True, "average_attn_weights": False}.items() if n in parameters and not hooked
    }
    calls: list[dict] = []

    def note(m, args, kwargs):
        calls.append(_project(m, inspect.signature(m.forward).bind(*args, **kwargs).arguments))

    hooks = [m.register_forward_pre_hook(note, with_kwargs=True) for m in hooked]
    was = {m: m.training for m in module.modules()}
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the fast path would not call the attention inside
    try:
        module.eval()
        with torch.no_grad():
            result = module(*inputs, **options)
    except (RuntimeError, TypeError, IndexError, AssertionError) as error:
        shapes = [tuple(i.shape) if isinstance(i, Tensor) else type(i).__name__ for i in inputs]
        raise TypeError(
            f"{type(module).__name__} did not run on inputs of shape {shapes}: {error}. Give x as its forward takes "
            "it, or a tuple such as (query, key, value)"
        ) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for m, training in was.items():
            m.training = training
        for hook in hooks:
            hook.remove()
    return result, calls


def read_module(module: nn.Module, x: Any) -> dict[str, Any]:
    """{"q", "k", "v", "bias": (L, H, ., .), "extra"} where they can be known, else {"weights": (L, H, T, S)}."""
    name = type(module).__name__
    if x is None:
        raise TypeError(f"{name} was given without an input; give it what its forward takes: AttentionMaps(module, x)")
    hooked = [m for m in module.modules() if isinstance(m, nn.MultiheadAttention)]
    result, calls = _run(module, x, hooked)
    if calls:
        shapes = sorted({(*c["q"].shape, c["k"].shape[1]) for c in calls})
        if len(shapes) > 1:
            raise ValueError(
                f"{name} holds attention of several shapes (H, T, D, S): {shapes}; the maps need one. Show one of "
                "its parts, such as AttentionMaps(module.layers[0].self_attn, x)"
            )
        parts = {n: torch.stack([c[n].detach().cpu().float() for c in calls]) for n in ("q", "k", "v", "bias")}
        return {**parts, "extra": calls[0]["extra"]}
    found = result[1] if isinstance(result, (tuple, list)) and len(result) > 1 else None
    if isinstance(found, (tuple, list)) and found and all(isinstance(w, Tensor) for w in found):
        return {"weights": read_weights(found, f"what {name} returns beside its output")}
    if not isinstance(found, Tensor) or found.ndim not in (2, 3, 4):
        raise TypeError(
            f"{name} returned {type(result).__name__} without attention weights beside its output; {TAKES}. Let its "
            "forward return (output, weights), or give the weights"
        )
    if found.ndim == 4:
        found = found[0]  # (B, H, T, S) -> the first example's (H, T, S)
    elif found.ndim == 3 and isinstance(result[0], Tensor) and result[0].ndim == 3 and len(found) == len(result[0]):
        found = found[0]  # (B, T, S): no axis of heads
    return {"weights": read_weights(found, f"what {name} returns beside its output")}
