"""Linear attention: sum keys and values once, and every query reads the sum."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.attention.feature_maps import features_of, make_feature_map
from nnvocab.attention.qkv import HeadProjections, check_one_sequence, check_token
from nnvocab.attention.scaled_dot_product import check_attention
from nnvocab.vocabulary import Example, entry

LinearState = tuple[Tensor, Tensor | None]
CHUNK = 64  # positions whose weights are written out; before them stands their sum


def check_features(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> None:
    """Raise an error unless the shapes fit; looking back, queries and keys are those of one sequence."""
    (check_one_sequence if causal else check_attention)(q, k, v)


def linear_attention(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False, eps: float = 1e-6) -> Tensor:
    r"""Weigh by products of features, all weights written out: the quadratic form.

    .. math::
        y_i = \frac{\sum_j \varphi(q_i)^{\top} \varphi(k_j)\, v_j}{\sum_j \varphi(q_i)^{\top} \varphi(k_j) + \epsilon}

    where the sums run over all j, or over j <= i if ``causal``.

    Args:
        q: features of the queries.
        k: features of the keys.
        v: values.
        causal: look back only.
        eps: keeps the denominator from zero.

    Shapes:
        q, k: (B, H, T, F); v: (B, H, T, E). Returns (B, H, T, E).
    """
    check_features(q, k, v, causal)
    weights = q @ k.transpose(-2, -1)  # (B, H, T, T)
    weights = weights.tril() if causal else weights
    return weights @ v / (weights.sum(dim=-1, keepdim=True) + eps)


def linear_attention_summed(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False, eps: float = 1e-6) -> Tensor:
    """The same function in linear time: values and denominators are summed before the queries read them.

    Causal, positions go in chunks: within a chunk the weights are written out, and all before it is one sum.
    """
    check_features(q, k, v, causal)
    E = v.shape[-1]
    v = F.pad(v, (0, 1), value=1.0)  # a value that is always 1: its sum is the denominator
    if causal:
        y = prefix_sums(q, k, v)
    else:
        y = q @ (k.transpose(-2, -1) @ v)  # (B, H, T, F) @ (B, H, F, E + 1)
    total, count = y.split([E, 1], dim=-1)
    return total / (count + eps)


def prefix_sums(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Sum over j <= i of (q_i . k_j) v_j, in chunks: (B, H, T, F), (B, H, T, F), (B, H, T, E) -> (B, H, T, E)."""
    T = q.shape[2]
    size = min(CHUNK, T)
    q, k, v = (F.pad(t, (0, 0, 0, -T % size)).unflatten(2, (-1, size)) for t in (q, k, v))  # (B, H, n, c, F)
    within = (q @ k.transpose(-2, -1)).tril() @ v  # (B, H, n, c, E)
    sums = (k.transpose(-2, -1) @ v).cumsum(dim=2)  # (B, H, n, F, E): all up to the end of each chunk
    before = F.pad(sums.narrow(2, 0, sums.shape[2] - 1), (0, 0, 0, 0, 1, 0))  # up to its beginning
    return (within + q @ before).flatten(2, 3).narrow(2, 0, T)


def linear_attention_step(
    q: Tensor, k: Tensor, v: Tensor, state: Tensor | None = None, *, eps: float = 1e-6
) -> tuple[Tensor, Tensor]:
    """One position of the causal form: add its key and value to the state, and let its query read.

    Shapes:
        q, k: (B, H, F); v: (B, H, E); state: (B, H, F, E + 1), whose size does not depend on how much was read.
        Returns (B, H, E) and the new state.
    """
    added = k.unsqueeze(-1) * F.pad(v, (0, 1), value=1.0).unsqueeze(-2)  # (B, H, F, E + 1)
    state = added if state is None else state + added
    y = (q.unsqueeze(-2) @ state).squeeze(-2)  # (B, H, E + 1)
    total, count = y.split([v.shape[-1], 1], dim=-1)
    return total / (count + eps), state


