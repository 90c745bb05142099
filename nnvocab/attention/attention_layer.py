"""Configurable attention layer: standard, grouped or decoupled, chosen by settings that are read strictly."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nnvocab.attention.decoupled import DecoupledAttention
from nnvocab.attention.decoupled_paths import DecoupledPaths
from nnvocab.attention.heads import check_heads
from nnvocab.attention.kv_cache import KVCache
from nnvocab.attention.multi_head import MultiHeadAttention
from nnvocab.attention.path_gate import PathGate
from nnvocab.attention.rotary import RotaryEmbedding
from nnvocab.vocabulary import Example, entry

NEEDED = object()
WHOLE = {
    "d_model",
    "n_heads",
    "n_kv_heads",
    "sem_dim",
    "geo_dim",
    "v_dim",
    "lora_rank",
}  # settings that count something
_ALL: dict[str, Any] = {"d_model": NEEDED, "n_heads": NEEDED, "rope_enabled": True, "rope_base": 10000.0}
_ALL |= {"is_causal": True, "dropout_p": 0.0, "lora_rank": None, "lora_alpha": 16.0, "lora_targets": ("q", "v")}
SETTINGS: dict[str, dict[str, Any]] = {
    "standard": _ALL,
    "gqa": {**_ALL, "n_kv_heads": NEEDED},
    "decoupled": {
        **_ALL,
        **{"sem_dim": NEEDED, "geo_dim": NEEDED, "v_dim": None, "n_kv_heads": None},
        **{"decoupled_gate": False, "null_token": False},
    },
}


def read_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Check settings against those of their mode and fill in what is left out.

    Raises:
        ValueError: if the mode is unknown, a key is unknown in this mode, or one that is needed is missing.
        TypeError: if a width or a number of heads is no whole number.

    >>> read_settings({"mode": "standard", "d_model": 64, "n_heads": 4})["rope_base"]
    10000.0
    """
    given = dict(settings)
    mode = given.pop("mode", "standard")
    if mode not in SETTINGS:
        raise ValueError(f"mode is {mode!r}, but must be one of {', '.join(SETTINGS)}")
    known = SETTINGS[mode]
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            elsewhere = [m for m, keys in SETTINGS.items() if key in keys]
            hint = f"it belongs to mode {' and '.join(elsewhere)}" if elsewhere else f"known are {', '.join(known)}"
            raise ValueError(
                f"mode {mode!r} has no setting {key!r}, which would be lost silently; "
                + (f"did you mean {near[0]!r}?" if near and not elsewhere else hint)
            )
    missing = [k for k, v in known.items() if v is NEEDED and given.get(k) is None]
    if missing:
        raise ValueError(
            f"mode {mode!r} needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} missing"
        )
    for key in WHOLE & given.keys():
        if given[key] is not None and (not isinstance(given[key], int) or isinstance(given[key], bool)):
            raise TypeError(f"{key} is {given[key]!r}, but must be a whole number, written without quotes")
    return {"mode": mode, **known, **given}


