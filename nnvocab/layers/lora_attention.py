"""LoRA on attention projections: choose queries, keys, values or output by one letter, fused weights included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.layers.linear import Linear
from nnvocab.layers.lora import LoRAModel
from nnvocab.layers.lora_linear import LINEAR, LoRALinear, check_lora, narrow_pair
from nnvocab.vocabulary import Example, entry

PROJECTIONS = {
    "q": ("q", "q_proj", "to_q", "query", "q_sem", "q_geo"),
    "k": ("k", "k_proj", "to_k", "key", "k_sem", "k_geo"),
    "v": ("v", "v_proj", "to_v", "value"),
    "o": ("o", "o_proj", "to_out", "out", "out_proj"),
}
FUSED = ("qkv", "to_qkv", "qkv_proj")


class LoRAProjections(nn.Module):
    r"""A frozen linear layer that makes queries, keys and values at once, adapted in the parts that are named.

    .. math::
        y = W x + b + \frac{\alpha}{r}\,[B_p A_p x]_{p}

    where part :math:`p` has its own :math:`A_p, B_p`, and a part that is not a target gets 0.

    Args:
        base: the fused layer.
        parts: width of each part's output by its letter, in the order in which they are stored.
        targets: letters of the parts that learn.
        r, lora_alpha, lora_dropout: as in ``LoRALinear``.

    Shapes:
        x: (..., I). Returns (..., O), O being the sum of the parts.

    Raises:
        ValueError: if the parts are not as wide as the layer, or a target is none of them.
    """

    def __init__(
        self,
        base: nn.Linear | Linear,
        parts: Mapping[str, int],
        targets: Sequence[str],
        *,
        r: int = 8,
        lora_alpha: float = 16.0,
        lora_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if sum(parts.values()) != base.out_features:
            raise ValueError(f"the parts {dict(parts)} have width {sum(parts.values())}, the layer {base.out_features}")
        if not targets or any(t not in parts for t in targets):
            raise ValueError(f"targets is {targets!r}, but must be a list of parts out of {', '.join(parts)}")
        self.scaling = check_lora(r, lora_alpha, lora_dropout, min(base.in_features, *(parts[t] for t in targets)))
        self.parts, self.targets, self.merged = dict(parts), tuple(targets), False
        self.base, self.dropout = base.requires_grad_(False), nn.Dropout(lora_dropout)
        self.lora_A, self.lora_B = nn.ParameterDict(), nn.ParameterDict()
        for part in targets:
            self.lora_A[part], self.lora_B[part] = narrow_pair(base, r, parts[part])

    def change(self) -> Tensor:
        """Return what is added to the weight, (O, I): 0 in the rows of the parts that do not learn."""
        like = self.base.weight
        rows = [
            self.scaling * self.lora_B[p] @ self.lora_A[p] if p in self.targets else like.new_zeros(n, like.shape[1])
            for p, n in self.parts.items()
        ]
        return torch.cat(rows)

    @torch.no_grad()
    def merge(self) -> None:
        """Add the change to the weight."""
        if self.merged:
            raise RuntimeError("this layer is merged already; merging again would add the change twice")
        self.base.weight.add_(self.change())
        self.merged = True

    @torch.no_grad()
    def unmerge(self) -> None:
        """Take the change out of the weight again."""
        if not self.merged:
            raise RuntimeError("this layer is not merged: there is nothing to take out")
        self.base.weight.sub_(self.change())
        self.merged = False

    def forward(self, x: Tensor) -> Tensor:
        y = self.base(x)
        if self.merged:
            return y
        seen = self.dropout(x)
        changes = [
            self.scaling * F.linear(F.linear(seen, self.lora_A[p]), self.lora_B[p])
            if p in self.targets
            else y.new_zeros(*y.shape[:-1], n)
            for p, n in self.parts.items()
        ]
        return y + torch.cat(changes, dim=-1)


def _parts(model: nn.Module, name: str, fused: nn.Linear | Linear) -> dict[str, int]:
    """Say how wide queries, keys and values are in a fused layer: keys and values may have fewer heads."""
    owner = model.get_submodule(name.rpartition(".")[0])
    if hasattr(owner, "num_kv_heads") and hasattr(owner, "head_dim"):
        kv = owner.num_kv_heads * owner.head_dim
    elif fused.out_features % 3:
        raise ValueError(
            f"{name!r} makes {fused.out_features} numbers, which are not three equal parts; use LoRAProjections with "
            f"the widths of its parts"
        )
    else:
        kv = fused.out_features // 3
    return {"q": fused.out_features - 2 * kv, "k": kv, "v": kv}


def _example() -> Example:
    from nnvocab.attention import GroupedQueryAttention

    return Example(lora_attention(GroupedQueryAttention(16, 4, 2), ("q", "v"), r=2), (torch.randn(2, 5, 16),))


@entry(
    name="LoRA on attention projections",
    aliases=("lora_targets", "lora_rank", "lora_alpha"),
    ids=("caramba_lora_attention",),
    page="small_changes",
    kind="function",
    paper="hu2022lora",
    peer="peft",
    example=_example,
    related=("Low-rank adaptation", "LoRA linear layer", "Configurable attention layer"),
)
def lora_attention(
    model: nn.Module,
    targets: Sequence[str] = ("q", "v"),
    *,
    r: int = 8,
    lora_alpha: float = 16.0,
    lora_dropout: float = 0.0,
) -> LoRAModel:
    r"""Freeze a model and adapt the chosen projections of every attention layer in it.

    .. math::
        W_p' = W_p + \frac{\alpha}{r} B_p A_p \qquad \text{for } p \in \mathrm{targets} \subseteq \{q, k, v, o\}

    where :math:`W_q, W_k, W_v, W_o` are the projections of an attention layer.

    Args:
        model: any model whose attention layers hold their projections as linear layers; it is changed in place.
        targets: letters of the projections: q, k, v, o.
        r: rank of each change.
        lora_alpha: the number :math:`\alpha`; a change is scaled by :math:`\alpha / r`.
        lora_dropout: probability with which a number of the input is hidden from A while training.

    Shapes:
        Returns a ``LoRAModel``, whose inputs and outputs are the model's.

    Notice:
        A layer that makes queries, keys and values by one weight is adapted in the rows of the chosen ones alone.
        ``nn.MultiheadAttention`` keeps its weights as bare parameters, which no layer can stand in for: convert it
        with ``GroupedQueryAttention.from_multi_head``.

    Raises:
        ValueError: if a letter is unknown, or a chosen projection is not found in the model.

    Source: Hu et al. 2022, section 4.2; which projections to choose: section 7.1, table 5.

    >>> from nnvocab.attention import GroupedQueryAttention
    >>> list(lora_attention(GroupedQueryAttention(32, 4, 2), ["q", "v"]).adapter_state_dict())
    ['q.lora_A', 'q.lora_B', 'v.lora_A', 'v.lora_B']
    """
    unknown = [t for t in targets if t not in PROJECTIONS]
    if unknown or not targets or isinstance(targets, str):
        raise ValueError(f"targets is {targets!r}, but must be a list of letters out of {', '.join(PROJECTIONS)}")
    found: set[str] = set()
    layers: dict[str, nn.Module] = {}
    for name, module in list(model.named_modules()):
        last = name.rpartition(".")[2]
        if not isinstance(module, LINEAR):
            continue
        if last in FUSED:
            chosen = [t for t in targets if t != "o"]
            found |= set(chosen)
            if chosen:
                parts = _parts(model, name, module)
                layers[name] = LoRAProjections(
                    module, parts, chosen, r=r, lora_alpha=lora_alpha, lora_dropout=lora_dropout
                )
            continue
        letter = next((t for t in targets if last in PROJECTIONS[t]), None)
        if letter is not None:
            found.add(letter)
            layers[name] = LoRALinear.from_linear(module, r, lora_alpha=lora_alpha, lora_dropout=lora_dropout)
    missing = [t for t in targets if t not in found]
    if missing:
        bare = any(isinstance(m, nn.MultiheadAttention) for m in model.modules())
        raise ValueError(
            f"no linear layer for {', '.join(missing)} was found; it would be called e.g. "
            f"{' or '.join(PROJECTIONS[missing[0]][:2])}"
            + (
                "; nn.MultiheadAttention has to be converted first: GroupedQueryAttention.from_multi_head"
                if bare
                else ""
            )
        )
    return LoRAModel.with_layers(model, layers)
