"""The recurrent neural network: the same small network at every step, fed with its own last output."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.recurrent.stack import (
    FusedStack,
    add_weights,
    check_dropout,
    check_sequence,
    check_state,
    kernel_mode,
    weights_of,
)
from nnvocab.vocabulary import Example, entry

ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}
KERNELS = {"tanh": torch.rnn_tanh, "relu": torch.rnn_relu}


def rnn_cell(
    x: Tensor,
    h: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    *,
    nonlinearity: str = "tanh",
) -> Tensor:
    r"""One step of the recurrent network, as the equation is written.

    .. math::
        h_t = \tanh(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh})

    Shapes:
        x: (B, C); h: (B, H); w_ih: (H, C); w_hh: (H, H); b_ih, b_hh: (H,). Returns (B, H).
    """
    check_nonlinearity(nonlinearity)
    return ACTIVATIONS[nonlinearity](F.linear(x, w_ih, b_ih) + F.linear(h, w_hh, b_hh))


def rnn_layer(
    x: Tensor,
    h: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    *,
    nonlinearity: str = "tanh",
) -> tuple[Tensor, tuple[Tensor]]:
    """Run one layer over a sequence, one ``rnn_cell`` a step.

    Shapes:
        x: (B, T, C); h: (B, H). Returns y (B, T, H) and the last state (B, H) in a tuple of one.
    """
    check_sequence(x, w_ih.shape[1], batch_first=True)
    outputs = []
    for x_t in x.unbind(1):
        h = rnn_cell(x_t, h, w_ih, w_hh, b_ih, b_hh, nonlinearity=nonlinearity)
        outputs.append(h)
    return torch.stack(outputs, dim=1), (h,)


def rnn_layer_fused(
    x: Tensor,
    h: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    *,
    nonlinearity: str = "tanh",
) -> tuple[Tensor, tuple[Tensor]]:
    """The same layer by torch's own kernel, which runs the loop outside Python."""
    check_nonlinearity(nonlinearity)
    weights = [w_ih, w_hh] if b_ih is None else [w_ih, w_hh, b_ih, b_hh]
    y, h = KERNELS[nonlinearity](x, h[None], weights, b_ih is not None, 1, 0.0, torch.is_grad_enabled(), False, True)
    return y, (h[0],)


def check_nonlinearity(nonlinearity: str) -> None:
    """Refuse what is neither tanh nor relu."""
    if nonlinearity not in ACTIVATIONS:
        raise ValueError(f"nonlinearity is {nonlinearity!r}, but must be 'tanh' or 'relu'")


@entry(
    name="Recurrent neural network",
    aliases=("RNN", "vanilla RNN", "Elman RNN", "simple RNN", "Elman network", "Recurrent neural network layer"),
    page="remembering",
    ids=("vanilla_rnn", "loom_rnn"),
    paper="elman1990finding",
    peer="torch.nn.RNN",
    related=("Hidden state", "Unrolling through time", "LSTM"),
    example=lambda: Example(
        RNN(3, 4, num_layers=2, batch_first=True),
        (torch.randn(2, 5, 3),),
        skip={"batch_of_one": "the last state has its batch on the second axis, as in torch"},
    ),
)
class RNN(FusedStack):
    r"""A recurrent network: a state that each step computes from the input and from the state before it.

    .. math::
        h_t = \tanh(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh})

    where :math:`x_t` is the input of step t, :math:`h_t` the hidden state and also the output of step t, and the
    weights are the same at every step.

    Args:
        input_size: width C of the input.
        hidden_size: width H of the hidden state.
        num_layers: layers L; each reads the outputs of the one below.
        nonlinearity: "tanh" or "relu".
        bias: add the two bias vectors.
        batch_first: sequences are (B, T, C); as in torch, (T, B, C) if False.
        dropout: probability of dropping an output between two layers while training.
        bidirectional: run a second network backwards and concatenate the outputs.

    Shapes:
        x: (B, T, C) or (T, B, C); state: (L x directions, B, H), zeros if None.
        Returns the outputs (B, T, H x directions) or (T, B, ...), and the last state.

    Notice:
        The state is the only way from the past to the future: H numbers, however long the sequence. Weights from
        ``nn.RNN`` load by ``load_state_dict``.

    Raises:
        ValueError: if a size or the nonlinearity is not allowed, or x or the state has the wrong shape.

    Source: Elman 1990. The two bias vectors are torch's; one would do.

    >>> rnn = RNN(8, 16, batch_first=True)
    >>> y, last = rnn(torch.zeros(2, 10, 8))
    >>> y.shape, last.shape
    (torch.Size([2, 10, 16]), torch.Size([1, 2, 16]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        check_nonlinearity(nonlinearity)
        check_dropout(dropout)
        add_weights(self, 1, input_size, hidden_size, num_layers, bias=bias, bidirectional=bidirectional)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.nonlinearity, self.bias, self.batch_first = nonlinearity, bias, batch_first
        self.mode = f"RNN_{nonlinearity.upper()}"
        self.dropout, self.bidirectional = dropout, bidirectional

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        B, _ = check_sequence(x, self.input_size, self.batch_first)
        shape = (self.num_layers * (1 + self.bidirectional), B, self.hidden_size)
        if state is None:
            state = x.new_zeros(shape)
        check_state(state, shape, "state")
        return KERNELS[self.nonlinearity](
            x,
            state,
            weights_of(self),
            self.bias,
            self.num_layers,
            *kernel_mode(self),
            self.bidirectional,
            self.batch_first,
        )

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Read one step: x (B, C) and the state; returns the output (B, H) and the next state."""
        return one_step(self, x, state)


def one_step(layer: nn.Module, x: Tensor, state: object = None) -> tuple[Tensor, object]:
    """Read one step by any recurrent layer: a sequence of length one.

    Args:
        layer: an RNN, LSTM or GRU of one direction, ours or torch's.
        x: (B, C).
        state: what the last step returned; None before the first.

    Raises:
        ValueError: if the layer is bidirectional: its backward half needs the whole sequence first.
    """
    if layer.bidirectional:
        raise ValueError("a bidirectional layer cannot go step by step: its backward half begins at the last step")
    axis = 1 if layer.batch_first else 0
    y, state = layer(x.unsqueeze(axis), state)
    return y.squeeze(axis), state