@entry(
    name="Linear attention",
    aliases=("kernelized attention", "Performer (FAVOR+)"),
    page="linear_time",
    ids=("linear_attention",),
    paper="katharopoulos2020transformers",
    peer="the quadratic form, written out",
    example=lambda: Example(LinearAttention(8, 2, causal=True), (torch.randn(2, 5, 8),)),
    related=("Retentive network", "RWKV", "Self-attention"),
)
class LinearAttention(nn.Module):
    r"""Self-attention layer whose weights are products of features, so that sums can be taken before queries come.

    .. math::
        y_i = \frac{\varphi(q_i)^{\top} \sum_j \varphi(k_j)\, v_j^{\top}}{\varphi(q_i)^{\top} \sum_j \varphi(k_j) + \epsilon}

    where :math:`\varphi` maps queries and keys to features, and the sums run over all j, or over j <= i if ``causal``.

    Args:
        embed_dim: width C of the input and of the output.
        num_heads: heads H; H must divide C.
        kernel_function: "elu+1", "relu", "learned", or "favor" (random features that approximate the softmax).
        num_features: features F of "learned" and "favor"; 2 D if not given.
        causal: look back only.
        eps: keeps the denominator from zero where features may be 0; those of "favor" are not, and go without.
        bias: add a bias in the projections.

    Shapes:
        x: (B, T, C). Returns (B, T, C). ``step`` takes (B, C) and a state, and returns (B, C) and the new state: the
        sums (B, H, F, D + 1), and for "favor" the largest exponents so far, (B, H, 1, F), else None.

    Notice:
        Time is O(T F E) and the state of a text of any length is F by E numbers a head. That state is also the limit:
        it cannot hold more than it has room for. Only "favor" approximates softmax attention; the others are
        attention with another kernel. Its sums are kept with their largest exponents apart, so that long queries and
        keys do no harm.

    Raises:
        ValueError: if H does not divide C, the kernel has no such name, the input has the wrong shape, or ``step`` is
            asked of a layer that is not causal.

    Source: Katharopoulos et al. 2020, sections 3.2 to 3.4; FAVOR+: Choromanski et al. 2021.

    >>> layer = LinearAttention(64, num_heads=8, causal=True)
    >>> x, state = torch.randn(1, 3, 64), None
    >>> for t in range(3):
    ...     y, state = layer.step(x[:, t], state)
    >>> torch.allclose(y, layer(x)[:, -1], atol=1e-5)
    True
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        kernel_function: str = "elu+1",
        num_features: int | None = None,
        causal: bool = False,
        eps: float = 1e-6,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.heads = HeadProjections(embed_dim, num_heads, bias=bias)
        self.features = make_feature_map(kernel_function, self.heads.head_dim, num_features)
        self.causal = causal
        self.eps = torch.finfo(torch.float32).tiny if kernel_function == "favor" else eps

    def step(self, x: Tensor, state: LinearState | None = None) -> tuple[Tensor, LinearState]:
        """Read one more token, (B, C), given the state after those before it."""
        if not self.causal:
            raise ValueError("step reads token by token, but this layer looks at all of them: make it with causal=True")
        check_token(x, self.heads.embed_dim)
        sums, top = (None, None) if state is None else state
        q, k, v = self.heads(x.unsqueeze(1))  # (B, H, 1, D)
        q, k, higher = features_of(self.features, q, k, top)
        if top is not None:
            sums = sums * torch.exp(top - higher).transpose(2, 3)  # (B, H, F, D + 1): in units of the new largest
        y, sums = linear_attention_step(*(t.squeeze(2) for t in (q, k, v.to(q.dtype))), sums, eps=self.eps)
        return self.heads.back(y.unsqueeze(2).to(x.dtype)).squeeze(1), (sums, higher)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(x)  # (B, H, T, D)
        q, k, _ = features_of(self.features, q, k)  # (B, H, T, F)
        y = linear_attention_summed(q, k, v.to(q.dtype), causal=self.causal, eps=self.eps)
        return self.heads.back(y.to(x.dtype))
