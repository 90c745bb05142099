"""RetNet's retention: linear attention that forgets, in three forms that compute the same."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.attention.heads import check_heads, check_sequence, merge_heads, split_heads
from nnvocab.attention.qkv import check_one_sequence, check_token
from nnvocab.attention.rotary import rotate_by_position_fused
from nnvocab.vocabulary import Example, entry

CHUNK = 64


def check_retention(q: Tensor, k: Tensor, v: Tensor, decays: Tensor) -> None:
    """Raise an error unless q, k and v are the heads of one sequence and each head has its decay."""
    check_one_sequence(q, k, v)
    if decays.shape != q.shape[1:2]:
        raise ValueError(f"decays has shape {tuple(decays.shape)}, but {q.shape[1]} heads need one number each")


def retention(q: Tensor, k: Tensor, v: Tensor, *, decays: Tensor) -> Tensor:
    r"""Retain, in the parallel form, as the equation is written.

    .. math::
        y = (q k^{\top} \odot M)\, v, \qquad M_{ij} = \gamma^{i - j} \text{ for } j \le i, \text{ else } 0

    Args:
        q, k, v: queries, keys (already scaled) and values.
        decays: :math:`\gamma` of each head, between 0 and 1.

    Shapes:
        q, k: (B, H, T, D); v: (B, H, T, E); decays: (H,). Returns (B, H, T, E).

    Notice:
        The decay multiplies the scores, before the values come in.
    """
    check_retention(q, k, v, decays)
    return (q @ k.transpose(-2, -1) * decay_mask(q.shape[2], decays)) @ v


def decay_mask(T: int, decays: Tensor) -> Tensor:
    """The factors of T positions, one table a head: (H,) -> (H, T, T)."""
    at = torch.arange(T, device=decays.device)
    back = at.unsqueeze(1) - at  # (T, T)
    return torch.where(back >= 0, decays.view(-1, 1, 1) ** back.clamp(min=0), 0.0)


def retention_chunked(q: Tensor, k: Tensor, v: Tensor, *, decays: Tensor) -> Tensor:
    """The same function in linear time: chunks whose factors are written out, and a state that goes from one to the next."""
    check_retention(q, k, v, decays)
    T = q.shape[2]
    size = min(CHUNK, T)
    q, k, v = (F.pad(t, (0, 0, 0, -T % size)).unflatten(2, (-1, size)) for t in (q, k, v))  # (B, H, n, c, D)
    mask = decay_mask(size, decays).unsqueeze(1)  # (H, 1, c, c)
    within = (q @ k.transpose(-2, -1) * mask) @ v
    gamma = decays.view(-1, 1, 1, 1)
    since = torch.arange(1, size + 1, device=q.device).unsqueeze(1)  # steps from the end of the chunk before
    gathered = (k * gamma ** (size - since)).transpose(-2, -1) @ v  # (B, H, n, D, E): each chunk at its end
    state, before = torch.zeros_like(gathered.select(2, 0)), []
    for chunk in gathered.unbind(2):
        before.append(state)
        state = state * decays.view(-1, 1, 1) ** size + chunk
    across = (q * gamma**since) @ torch.stack(before, dim=2)
    return (within + across).flatten(2, 3).narrow(2, 0, T)


def retention_step(
    q: Tensor, k: Tensor, v: Tensor, state: Tensor | None = None, *, decays: Tensor
) -> tuple[Tensor, Tensor]:
    """One position of the recurrent form: :math:`S_t = \\gamma S_{t-1} + k_t v_t^\\top` and :math:`y_t = q_t^\\top S_t`.

    Shapes:
        q, k: (B, H, D); v: (B, H, E); state: (B, H, D, E); decays: (H,). Returns (B, H, E) and the new state.
    """
    added = k.unsqueeze(-1) * v.unsqueeze(-2)  # (B, H, D, E)
    state = added if state is None else state * decays.view(-1, 1, 1) + added
    return (q.unsqueeze(-2) @ state).squeeze(-2), state


@entry(
    name="Retentive network",
    aliases=("RetNet", "retention"),
    page="linear_time",
    ids=("retnet",),
    paper="sun2023retentive",
    evidence="preprint",
    peer="yet_another_retnet.retention.MultiScaleRetention",
    example=lambda: Example(MultiScaleRetention(8, 2), (torch.randn(2, 5, 8),)),
    related=("Linear attention", "RWKV", "Rotary positional embedding"),
)
class MultiScaleRetention(nn.Module):
    r"""RetNet's layer in place of attention: decaying, rotated scores without softmax, normalized a head, and gated.

    .. math::
        y = \big(\operatorname{swish}(x W_G) \odot \mathrm{GN}([r_1; \dots; r_H])\big)\, W_O, \qquad
        r_h = (q_h k_h^{\top} \odot M^{\gamma_h})\, v_h, \quad M^{\gamma}_{ij} = \gamma^{i-j}\,[j \le i]

    where q and k are turned by their position (the rotation and the decay together are xPos), k is divided by
    :math:`\sqrt D`, and GN normalizes each head of each position.

    Args:
        embed_dim: width C of the input and of the output.
        num_heads: heads H, each with its own decay; H must divide C into heads of even width.
        value_dim: width of all values together; C if not given (the paper takes 2 C).
        decays: :math:`\gamma` of each head; :math:`1 - 2^{-5-h}` for h = 0, 1, ... if not given.
        base: of the rotation's frequencies.
        bias: add a bias in the projections.

    Shapes:
        x: (B, T, C). Returns (B, T, C). ``step`` takes (B, C), a state and the position, and returns (B, C) and the
        new state (B, H, D, E).

    Notice:
        The parallel form trains, the recurrent form writes with a state of fixed size, and the chunked form, which
        runs here, is both: they agree. There is no softmax: the weights of a row may be negative and do not sum to 1,
        which the normalization of each head makes up for.

    Raises:
        ValueError: if H does not divide the widths, a head is odd, or there is not one decay between 0 and 1 for each head.

    Source: Sun et al. 2023, sections 2.1 and 2.2.

    >>> layer = MultiScaleRetention(32, num_heads=2)
    >>> x, state = torch.randn(1, 4, 32), None
    >>> for t in range(4):
    ...     y, state = layer.step(x[:, t], state, position=t)
    >>> torch.allclose(y, layer(x)[:, -1], atol=1e-5)
    True
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        value_dim: int | None = None,
        decays: Tensor | None = None,
        base: float = 10000.0,
        bias: bool = False,
    ) -> None:
        super().__init__()
        value_dim = embed_dim if value_dim is None else value_dim
        D = check_heads(embed_dim, num_heads)
        check_heads(value_dim, num_heads)
        if D % 2:
            raise ValueError(f"a head is {D} wide, but columns are turned in pairs: choose an even width of heads")
        if decays is None:
            decays = 1 - 2.0 ** (-5 - torch.arange(num_heads))
        elif (decays := torch.as_tensor(decays)).shape != (num_heads,) or not ((decays > 0) & (decays <= 1)).all():
            raise ValueError(f"decays must be {num_heads} numbers above 0 and at most 1, one for each head")
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.q, self.k = (nn.Linear(embed_dim, embed_dim, bias=bias) for _ in range(2))
        self.v, self.gate = (nn.Linear(embed_dim, value_dim, bias=bias) for _ in range(2))
        self.norm = nn.GroupNorm(num_heads, value_dim, eps=1e-6, affine=False)
        self.out = nn.Linear(value_dim, embed_dim, bias=bias)
        self.register_buffer("decays", decays.to(torch.get_default_dtype()))
        self.register_buffer("theta", base ** -torch.linspace(0, 1, D // 2), persistent=False)

    def project(self, x: Tensor, position: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys, turned by their position, and values: (B, H, T, D), (B, H, T, D), (B, H, T, E)."""
        q, k, v = (split_heads(f(x), self.num_heads) for f in (self.q, self.k, self.v))
        at = torch.arange(position, position + x.shape[1], device=x.device, dtype=self.theta.dtype)
        q, k = (rotate_by_position_fused(t, at, self.theta) for t in (q, k))
        return q, k * q.shape[-1] ** -0.5, v

    def finish(self, x: Tensor, y: Tensor) -> Tensor:
        """Normalize each head of each position, gate by the input, project: (B, T, C), (B, H, T, E) -> (B, T, C)."""
        y = merge_heads(y)  # (B, T, H*E)
        y = self.norm(y.flatten(0, 1)).view_as(y)
        return self.out(F.silu(self.gate(x)) * y)

    def step(self, x: Tensor, state: Tensor | None = None, *, position: int) -> tuple[Tensor, Tensor]:
        """Read one more token, (B, C), given its position and the state after those before it."""
        check_token(x, self.embed_dim)
        x = x.unsqueeze(1)
        q, k, v = (t.squeeze(2) for t in self.project(x, position))
        y, state = retention_step(q, k, v, state, decays=self.decays)
        return self.finish(x, y.unsqueeze(2)).squeeze(1), state

    def forward(self, x: Tensor) -> Tensor:
        check_sequence(x, self.embed_dim)
        return self.finish(x, retention_chunked(*self.project(x), decays=self.decays))
