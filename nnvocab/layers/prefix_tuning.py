"""Prefix tuning: learned keys and values that every attention layer of a frozen model finds before the text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.layers.lora import replace_module
from nnvocab.vocabulary import Example, entry

if TYPE_CHECKING:
    from nnvocab.attention import KVCache, MultiHeadAttention


def prefix_attention(
    q: Tensor, k: Tensor, v: Tensor, prefix_k: Tensor, prefix_v: Tensor, *, causal: bool = False
) -> Tensor:
    r"""Attend to learned keys and values and to those of the text, in one softmax.

    .. math::
        y_h = \operatorname{softmax}\!\left(\frac{q_h\,[P^k_h;\, k_h]^{\top}}{\sqrt{D}} + M\right) [P^v_h;\, v_h]

    where :math:`M` is 0, or :math:`-\infty` where the text looks ahead if ``causal``; the prefix is always seen.

    Args:
        q, k, v: queries, keys and values of the text.
        prefix_k, prefix_v: keys and values of the prefix, the same for every text.
        causal: let position t see the prefix and positions up to t only.

    Shapes:
        q, k, v: (B, H, T, D); prefix_k and prefix_v: (H, P, D). Returns (B, H, T, D).
    """
    B, _, T, D = q.shape
    k = torch.cat([prefix_k.expand(B, -1, -1, -1), k], dim=2)  # (B, H, P + T, D)
    v = torch.cat([prefix_v.expand(B, -1, -1, -1), v], dim=2)
    scores = q @ k.mT / D**0.5  # (B, H, T, P + T)
    if causal:
        future = torch.ones(T, T, dtype=torch.bool, device=q.device).triu(diagonal=1)
        future = F.pad(future, (prefix_k.shape[1], 0))  # P columns of False
        scores = scores.masked_fill(future, float("-inf"))
    return scores.softmax(dim=-1) @ v


def prefix_attention_fused(
    q: Tensor, k: Tensor, v: Tensor, prefix_k: Tensor, prefix_v: Tensor, *, causal: bool = False
) -> Tensor:
    """The same function by the fused kernel, with the mask extended by columns that are always seen."""
    B, _, T, _ = q.shape
    k, v = (torch.cat([p.expand(B, -1, -1, -1), t], dim=2) for p, t in ((prefix_k, k), (prefix_v, v)))
    seen = None
    if causal:
        seen = F.pad(torch.ones(T, T, dtype=torch.bool, device=q.device).tril(), (prefix_k.shape[1], 0), value=True)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen)


class PrefixEncoder(nn.Module):
    """Hold the prefix of every layer: as a table, or as a small table that a perceptron maps to it while training.

    Args:
        num_layers: attention layers L.
        num_kv_heads: key/value heads G of each.
        head_dim: width D of a head.
        prefix_length: keys and values P that a layer finds.
        hidden: width of the perceptron; a plain table if not given.

    Shapes:
        Returns (L, 2, G, P, D): keys and values of every layer.
    """

    def __init__(
        self, num_layers: int, num_kv_heads: int, head_dim: int, prefix_length: int, *, hidden: int | None = None
    ) -> None:
        super().__init__()
        if min(num_layers, num_kv_heads, head_dim, prefix_length) < 1 or (hidden is not None and hidden < 1):
            raise ValueError(
                f"num_layers {num_layers}, num_kv_heads {num_kv_heads}, head_dim {head_dim}, prefix_length "
                f"{prefix_length} and hidden {hidden} must be at least 1"
            )
        self.sizes, width = (num_layers, 2, num_kv_heads, head_dim), num_kv_heads * head_dim
        full = 2 * num_layers * width
        self.table = nn.Parameter(torch.randn(prefix_length, full if hidden is None else width))
        self.mlp = None
        if hidden is not None:
            self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, full))

    def fold(self) -> None:
        """Replace table and perceptron by the table that they make: the same prefix, and nothing else to keep."""
        if self.mlp is None:
            raise RuntimeError("this prefix is a plain table already: there is nothing to fold")
        with torch.no_grad():
            table = self.mlp(self.table)
        self.table, self.mlp = nn.Parameter(table), None

    def forward(self) -> Tensor:
        table = self.table if self.mlp is None else self.mlp(self.table)  # (P, L * 2 * G * D)
        return table.unflatten(1, self.sizes).permute(1, 2, 3, 0, 4)  # (L, 2, G, P, D)


class PrefixedAttention(nn.Module):
    """A frozen multi-head attention layer that finds a prefix before the keys and values of the text."""

    def __init__(self, base: MultiHeadAttention) -> None:
        super().__init__()
        self.base = base
        self.prefix: Tensor | None = None  # (2, G, P, D), set before each call

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        from nnvocab.attention.heads import attend, check_sequence, merge_heads

        base = self.base
        check_sequence(x, base.embed_dim)
        q, k, v = base.project(x, None, None)  # (B, H, T, D), (B, G, T, D), (B, G, T, D)
        keys, values = self.prefix.unsqueeze(1).expand(-1, len(x), -1, -1, -1)  # (B, G, P, D)
        y, _ = attend(
            q, k, v, causal=base.causal, mask=mask, key_padding_mask=key_padding_mask, cache=cache,
            positions=base.positions, first=(keys, values), dropout=base.dropout if self.training else 0.0,
        )  # fmt: skip
        return base.out(merge_heads(y))


def _example() -> Example:
    from nnvocab.attention import MultiHeadAttention

    return Example(PrefixTuning(MultiHeadAttention(8, 2, causal=True), 3, hidden=4), (torch.randn(2, 5, 8),))


@entry(
    name="Prefix tuning",
    aliases=("virtual key/value prefix",),
    ids=("prefix_tuning",),
    page="virtual_tokens",
    kind="block",
    paper="li2021prefix",
    peer="peft",
    example=_example,
    related=("Prompt tuning", "Low-rank adaptation", "KV cache"),
)
class PrefixTuning(nn.Module):
    r"""A frozen model in whose every attention layer the text can look at a few learned keys and values.

    .. math::
        y^{\ell} = \operatorname{softmax}\!\left(\frac{q^{\ell}\,[P^{k,\ell};\, k^{\ell}]^{\top}}{\sqrt{D}}\right)
        [P^{v,\ell};\, v^{\ell}], \qquad [P^{k,\ell}; P^{v,\ell}]_{\ell} = \mathrm{MLP}(E)

    where :math:`P^{k,\ell}, P^{v,\ell}` are keys and values learned for layer :math:`\ell`, and :math:`E` is the table
    that a perceptron maps to them while training.

    Args:
        model: a model whose attention layers are ``MultiHeadAttention`` of one size; changed in place and frozen.
        prefix_length: keys and values P that each layer finds.
        hidden: width of the perceptron; the prefix itself is learned if not given.

    Shapes:
        As the model's: the inputs, masks and a cache by their names too, are handed on as they are.

    Notice:
        The prefix is no text: it has no position, takes no place in the sequence, and is the same in every layer
        whatever the text says. ``fold`` puts the perceptron away after training. Masks are extended by columns that
        are always seen, with nothing added to their scores. Call this module, not ``model`` inside it: each call hands
        the newest prefix to the layers.

    Raises:
        ValueError: if the model has no such layer, they differ in size, or a length is below 1.

    Source: Li and Liang 2021, sections 4.2 and 4.3.

    >>> from nnvocab.attention import MultiHeadAttention
    >>> tuned = PrefixTuning(MultiHeadAttention(8, 2), prefix_length=3)
    >>> tuned(torch.zeros(1, 5, 8)).shape, tuned.trainable_parameters()
    (torch.Size([1, 5, 8]), 48)
    """

    def __init__(self, model: nn.Module, prefix_length: int = 10, *, hidden: int | None = None) -> None:
        super().__init__()
        from nnvocab.attention import MultiHeadAttention

        model.requires_grad_(False)
        found = {n: m for n, m in model.named_modules() if isinstance(m, MultiHeadAttention)}
        if not found:
            raise ValueError(
                f"{type(model).__name__} has no MultiHeadAttention layer, before whose keys a prefix stands"
            )
        sizes = {(m.num_kv_heads, m.head_dim) for m in found.values()}
        if len(sizes) > 1:
            raise ValueError(f"the attention layers have heads and widths {sorted(sizes)}, but need one size")
        places = {name: PrefixedAttention(layer) for name, layer in found.items()}
        for name, place in places.items():
            if name:
                replace_module(model, name, place)
        self.model, self.adapted = (places[""] if "" in places else model), tuple(places)
        like = next(model.parameters())
        self.encoder = PrefixEncoder(len(found), *sizes.pop(), prefix_length, hidden=hidden).to(like.device, like.dtype)

    def trainable_parameters(self) -> int:
        """Count the numbers that are trained."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def fold(self) -> None:
        """Put the perceptron away: the prefix that it makes is kept."""
        self.encoder.fold()

    def forward(self, *inputs: Any, **named: Any) -> Any:
        places = [m for m in self.model.modules() if isinstance(m, PrefixedAttention)]
        for place, prefix in zip(places, self.encoder(), strict=True):
            place.prefix = prefix
        return self.model(*inputs, **named)
