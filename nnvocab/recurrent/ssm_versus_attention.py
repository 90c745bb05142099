"""A state space model beside attention: what each computes, what each keeps, and what each can recall."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nnvocab.recurrent.dt_rank import auto_dt_rank
from nnvocab.vocabulary import entry


class Costs(NamedTuple):
    """Operations to read a sequence, and numbers kept after it, of an attention layer and a Mamba layer."""

    attention_flops: int
    attention_kept: int
    mamba_flops: int
    mamba_kept: int


@entry(
    name="SSM versus attention",
    aliases=("complexity comparison", "Mamba versus attention"),
    page="fixed_state",
    kind="concept",
    ids=("caramba_ssm_vs_attention",),
    paper="gu2023mamba",
    peer="torch.utils.flop_counter",
    related=("Mamba", "Mamba block", "State space model"),
)
def mixer_costs(T: int, d_model: int, d_state: int = 16, d_conv: int = 4, expand: int = 2) -> Costs:
    r"""Count what an attention layer and a Mamba layer of one width compute over T positions, and what they keep.

    .. math::
        \begin{aligned}
        & & \text{operations} & & \text{numbers kept} \\
        & \text{attention} & 8 T C^2 + 4 T^2 C & & 2 T C \\
        & \text{Mamba} & 2 T E (3 C + 2 R + 2 N + K) + 6 T E N & & E (N + K - 1)
        \end{aligned}

    where E = expand x C, R = C / 16 rounded up, and a multiplication and an addition are one operation each.

    Args:
        T: positions.
        d_model: width C of both layers.
        d_state: N of the Mamba layer.
        d_conv: K of the Mamba layer.
        expand: inner channels for each channel of the width.

    Notice:
        The square of T is in the operations of attention, not of necessity in its memory: kernels that never store
        the (T, T) scores need memory of order T. What grows with T while it generates is its cache.

    Raises:
        ValueError: if a number is not positive.

    Source: Gu and Dao 2023, section 4.5, measure it; Jelassi et al. 2024 prove what a state of fixed size costs.

    >>> short, long = mixer_costs(1000, 64), mixer_costs(2000, 64)
    >>> long.mamba_flops / short.mamba_flops, long.mamba_kept == short.mamba_kept
    (2.0, True)
    """
    if min(T, d_model, d_state, d_conv, expand) < 1:
        raise ValueError(
            f"T {T}, d_model {d_model}, d_state {d_state}, d_conv {d_conv}, expand {expand} must be positive"
        )
    C, E, R, N, K = d_model, expand * d_model, auto_dt_rank(d_model), d_state, d_conv
    linear = 2 * T * E * (3 * C + 2 * R + 2 * N + K)  # in, x, dt and out projections; convolution
    return Costs(8 * T * C**2 + 4 * T**2 * C, 2 * T * C, linear + 6 * T * E * N, E * (N + K - 1))


class Recall(NamedTuple):
    """A batch of the associative recall task: pairs to remember, a key to look up, the value that belongs to it."""

    keys: Tensor
    values: Tensor
    query: Tensor
    answer: Tensor


def associative_recall(
    batch: int, pairs: int, num_keys: int, num_values: int, *, generator: torch.Generator | None = None
) -> Recall:
    """Draw sequences of key-value pairs, each key once, and ask for the value of one of the keys.

    Args:
        batch: sequences B.
        pairs: pairs in each.
        num_keys: different keys; at least ``pairs``.
        num_values: different values; guessing is right once in ``num_values`` times.
        generator: source of the draws, on the CPU.

    Shapes:
        Returns keys and values (B, pairs), query and answer (B,), all integers.

    Raises:
        ValueError: if there are fewer keys than pairs, or no sequence or value.

    >>> task = associative_recall(2, pairs=3, num_keys=8, num_values=4)
    >>> bool((task.keys == task.query[:, None]).sum(1).eq(1).all())
    True
    """
    if not 1 <= pairs <= num_keys:
        raise ValueError(f"pairs is {pairs}, but {num_keys} different keys allow 1 to {num_keys}")
    if min(batch, num_values) < 1:
        raise ValueError(f"batch {batch} and num_values {num_values} must be at least 1")
    keys = torch.rand(batch, num_keys, generator=generator).argsort(dim=1)[:, :pairs]
    values = torch.randint(num_values, (batch, pairs), generator=generator)
    asked = torch.randint(pairs, (batch, 1), generator=generator)
    return Recall(keys, values, keys.gather(1, asked)[:, 0], values.gather(1, asked)[:, 0])
