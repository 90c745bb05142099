"""KV cache: keep the keys and values of what has been read, so that a new token costs one step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.attention.masks import positions_mask
from nnvocab.attention.scaled_dot_product import scaled_dot_product_attention_fused
from nnvocab.vocabulary import Example, entry


def kv_cache_bytes(
    num_kv_heads: int,
    head_dim: int,
    *,
    tokens: int = 1,
    layers: int = 1,
    batch_size: int = 1,
    dtype: torch.dtype = torch.float16,
) -> int:
    r"""Count the bytes of a cache: :math:`2 \cdot G \cdot D` numbers a token and layer, keys and values.

    Args:
        num_kv_heads: key/value heads G.
        head_dim: width D of a head.
        tokens: positions kept.
        layers: layers of the model, each with its own cache.
        batch_size: sequences at once.
        dtype: type of the numbers.

    Raises:
        ValueError: if a number is below 1, or below 0 for tokens.

    >>> kv_cache_bytes(num_kv_heads=32, head_dim=64)  # d_model 2048, multi-head, fp16
    8192
    """
    if min(num_kv_heads, head_dim, layers, batch_size) < 1 or tokens < 0:
        raise ValueError(
            f"num_kv_heads {num_kv_heads}, head_dim {head_dim}, layers {layers} and batch_size {batch_size} must be at "
            f"least 1, tokens {tokens} at least 0"
        )
    return 2 * num_kv_heads * head_dim * tokens * layers * batch_size * dtype.itemsize


def _example() -> Example:
    return Example(
        cached_causal_attention,
        tuple(torch.randn(3, 2, 2, 5, 4).unbind()),
        skip={"gradcheck": "the cache is written in place; it serves generation, where nothing is differentiated"},
    )


@entry(
    name="KV cache",
    aliases=("cached attention", "incremental decoding", "key-value cache"),
    page="fewer_keys",
    kind="algorithm",
    ids=("kv_cache",),
    paper="pope2023efficiently",
    peer="torch.nn.functional.scaled_dot_product_attention",
    example=_example,
    related=("Grouped-query attention", "Multi-query attention", "Causal attention"),
)
class KVCache(nn.Module):
    r"""The keys and values that one attention layer has seen, in memory that is set aside once.

    .. math::
        K_{\le t} = [K_{<t};\, k_t], \quad V_{\le t} = [V_{<t};\, v_t], \qquad
        y_t = \operatorname{softmax}\!\left(\frac{q_t K_{\le t}^{\top}}{\sqrt{D}}\right) V_{\le t}

    where :math:`q_t, k_t, v_t` belong to the new position :math:`t`.

    Args:
        batch_size: sequences B that are written at once.
        num_kv_heads: key/value heads G of the layer.
        max_len: positions that fit.
        head_dim: width D of a head.
        sliding: when full, let the oldest position go instead of refusing the next; a query then sees the last
            ``max_len`` positions, its own included.
        value_dim: width E of a value where it differs from a key's; ``head_dim`` if not given.
        dtype: type of the stored numbers.
        device: where they are stored.

    Shapes:
        ``append`` takes (B, G, T, D) and (B, G, T, E); it returns keys and values of S positions, the oldest first,
        (B, G, S, D) and (B, G, S, E), and their positions (S,), which ``positions(T)`` tells beforehand.

    Notice:
        It is exact in a causal layer only: there no later token changes what an earlier position computed. A new
        token costs one row of scores instead of all of them. A sliding cache stores position p in place p mod
        ``max_len``; once it is full, what ``append`` returns is a copy, put in order.

    Raises:
        ValueError: if sizes are below 1, a chunk has the wrong shape, or it does not fit any more.
        TypeError: if a chunk has another dtype than the cache.
        RuntimeError: if a gradient is to flow into what is stored.

    Source: Pope et al. 2023, section 2.1 and appendix; Shazeer 2019, section 2.4 (incremental attention).

    >>> cache = KVCache(1, num_kv_heads=2, max_len=8, head_dim=4)
    >>> keys, values, positions = cache.append(torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4))
    >>> keys.shape, cache.seen, cache.nbytes
    (torch.Size([1, 2, 3, 4]), 3, 512)
    """

    def __init__(
        self,
        batch_size: int,
        num_kv_heads: int,
        max_len: int,
        head_dim: int,
        *,
        sliding: bool = False,
        value_dim: int | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        value_dim = head_dim if value_dim is None else value_dim
        sizes = {"batch_size": batch_size, "num_kv_heads": num_kv_heads, "max_len": max_len, "head_dim": head_dim}
        sizes["value_dim"] = value_dim
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} is {size}, but must be at least 1")
        self.max_len, self.sliding, self.seen = max_len, sliding, 0
        for name, width in (("keys", head_dim), ("values", value_dim)):
            empty = torch.zeros(batch_size, num_kv_heads, max_len, width, dtype=dtype, device=device)
            self.register_buffer(name, empty, persistent=False)

    @property
    def nbytes(self) -> int:
        """Bytes that are set aside, whether used or not."""
        return self.keys.nbytes + self.values.nbytes

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Store a chunk of T positions; return all that it may look at: keys, values and their absolute positions."""
        B, G = self.keys.shape[:2]
        for name, chunk, D in (("k", k, self.keys.shape[3]), ("v", v, self.values.shape[3])):
            if chunk.ndim != 4 or (chunk.shape[0], chunk.shape[1], chunk.shape[3]) != (B, G, D) or chunk.shape[2] < 1:
                raise ValueError(f"{name} has shape {tuple(chunk.shape)}, but this cache takes ({B}, {G}, T >= 1, {D})")
        if k.shape[2] != v.shape[2]:
            raise ValueError(
                f"k has shape {tuple(k.shape)} and v {tuple(v.shape)}, but their numbers of positions must be equal"
            )
        if k.dtype != self.keys.dtype or v.dtype != self.keys.dtype:
            raise TypeError(
                f"k and v are {k.dtype} and {v.dtype}, the cache {self.keys.dtype}: make it with their dtype"
            )
        if torch.is_grad_enabled() and (k.requires_grad or v.requires_grad):
            raise RuntimeError("a gradient would flow into the cache, which is overwritten: use torch.no_grad()")
        T = k.shape[2]
        if not self.sliding and self.seen + T > self.max_len:
            raise ValueError(
                f"{self.seen} positions are stored and {T} more were given, but max_len is {self.max_len}: make the "
                f"cache longer, call reset(), or make it sliding"
            )
        at = self.positions(T)
        old, self.seen = self.seen, self.seen + T
        if self.seen <= self.max_len:
            self._write(at.narrow(0, old, T), k, v)
            return self.keys.narrow(2, 0, self.seen), self.values.narrow(2, 0, self.seen), at
        first, M = old - (len(at) - T), self.max_len  # the oldest position that the first of the chunk sees
        head = min(old - first, M - first % M)  # stored positions before the turn; the others are after it
        keys, values = (
            torch.cat([t.narrow(2, first % M, head), t.narrow(2, 0, old - first - head), chunk], dim=2)
            for t, chunk in ((self.keys, k), (self.values, v))
        )
        kept = min(T, M)
        self._write(at.narrow(0, len(at) - kept, kept) % M, *(t.narrow(2, T - kept, kept) for t in (k, v)))
        return keys, values, at

    def positions(self, T: int) -> Tensor:
        """Tell the absolute positions, (S,), of the keys that ``append`` returns for a chunk of T positions."""
        first = 0 if self.seen + T <= self.max_len else max(0, self.seen - self.max_len + 1)
        return torch.arange(first, self.seen + T, device=self.keys.device)

    def _write(self, slots: Tensor, k: Tensor, v: Tensor) -> None:
        self.keys.index_copy_(2, slots, k)
        self.values.index_copy_(2, slots, v)

    def reset(self) -> None:
        """Forget everything and keep the memory, for the next sequence."""
        self.seen = 0

    def reorder(self, index: Tensor) -> None:
        """Let row b continue what row ``index[b]`` had read, as beam search asks for; (B,) of whole numbers."""
        if index.shape != self.keys.shape[:1] or index.dtype not in (torch.int32, torch.int64):
            raise ValueError(
                f"index has shape {tuple(index.shape)} and dtype {index.dtype}, but must name one row for each of the "
                f"{self.keys.shape[0]} sequences, as whole numbers"
            )
        self.keys, self.values = self.keys.index_select(0, index), self.values.index_select(0, index)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Store k and v, (B, G, T, D), and let the T queries, (B, H, T, D), see what they may; returns (B, H, T, D)."""
        if q.ndim != 4 or q.shape[2] != k.shape[-2]:
            raise ValueError(
                f"q has shape {tuple(q.shape)} and k {tuple(k.shape)}, but need (B, H, T, D) and (B, G, T, D): the new "
                f"positions ask, and are stored"
            )
        queries = torch.arange(self.seen, self.seen + q.shape[2], device=q.device)
        keys, values, at = self.append(k, v)
        mask = None if len(queries) == 1 else positions_mask(queries, at, window=self.max_len if self.sliding else None)
        return scaled_dot_product_attention_fused(q, keys, values, mask=mask)


def cached_causal_attention(q: Tensor, k: Tensor, v: Tensor, *, chunk: int = 2) -> Tensor:
    """Compute causal attention a chunk at a time over a cache: the same value as all at once.

    Args:
        q, k, v: (B, H, T, D), (B, G, T, D), (B, G, T, D).
        chunk: positions in a step; 1 is decoding token by token.

    Raises:
        ValueError: if the chunk is below 1, or q, k and v do not fit.
    """
    if chunk < 1 or not q.ndim == k.ndim == v.ndim == 4 or not q.shape[2] == k.shape[2] == v.shape[2]:
        raise ValueError(
            f"chunk is {chunk} and q, k and v have shapes {tuple(q.shape)}, {tuple(k.shape)} and {tuple(v.shape)}, but "
            f"need a chunk of at least 1, (B, H, T, D) for q and (B, G, T, D) for k and v"
        )
    cache = KVCache(k.shape[0], k.shape[1], k.shape[2], k.shape[3], dtype=k.dtype, device=k.device)
    steps = zip(q.split(chunk, dim=2), k.split(chunk, dim=2), v.split(chunk, dim=2), strict=True)
    return torch.cat([cache.attend(*step) for step in steps], dim=2)
