"""KV-cache comparison: what each kind of attention keeps of a token, measured from the tensors that it stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nnvocab.vocabulary import entry


@dataclass(frozen=True)
class CacheSize:
    """What one layer keeps of one token: numbers in its keys, numbers in its values, and bytes of both."""

    keys: int
    values: int
    bytes: int


def cache_bytes(num_keys: int, num_values: int, dtype: torch.dtype) -> int:
    """Count as the equation is written: numbers of keys and of values, times bytes of a number.

    >>> cache_bytes(2048, 2048, torch.float16)
    8192
    """
    return (num_keys + num_values) * dtype.itemsize


@entry(
    name="KV-cache comparison",
    aliases=("KV-cache size comparison", "KV cache memory"),
    ids=("caramba_kv_cache_comparison",),
    page="decoupled",
    kind="algorithm",
    paper="pope2023efficiently",
    related=("KV cache", "Decoupled bottleneck attention", "Grouped-query attention", "Multi-query attention"),
)
def compare_kv_caches(layers: Mapping[str, nn.Module], x: Tensor) -> dict[str, CacheSize]:
    r"""Let each layer read the same tokens into its cache, and count what lies there.

    .. math::
        \mathrm{bytes} = (\mathrm{numel}(K) + \mathrm{numel}(V)) \cdot \mathrm{bytes\ of\ a\ number}

    where :math:`K` and :math:`V` are the tensors that the layer stores, per token and layer.

    Args:
        layers: causal attention layers by name; each has ``new_cache(batch_size, max_len)`` and takes ``cache=``.
        x: what they read, in the dtype of the layers.

    Shapes:
        x: (B, T, C). Returns a record for each layer: numbers of keys, numbers of values, bytes, for one token.

    Notice:
        Nothing is computed from head counts: the tensors are asked for their number of elements and the bytes of one,
        so a width that was forgotten in a formula shows.

    Raises:
        ValueError: if a layer has no cache to measure, or x is no batch of sequences.

    Source: Pope et al. 2023, section 2.1 (what is cached), section 3.3 (sharing heads).

    >>> from nnvocab.attention import GroupedQueryAttention
    >>> layers = {"two of eight": GroupedQueryAttention(64, 8, 2, causal=True)}
    >>> compare_kv_caches(layers, torch.zeros(1, 3, 64))
    {'two of eight': CacheSize(keys=16, values=16, bytes=128)}
    """
    if x.ndim != 3 or 0 in x.shape:
        raise ValueError(f"x has shape {tuple(x.shape)}, but needs (batch, positions, width) with at least one token")
    sizes = {}
    for name, layer in layers.items():
        if not hasattr(layer, "new_cache"):
            raise ValueError(
                f"{name!r} is a {type(layer).__name__}, which has no new_cache(batch_size, max_len): give a causal "
                f"attention layer of this chapter"
            )
        B, T, _ = x.shape
        cache = layer.new_cache(B, T)
        with torch.no_grad():
            layer(x, cache=cache)
        k, v = cache.keys, cache.values  # (B, G, T, D), (B, G, T, E)
        stored = k.numel() * k.element_size() + v.numel() * v.element_size()
        sizes[name] = CacheSize(k.numel() // (B * T), v.numel() // (B * T), stored // (B * T))
    return sizes
