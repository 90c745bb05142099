"""Scaled dot-product attention: score every key, make the scores add up to one, mix the values."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nnvocab.attention.masks import causal_mask, join_masks
from nnvocab.vocabulary import Example, entry


def attention_weights(
    q: Tensor, k: Tensor, *, mask: Tensor | None = None, causal: bool = False, scale: float | None = None
) -> Tensor:
    r"""Say how much each query looks at each key: :math:`\operatorname{softmax}(q k^\top/\sqrt{D} + M)`.

    Args:
        q: queries.
        k: keys.
        mask: boolean (True: may look) or added to the scores; broadcasts to (..., T, S).
        causal: let the last T of S positions see no key after their own.
        scale: what the scores are multiplied with; 1 / sqrt(D) if not given.

    Shapes:
        q: (..., T, D); k: (..., S, D). Returns (..., T, S). A row sums to 1, or is 0 where the mask leaves no key.

    Raises:
        ValueError: if ranks or widths do not fit together, there is no position, or the mask does not broadcast.
        TypeError: if the mask is neither boolean nor floating-point.
    """
    check_attention(q, k, k, mask)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = q @ k.transpose(-2, -1) * scale  # (..., T, S)
    if causal:
        mask = join_masks(mask, causal_mask(q.shape[-2], k.shape[-2], device=q.device))
    if mask is None:
        return scores.softmax(dim=-1)
    scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask.to(scores.dtype)
    blind = (scores == float("-inf")).all(dim=-1, keepdim=True)  # rows that may look at nothing: weight 0, no NaN
    return scores.masked_fill(blind, 0.0).softmax(dim=-1).masked_fill(blind, 0.0)


@entry(
    name="Scaled dot-product attention",
    aliases=("attention formula", "SDPA", "Scaled dot-product attention formula"),
    page="looking",
    kind="function",
    ids=("loom_scaled_dot_product",),
    paper="vaswani2017attention",
    peer="torch.nn.functional.scaled_dot_product_attention",
    example=lambda: Example(scaled_dot_product_attention, tuple(torch.randn(3, 2, 3, 5, 4).unbind())),
    related=("Queries, keys and values", "Self-attention", "Multi-head attention"),
)
def scaled_dot_product_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    r"""Mix the values by how well each query agrees with each key.

    .. math::
        y = \operatorname{softmax}\left(\frac{q k^{\top}}{\sqrt{D}} + M\right) v

    where :math:`q` are T queries, :math:`k` and :math:`v` are S keys and values, :math:`D` is the width of a query,
    and :math:`M` is 0 where a query may look at a key and :math:`-\infty` where it may not.

    Args:
        q: queries.
        k: keys.
        v: values.
        mask: boolean (True: may look) or added to the scores; broadcasts to (..., T, S).
        causal: let the last T of S positions see no key after their own.
        scale: what the scores are multiplied with; 1 / sqrt(D) if not given.
        dropout: probability with which a weight is set to 0 (and the others grow); always applied, so pass 0 when
            the model is not training.

    Shapes:
        q: (..., T, D); k: (..., S, D); v: (..., S, E). Returns (..., T, E).

    Notice:
        The dot product of two vectors of D independent numbers with variance 1 has variance D. Divided by sqrt(D) it
        has variance 1, and the softmax stays where its gradient is not almost 0. A query whose keys are all masked
        gets weights 0 and output 0, where a bare softmax would give NaN.

    Raises:
        ValueError: if ranks or widths do not fit together, there is no position, or the mask does not broadcast.
        TypeError: if the mask is neither boolean nor floating-point.

    Source: Vaswani et al. 2017, section 3.2.1.

    >>> q = k = v = torch.eye(3)
    >>> scaled_dot_product_attention(q, k, v, causal=True)[0]
    tensor([1., 0., 0.])
    """
    check_attention(q, k, v, mask)
    weights = attention_weights(q, k, mask=mask, causal=causal, scale=scale)  # (..., T, S)
    return F.dropout(weights, dropout) @ v if dropout else weights @ v


def scaled_dot_product_attention_fused(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Compute the same with torch's fused kernel, which need not store the (T, S) weights.

    Args and shapes are those of :func:`scaled_dot_product_attention`. In addition k and v may have fewer heads
    (third axis from the end) than q, as in grouped-query attention.
    """
    check_attention(q, k, v, mask, shared=True)
    gqa = q.ndim > 3 and q.shape[-3] != k.shape[-3]
    whole = causal and mask is None and q.shape[-2] == k.shape[-2]  # the kernel aligns its own mask at the first key
    if causal and not whole:
        mask = join_masks(mask, causal_mask(q.shape[-2], k.shape[-2], device=q.device))
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(q.dtype)
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=whole, scale=scale, enable_gqa=gqa
    )


