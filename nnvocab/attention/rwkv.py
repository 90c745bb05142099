"""RWKV, version 4: attention without queries, which a recurrence of constant size computes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.attention.heads import check_sequence
from nnvocab.attention.qkv import check_at_least
from nnvocab.vocabulary import Example, entry

WKVState = tuple[Tensor, Tensor, Tensor]


def check_wkv(k: Tensor, v: Tensor, decay: Tensor, bonus: Tensor) -> None:
    """Raise an error unless k and v are (B, T, C), at least one token long, and decay and bonus (C,)."""
    if k.ndim != 3 or k.shape != v.shape or k.shape[1] == 0 or not decay.shape == bonus.shape == k.shape[2:]:
        raise ValueError(
            f"k, v, decay and bonus have shapes {tuple(k.shape)}, {tuple(v.shape)}, {tuple(decay.shape)} and "
            f"{tuple(bonus.shape)}, but need (batch, positions, C) twice and (C,) twice, with at least one position"
        )


def wkv(k: Tensor, v: Tensor, decay: Tensor, bonus: Tensor) -> Tensor:
    r"""Take, in each channel, a weighted mean of the values so far: all weights written out.

    .. math::
        y_t = \frac{\sum_{s < t} e^{-(t - 1 - s)\, w + k_s}\, v_s + e^{u + k_t}\, v_t}
        {\sum_{s < t} e^{-(t - 1 - s)\, w + k_s} + e^{u + k_t}}

    Args:
        k, v: keys and values.
        decay: w of each channel, positive: what the exponent loses a step.
        bonus: u of each channel, which the newest token gets in place of a decay.

    Shapes:
        k, v: (B, T, C); decay, bonus: (C,). Returns (B, T, C).

    Notice:
        It is a softmax over time, channel by channel, with no query: how much a token weighs does not depend on who asks.
    """
    check_wkv(k, v, decay, bonus)
    at = torch.arange(k.shape[1], device=k.device)
    back = (at.unsqueeze(1) - at).unsqueeze(-1)  # (T, S, 1)
    logits = k.unsqueeze(1) - (back - 1) * decay  # (B, T, S, C)
    logits = torch.where(back == 0, k.unsqueeze(1) + bonus, logits)
    weights = logits.masked_fill(back < 0, float("-inf")).softmax(dim=2)
    return torch.einsum("btsc,bsc->btc", weights, v)


def wkv_scan(k: Tensor, v: Tensor, decay: Tensor, bonus: Tensor) -> Tensor:
    """The same function in log2(T) vectorized steps, each of which joins sums of twice as many positions."""
    return wkv_continue(k, v, decay, bonus, None)[0]


def join(left: WKVState, right: WKVState, fade: Tensor) -> WKVState:
    """Add two sums, the left one faded by ``fade``: sums are kept as (m, a, b) for (a e^m, b e^m), which never overflow."""
    m_l = left[0] - fade
    m = torch.maximum(m_l, right[0])
    e_l, e_r = torch.exp(m_l - m), torch.exp(right[0] - m)
    return m, e_l * left[1] + e_r * right[1], e_l * left[2] + e_r * right[2]


def wkv_continue(k: Tensor, v: Tensor, decay: Tensor, bonus: Tensor, state: WKVState | None) -> tuple[Tensor, WKVState]:
    """Read further tokens: the outputs, and the state (three tensors (B, C)) after the last of them.

    Sums are kept in float32 at least, with their largest exponent apart, so keys of any size are safe in any dtype.
    """
    check_wkv(k, v, decay, bonus)
    wide = torch.promote_types(k.dtype, torch.float32)
    dtype, T = v.dtype, k.shape[1]
    k, v, decay, bonus = (t.to(wide) for t in (k, v, decay, bonus))
    if state is None:
        low = torch.full_like(k.select(1, 0), -1e30)
        state = low, torch.zeros_like(low), torch.zeros_like(low)
    m, a, b = k, v, torch.ones_like(k)  # each position by itself
    step = 1
    while step < T:  # then every position with the 2, 4, 8, ... before it
        head = tuple(t.narrow(1, 0, step) for t in (m, a, b))
        left, right = (tuple(t.narrow(1, start, T - step) for t in (m, a, b)) for start in (0, step))
        tail = join(left, right, step * decay)
        m, a, b = (torch.cat(pair, dim=1) for pair in zip(head, tail, strict=True))
        step *= 2
    since = torch.arange(1, T + 1, device=k.device, dtype=wide).unsqueeze(-1) * decay  # (T, C)
    m, a, b = join(tuple(t.unsqueeze(1) for t in state), (m, a, b), since)  # what was read before, faded
    before = tuple(
        torch.cat([s.unsqueeze(1), t.narrow(1, 0, T - 1)], dim=1) for s, t in zip(state, (m, a, b), strict=True)
    )
    _, total, count = join(before, (k + bonus, v, torch.ones_like(k)), torch.zeros_like(decay))
    return (total / count).to(dtype), (m.select(1, -1), a.select(1, -1), b.select(1, -1))


def shift(x: Tensor, last: Tensor | None = None) -> Tensor:
    """Put the token before in the place of each: (B, T, C) and the last one read before, (B, C), or zeros."""
    first = torch.zeros_like(x.narrow(1, 0, 1)) if last is None else last.unsqueeze(1)
    return torch.cat([first, x.narrow(1, 0, x.shape[1] - 1)], dim=1)


class TimeMixing(nn.Module):
    """What stands in the place of attention: shifted tokens, the wkv mean, and a gate (receptance).

    Args:
        embed_dim: width C.

    Shapes:
        x: (B, T, C). Returns (B, T, C) and the state: the last token and the sums, four tensors (B, C).

    Source: Peng et al. 2023, sections 3.1.1 to 3.1.3.
    """

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        share = torch.arange(embed_dim) / embed_dim
        self.mix_k, self.mix_v, self.mix_r = (nn.Parameter(share.clone()) for _ in range(3))
        self.log_decay = nn.Parameter(torch.linspace(-5.0, 3.0, embed_dim))  # w = exp(log_decay) stays positive
        self.bonus = nn.Parameter(torch.full((embed_dim,), 0.3).log())
        self.k, self.v, self.r, self.out = (nn.Linear(embed_dim, embed_dim, bias=False) for _ in range(4))

    def forward(self, x: Tensor, state: tuple[Tensor, ...] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        before = shift(x, None if state is None else state[0])
        k, v, r = (
            f(x * m + before * (1 - m)) for f, m in ((self.k, self.mix_k), (self.v, self.mix_v), (self.r, self.mix_r))
        )
        y, sums = wkv_continue(k, v, self.log_decay.exp(), self.bonus, None if state is None else state[1:])
        return self.out(torch.sigmoid(r) * y), (x.select(1, -1), *sums)


class ChannelMixing(nn.Module):
    """What stands in the place of the feed-forward net: shifted tokens, a squared ReLU, and a gate (receptance).

    Args:
        embed_dim: width C.
        hidden_dim: width of the hidden layer; 4 C if not given.

    Shapes:
        x: (B, T, C). Returns (B, T, C) and the state: the last token, (B, C).

    Source: Peng et al. 2023, section 3.1 (channel-mixing block).
    """

    def __init__(self, embed_dim: int, hidden_dim: int | None = None) -> None:
        super().__init__()
        share, hidden_dim = torch.arange(embed_dim) / embed_dim, 4 * embed_dim if hidden_dim is None else hidden_dim
        self.mix_k, self.mix_r = (nn.Parameter(share.clone()) for _ in range(2))
        self.k, self.v = nn.Linear(embed_dim, hidden_dim, bias=False), nn.Linear(hidden_dim, embed_dim, bias=False)
        self.r = nn.Linear(embed_dim, embed_dim, bias=False)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        before = shift(x, state)
        k, r = (f(x * m + before * (1 - m)) for f, m in ((self.k, self.mix_k), (self.r, self.mix_r)))
        return torch.sigmoid(r) * self.v(torch.relu(k).square()), x.select(1, -1)


@entry(
    name="RWKV",
    aliases=("Receptance Weighted Key Value",),
    page="linear_time",
    kind="block",
    ids=("rwkv",),
    paper="peng2023rwkv",
    peer="transformers.models.rwkv.modeling_rwkv",
    example=lambda: Example(RWKVBlock(6), (torch.randn(2, 5, 6),)),
    related=("Linear attention", "Retentive network", "Long short-term memory"),
)
class RWKVBlock(nn.Module):
    r"""Block of RWKV-4: time-mixing and channel-mixing, each on what is normalized, each added to what was there.

    .. math::
        x \leftarrow x + W_o\,\big(\sigma(r_t) \odot \mathrm{wkv}_t\big), \quad
        x \leftarrow x + \sigma(r'_t) \odot W'_v \max(k'_t, 0)^2, \qquad
        \mathrm{wkv}_t = \frac{\sum_{s<t} e^{-(t-1-s)w + k_s} v_s + e^{u + k_t} v_t}{\sum_{s<t} e^{-(t-1-s)w + k_s} + e^{u + k_t}}

    where every r, k and v is projected from a mixture of a token with the one before it, channel by channel.

    Args:
        embed_dim: width C of the input and of the output.
        hidden_dim: width of channel-mixing; 4 C if not given.

    Shapes:
        x: (B, T, C). Returns (B, T, C). ``step`` takes (B, T, C) and the state after what was read before, and returns
        (B, T, C) and the new state, five tensors (B, C), however much was read.

    Notice:
        A text read at once and the same text read token by token give the same. Channel-mixing looks at the token
        before too, so it is not position-wise. The sums are kept with their largest exponent apart.

    Raises:
        ValueError: if a width is below 1 or the input has the wrong shape.

    Source: Peng et al. 2023, section 3.

    >>> block = RWKVBlock(16)
    >>> x = torch.randn(1, 6, 16)
    >>> first, state = block.step(x[:, :4])
    >>> rest, state = block.step(x[:, 4:], state)
    >>> torch.allclose(torch.cat([first, rest], dim=1), block(x), atol=1e-5)
    True
    """

    def __init__(self, embed_dim: int, hidden_dim: int | None = None) -> None:
        super().__init__()
        check_at_least(1, embed_dim=embed_dim, hidden_dim=1 if hidden_dim is None else hidden_dim)
        self.embed_dim = embed_dim
        self.norm_time, self.norm_channel = nn.LayerNorm(embed_dim), nn.LayerNorm(embed_dim)
        self.time, self.channel = TimeMixing(embed_dim), ChannelMixing(embed_dim, hidden_dim)

    def step(self, x: Tensor, state: tuple[Tensor, ...] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Read one or more tokens, given the state after those before them."""
        check_sequence(x, self.embed_dim)
        y, time = self.time(self.norm_time(x), None if state is None else state[:4])
        x = x + y
        y, channel = self.channel(self.norm_channel(x), None if state is None else state[4])
        return x + y, (*time, channel)

    def forward(self, x: Tensor) -> Tensor:
        return self.step(x)[0]