@entry(
    name="Configurable attention layer",
    aliases=(
        "AttentionLayer",
        "Attention layer with three modes",
        "Standard attention mode",
        "mode standard",
        "n_kv_heads",
    ),
    ids=("caramba_attention", "caramba_standard_attention", "caramba_gqa"),
    page="decoupled",
    paper="vaswani2017attention",
    peer="torch.nn.functional.scaled_dot_product_attention",
    example=lambda: Example(AttentionLayer.from_settings({"d_model": 16, "n_heads": 2}), (torch.randn(2, 5, 16),)),
    related=("Multi-head attention", "Grouped-query attention", "Decoupled bottleneck attention"),
)
class AttentionLayer(nn.Module):
    r"""One self-attention layer in any of three modes, with rotation, cache and low-rank adapters if asked.

    .. math::
        y = \mathrm{attention}_{\mathrm{mode}}(x), \qquad
        \mathrm{mode} \in \{\mathrm{standard}, \mathrm{gqa}, \mathrm{decoupled}\}

    where each mode is a class of this chapter: multi-head attention, the same with shared key/value heads, or
    decoupled bottleneck attention.

    Args:
        attention: the layer that does the work; ``from_settings`` makes it.
        max_len: positions that a cache of its own making holds.

    Shapes:
        x: (B, T, C). Returns (B, T, C), with ``need_cache`` also the cache. key_padding_mask: (B, S), True marks
        padding.

    Notice:
        ``from_settings`` reads a mapping, as from a YAML file: d_model, n_heads, mode, n_kv_heads, rope_enabled,
        rope_base, is_causal, dropout_p, sem_dim, geo_dim, v_dim, decoupled_gate (False, True, or "input"),
        null_token, lora_rank, lora_alpha, lora_targets. A key that the mode does not use is an error, since a setting
        that is ignored looks like one that works. On a GPU torch's fused kernels (FlashAttention among them) are used.

    Raises:
        ValueError: if a setting is unknown, missing, or does not fit the mode.

    Source: Vaswani et al. 2017, section 3.2; Ainslie et al. 2023, section 2.2.

    >>> layer = AttentionLayer.from_settings({"d_model": 64, "n_heads": 8, "mode": "gqa", "n_kv_heads": 2})
    >>> y, cache = layer(torch.zeros(1, 10, 64), need_cache=True)
    >>> y.shape, cache.seen
    (torch.Size([1, 10, 64]), 10)
    """

    def __init__(self, attention: MultiHeadAttention | DecoupledAttention, *, max_len: int = 2048) -> None:
        super().__init__()
        self.attention, self.max_len = attention, max_len

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], *, max_len: int = 2048) -> AttentionLayer:
        """Make the layer that the settings describe; see the class for the keys."""
        s = read_settings(settings)
        made = _decoupled(s) if s["mode"] == "decoupled" else _multi_head(s)
        layer = cls(made, max_len=max_len)
        if s["lora_rank"] is not None:
            from nnvocab.layers import lora_attention  # a chapter of its own, loaded when it is used

            lora_attention(layer, tuple(s["lora_targets"]), r=s["lora_rank"], lora_alpha=s["lora_alpha"])
        return layer

    def new_cache(self, batch_size: int, max_len: int | None = None, *, sliding: bool = False) -> KVCache:
        """Make an empty cache that fits this layer."""
        return self.attention.new_cache(batch_size, self.max_len if max_len is None else max_len, sliding=sliding)

    def forward(
        self,
        x: Tensor,
        *,
        key_padding_mask: Tensor | None = None,
        cache: KVCache | None = None,
        need_cache: bool = False,
    ) -> Tensor | tuple[Tensor, KVCache]:
        if not need_cache:
            return self.attention(x, key_padding_mask=key_padding_mask, cache=cache)
        cache = self.new_cache(len(x)) if cache is None else cache
        with torch.no_grad():  # a cache is for writing text; nothing is learned there
            return self.attention(x, key_padding_mask=key_padding_mask, cache=cache), cache


def _multi_head(s: dict[str, Any]) -> MultiHeadAttention:
    C, H = s["d_model"], s["n_heads"]
    rope = RotaryEmbedding(check_heads(C, H), base=s["rope_base"]) if s["rope_enabled"] else None
    return MultiHeadAttention(
        C,
        H,
        num_kv_heads=s.get("n_kv_heads"),
        positions=rope,
        dropout=s["dropout_p"],
        bias=False,
        causal=s["is_causal"],
    )


def _decoupled(s: dict[str, Any]) -> DecoupledAttention:
    if not s["rope_enabled"]:
        raise ValueError("rope_enabled is False, but the geometric path of mode 'decoupled' is the one that turns")
    C, H = s["d_model"], s["n_heads"]
    if s["decoupled_gate"] not in (False, True, "input"):
        raise ValueError(f"decoupled_gate is {s['decoupled_gate']!r}, but must be False, True or 'input'")
    gate = PathGate(H, C if s["decoupled_gate"] == "input" else None) if s["decoupled_gate"] else None
    rope = RotaryEmbedding(s["geo_dim"] // max(1, H), base=s["rope_base"])
    paths = DecoupledPaths(C, H, s["sem_dim"], s["geo_dim"], num_kv_heads=s["n_kv_heads"], rope=rope, gate=gate)
    return DecoupledAttention(
        paths, v_dim=s["v_dim"], null_token=s["null_token"], causal=s["is_causal"], dropout=s["dropout_p"]
    )
