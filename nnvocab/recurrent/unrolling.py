"""Unrolling: a recurrent network is a deep one whose layers share their weights, and its gradient a sum over steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from nnvocab.recurrent.rnn import rnn_cell
from nnvocab.recurrent.stack import check_run, check_sequence
from nnvocab.vocabulary import Example, entry


class Unrolled(NamedTuple):
    """The outputs of an unrolled network and the weights that each step used, a copy a step."""

    outputs: Tensor
    copies: list[tuple[Tensor, Tensor]]


@entry(
    name="Unrolling through time",
    aliases=(
        "BPTT",
        "unrolled RNN",
        "Backpropagation through time",
        "Unrolling through time and weight sharing",
        "truncated BPTT",
    ),
    page="remembering",
    kind="concept",
    ids=("loom_unrolling",),
    paper="werbos1990backpropagation",
    peer="torch.nn.RNN",
    related=("Recurrent neural network", "Hidden state", "Cell-state gradient highway"),
    example=lambda: Example(
        lambda x, h, w_ih, w_hh: unroll(x, h, w_ih, w_hh).outputs,
        (torch.randn(2, 3, 2), torch.randn(2, 4), torch.randn(4, 2), torch.randn(4, 4)),
        skip={"batch_of_one": "the weights are inputs and have no batch"},
    ),
)
def unroll(x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor | None = None) -> Unrolled:
    r"""Write a recurrent network out as a deep one: a layer a step, each with its own copy of the shared weights.

    .. math::
        h_t = \tanh(W^{(t)}_{ih} x_t + W^{(t)}_{hh} h_{t-1} + b), \quad W^{(1)} = \dots = W^{(T)} = W, \qquad
        \frac{\partial \mathcal L}{\partial W} = \sum_{t=1}^{T} \frac{\partial \mathcal L}{\partial W^{(t)}}

    Args:
        x: the batch of sequences.
        h: the state before the first step.
        w_ih: shared weights of the input.
        w_hh: shared weights of the state.
        bias: shared bias.

    Shapes:
        x: (B, T, C); h: (B, H); w_ih: (H, C); w_hh: (H, H); bias: (H,). Returns ``outputs`` (B, T, H) and ``copies``,
        T pairs (w_ih, w_hh) that are part of the graph: ``torch.autograd.grad(loss, [w for w, _ in copies])`` gives
        the gradient step by step.

    Notice:
        Autograd needs no rule for time: the unrolled network is an ordinary graph. Its depth is T, and so is the
        number of states that the backward pass must keep.

    Raises:
        ValueError: if x has the wrong shape.

    Source: Werbos 1990, section III.

    >>> run = unroll(torch.zeros(1, 4, 2), torch.zeros(1, 3), torch.zeros(3, 2), torch.zeros(3, 3))
    >>> run.outputs.shape, len(run.copies)
    (torch.Size([1, 4, 3]), 4)
    """
    check_sequence(x, w_ih.shape[1], batch_first=True)
    outputs, copies = [], []
    for x_t in x.unbind(1):
        copies.append((w_ih.clone(), w_hh.clone()))
        h = rnn_cell(x_t, h, *copies[-1], bias)
        outputs.append(h)
    return Unrolled(torch.stack(outputs, dim=1), copies)


def truncated_bptt(
    layer: nn.Module, x: Tensor, loss: Callable[[Tensor, int], Tensor], *, steps: int, state: Any = None
) -> tuple[float, Any]:
    """Add up gradients in the parameters window by window: the state goes on, the gradient is cut between windows.

    Args:
        layer: a recurrent layer with ``batch_first=True``.
        x: the batch of sequences.
        loss: ``loss(outputs of a window, its first step)`` gives a scalar; the sum over the windows is the loss.
        steps: length of a window. With ``steps >= T`` this is full backpropagation through time.
        state: the state before the first step.

    Shapes:
        x: (B, T, C). Returns the summed loss and the last state, cut from the graph.

    Notice:
        Memory is that of ``steps`` steps, and no step learns from a loss more than ``steps - 1`` steps later.

    Raises:
        ValueError: if steps is below 1, the layer is not batch_first or bidirectional, or x has the wrong shape.

    >>> rnn = nn.RNN(2, 3, batch_first=True)
    >>> total, _ = truncated_bptt(rnn, torch.zeros(1, 6, 2), lambda y, t: y.sum(), steps=2)
    >>> rnn.weight_hh_l0.grad.shape
    torch.Size([3, 3])
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}, but a window needs at least 1 step")
    check_run(layer, x)
    total = 0.0
    for start in range(0, x.shape[1], steps):
        y, state = layer(x[:, start : start + steps], state)
        value = loss(y, start)
        value.backward()
        state = tree_map(torch.Tensor.detach, state)
        total += value.item()
    return total, state