def check_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, *, shared: bool = False) -> None:
    """Raise an error that says how to mend it if q, k, v and the mask do not fit together.

    With ``shared``, k and v may have fewer heads (third axis from the end) than q, if their number divides that of q.
    """
    for name, t in (("q", q), ("k", k), ("v", v)):
        if t.ndim < 2:
            raise ValueError(f"{name} has shape {tuple(t.shape)}, but needs at least (positions, width)")
        if t.shape[-2] == 0:
            raise ValueError(f"{name} has shape {tuple(t.shape)}: there is no position; attention needs at least one")
    if not q.ndim == k.ndim == v.ndim:
        raise ValueError(
            f"q, k and v have {q.ndim}, {k.ndim} and {v.ndim} axes, but need equally many; use unsqueeze for a missing "
            f"batch or head axis"
        )
    if q.shape[-1] != k.shape[-1]:
        raise ValueError(
            f"q has width {q.shape[-1]} and k has width {k.shape[-1]}, but a dot product needs equal widths: project "
            f"both to the same"
        )
    if k.shape[-2] != v.shape[-2]:
        raise ValueError(f"there are {k.shape[-2]} keys but {v.shape[-2]} values; every key needs its value")
    if not q.shape[:-2] == k.shape[:-2] == v.shape[:-2]:
        _check_leading(q, k, v, shared)
    if mask is not None:
        check_mask(mask, (*(max(n) for n in zip(q.shape[:-2], k.shape[:-2], strict=True)), q.shape[-2], k.shape[-2]))


def check_mask(mask: Tensor, scores: tuple[int, ...]) -> None:
    """Raise an error that says how to mend it unless the mask broadcasts to scores of this shape."""
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise TypeError(
            f"the mask has dtype {mask.dtype}, but must be torch.bool (True: may look) or floating-point (added to the "
            f"scores)"
        )
    if mask.ndim > len(scores) or any(m not in (1, s) for m, s in zip(mask.shape[::-1], scores[::-1], strict=False)):
        raise ValueError(
            f"the mask has shape {tuple(mask.shape)}, which does not broadcast to the scores' {scores}; its last two "
            f"axes are (queries, keys)"
        )


def _check_leading(q: Tensor, k: Tensor, v: Tensor, shared: bool) -> None:
    """Raise an error if the axes before positions and width, batch and heads, do not broadcast."""
    axes = list(zip(q.shape[:-2], k.shape[:-2], v.shape[:-2], strict=True))
    if shared and axes and q.ndim > 3:
        H, G, E = axes.pop()
        axes.append((H, H, H) if G == E and G > 0 and H % G == 0 else (H, G, E))
    if any(len({n for n in axis if n != 1}) > 1 for axis in axes):
        raise ValueError(
            f"q, k and v have shapes {tuple(q.shape)}, {tuple(k.shape)} and {tuple(v.shape)}: what comes before "
            f"(positions, width), such as batch and heads, must be equal or 1; repeat the keys and values of shared heads"
        )
