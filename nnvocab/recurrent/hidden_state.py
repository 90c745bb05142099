"""The hidden state: all that a recurrent network knows of what it has read, and what changes when it is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nnvocab.recurrent.stack import check_run
from nnvocab.vocabulary import Example, entry


def _example() -> Example:
    from nnvocab.recurrent.rnn import RNN

    class Shown(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = RNN(3, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return hidden_states(self.rnn, x, replace={2: None})[0]

    return Example(Shown(), (torch.randn(2, 5, 3),))


@entry(
    name="Hidden state",
    aliases=("recurrent state", "memory"),
    page="remembering",
    kind="concept",
    ids=("loom_hidden_state",),
    paper="elman1990finding",
    peer="torch.nn.RNN",
    related=("Recurrent neural network", "Long short-term memory", "Unrolling through time"),
    example=_example,
)
def hidden_states(
    layer: nn.Module, x: Tensor, state: Any = None, *, replace: Mapping[int, Any] | None = None
) -> tuple[Tensor, list[Any]]:
    r"""Run a recurrent layer step by step, keep every state, and put other states in their place where asked.

    .. math::
        (y_t, s_t) = \operatorname{layer}(x_t, s_{t-1}), \qquad s_{t-1} \leftarrow \text{another state, where replaced}

    where :math:`s_t` is the hidden state: (h, c) for an LSTM, h for the others.

    Args:
        layer: an RNN, LSTM or GRU with ``batch_first=True``, ours or torch's.
        x: the batch of sequences.
        state: the state before the first step; None for zeros.
        replace: states to put in place before a step: ``{10: None}`` forgets everything before step 10,
            ``{10: other}`` goes on with another memory.

    Shapes:
        x: (B, T, C). Returns the outputs (B, T, H) and a list of the states after each step.

    Notice:
        What the layer says from step t on depends on the inputs from t on and on this one state: two different pasts
        that lead to the same state are the same past.

    Raises:
        ValueError: if the layer is not batch_first or bidirectional, x has the wrong shape, or a step to replace is
            not in the sequence.

    Source: Elman 1990, where the state is called context units.

    >>> y, states = hidden_states(nn.RNN(3, 4, batch_first=True), torch.zeros(1, 5, 3))
    >>> y.shape, len(states)
    (torch.Size([1, 5, 4]), 5)
    """
    check_run(layer, x)
    replace, T = dict(replace or {}), x.shape[1]
    if outside := sorted(t for t in replace if not 0 <= t < T):
        raise ValueError(f"replace names steps {outside}, but the sequence has steps 0 to {T - 1}")
    outputs, states = [], []
    for t in range(T):
        y, state = layer(x.narrow(1, t, 1), replace.get(t, state))  # (B, 1, C) -> (B, 1, H)
        outputs.append(y)
        states.append(state)
    return torch.cat(outputs, dim=1), states
