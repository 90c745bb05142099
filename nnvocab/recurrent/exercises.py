"""The exercises of the recurrent chapter: each judges an answer and hints at the usual mistakes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from nnvocab.exercises import array, exercise, number
from nnvocab.recurrent.bidirectional import reverse_padded
from nnvocab.recurrent.gru import gru_cell
from nnvocab.recurrent.mamba import Mamba
from nnvocab.recurrent.ssm_versus_attention import mixer_costs
from nnvocab.recurrent.state_space import discretize_zoh
from nnvocab.recurrent.tcn import receptive_field


def flat(answer: Any) -> np.ndarray:
    """The numbers of an answer in one row, however nested: what our functions return has axes that none asked for."""
    if isinstance(answer, list | tuple):
        return np.concatenate([flat(part) for part in answer])
    return np.asarray(answer.detach().cpu() if hasattr(answer, "detach") else answer, dtype=float).ravel()


@exercise("recurrent/two-steps", why="The second step sees the first only through h: tanh(0.5 tanh(1)).")
def two_steps(answer: Any) -> str | None:
    first = math.tanh(1.0)
    return number(
        answer,
        math.tanh(0.5 * first),
        {
            first: "that is h after the first step; one more step follows, with x = 0.",
            0.5 * first: "the second step ends with a tanh too.",
            math.tanh(0.5): "the state that is multiplied by 0.5 is tanh(1), not 1.",
            0.0: "x is 0 in the second step, but h is not.",
        },
        "compute h after the first step, multiply it by the recurrent weight, add the input's part, take the tanh.",
    )


@exercise("recurrent/state-size", why="Two layers, each with an h and a c of 32 numbers.")
def state_size(answer: Any) -> str | None:
    lstm = nn.LSTM(8, 32, num_layers=2)
    _, state = lstm(torch.zeros(5, 1, 8))
    right = sum(s.numel() for s in state)
    return number(
        answer,
        right,
        {
            right / 2: "half of it: an LSTM carries two things from step to step, and it has two layers.",
            right / 4: "that is one vector of one layer.",
            right * 5: "the state does not grow with the steps that were read.",
        },
        "count the vectors that an LSTM layer hands to its next step, times layers, times width.",
    )


@exercise("recurrent/shared-gradient", why="Each of the three copies of w contributes w squared: 3 w^2.")
def shared_gradient(answer: Any) -> str | None:
    w = torch.tensor(2.0, requires_grad=True)
    h = torch.tensor(1.0)
    for _ in range(3):
        h = w * h
    (right,) = torch.autograd.grad(h, w)
    return number(
        answer,
        right.item(),
        {
            4.0: "that is the part of one copy of the weight; how many copies are there?",
            8.0: "that is h after three steps; the derivative is asked for.",
            3.0: "that would be right for w = 1.",
        },
        "write h after three steps as a power of w and differentiate, or sum over the three copies.",
    )


@exercise("recurrent/lstm-parameters", why="Four blocks, each with 20 x 10 and 20 x 20 weights and two biases of 20.")
def lstm_parameters(answer: Any) -> str | None:
    right = sum(p.numel() for p in nn.LSTM(10, 20).parameters())
    one_bias = right - 4 * 20
    return number(
        answer,
        right,
        {
            right // 4: "that is one block of weights, that of a plain RNN; an LSTM has one for each of i, f, g, o.",
            right * 3 // 4: "that is a GRU; an LSTM has one block more.",
            one_bias: "that has one bias vector a gate; torch keeps two.",
            right - 8 * 20: "that leaves out the biases.",
        },
        "add the weights for x, the weights for h and the biases of one gate, then count the gates.",
    )


@exercise("recurrent/cell-by-hand", why="c = 0.5 x 2 + 1 x (-0.5) = 0.5; the closed output gate shows 0.")
def cell_by_hand(answer: Any) -> str | None:
    f, i, g, o, c = 0.5, 1.0, -0.5, 0.0, 2.0
    after, answer = f * c + i * g, flat(answer)
    wrong = array(answer, [after, o * math.tanh(after)], "c is f times the old c plus i times g; h is o times tanh(c).")
    if wrong and array(answer, [after, math.tanh(after)], "") is None:
        return "c is right; what does an output gate of 0 make of it?"
    return wrong


@exercise("recurrent/gru-step", why="z keeps: 0.75 of the old 1 and 0.25 of the new -1 make 0.5.")
def gru_step(answer: Any) -> str | None:
    """A cell without inputs whose biases make z = 0.75 and n = -1."""
    zeros, biases = torch.zeros(3, 1), torch.tensor([0.0, math.log(3), -50.0])
    right = gru_cell(torch.zeros(1, 1), torch.ones(1, 1), zeros, zeros, biases, torch.zeros(3)).item()
    return number(
        answer,
        right,
        {
            -right: "that is the other convention; in torch's GRU, as in the paper of 2014, z is the share of the old.",
            -1.0: "that is the candidate; z is 0.75, so a part of the old state stays.",
            0.75: "that is what is kept of the old; what comes in of the new?",
            -0.25: "that is what comes in of the new; what is kept of the old?",
        },
        "mix the old state and the candidate with the shares z and 1 - z.",
    )


@exercise("recurrent/half-life", why="f to the power of 100 is 1/2 for f = 0.5^(1/100), about 0.993.")
def half_life(answer: Any) -> str | None:
    return number(
        answer,
        0.5 ** (1 / 100),
        {
            0.5: "0.5 keeps half after one step.",
            1 - 0.5 / 100: "that loses an equal amount each step; a gate loses an equal share.",
            0.5**100: "that is what a gate of 0.5 keeps; the gate that keeps 0.5 is asked for.",
            1.0: "a gate of 1 keeps everything.",
        },
        "the gates multiply: which number to the power of 100 is one half?",
        rel=1e-4,
    )


@exercise("recurrent/reverse-padded", why="Only the first three steps turn around; the padding stays at the end.")
def reverse_by_length(answer: Any) -> str | None:
    x, answer = torch.tensor([1.0, 2.0, 3.0, 0.0, 0.0]), flat(answer)
    right = reverse_padded(x.view(1, 5, 1), torch.tensor([3])).flatten()
    if array(answer, x.flip(0), "") is None:
        return "now the backward network begins with two steps of padding."
    return array(answer, right, "the result begins with the last true step, and the padding stays where it is.")


@exercise("recurrent/tcn-levels", why="8 levels see 1 + 4 (2^8 - 1) = 1021 steps; 7 see 509.")
def tcn_levels(answer: Any) -> str | None:
    def levels(convs: int) -> int:
        return next(n for n in range(1, 20) if receptive_field(3, n, convs_per_level=convs) >= 1000)

    return number(
        answer,
        levels(2),
        {
            levels(1): "that counts one convolution a level; a block has two.",
            levels(2) - 1: "one level fewer sees 509 steps.",
            250: "that would be without dilation: each level doubles the one below.",
        },
        "solve 1 + 2 (K - 1) (2^L - 1) >= 1000 for whole L.",
    )


@exercise("recurrent/zoh", why="exp(-ln 2) = 0.5, and (0.5 - 1) / (-1) x 1 = 0.5.")
def zero_order_hold(answer: Any) -> str | None:
    A, B = discretize_zoh(torch.tensor([[-1.0]]), torch.tensor([[1.0]]), math.log(2))
    answer = flat(answer)
    if array(answer, [A.item(), math.log(2)], "") is None:
        return "A is right; delta times B is the first order only, as in Mamba: zero-order hold integrates exactly."
    return array(answer, [A.item(), B.item()], "A becomes exp(delta A), and B becomes (exp(delta A) - 1) / A times B.")


@exercise("recurrent/s4-memory", why="The state shrinks by exp(-0.5 delta) a step: to 1/e after 1 / (0.5 delta) steps.")
def s4_memory(answer: Any) -> str | None:
    delta, decay = 0.001, 0.5
    return number(
        answer,
        1 / (delta * decay),
        {
            1 / delta: "that forgets the real part of A, which is -1/2.",
            math.log(2) / (delta * decay): "that is the half-life; the time to 1/e is asked for.",
            decay / delta: "divide by the real part, do not multiply.",
        },
        "after t steps the size is exp(-0.5 delta t): for which t is that exp(-1)?",
    )


@exercise("recurrent/mamba-state", why="128 channels keep 16 numbers each, and the convolution its last 3 inputs.")
def mamba_state(answer: Any) -> str | None:
    state = Mamba(64).scan(torch.zeros(1, 5, 64))[1]
    conv, ssm = (s.numel() for s in state)
    return number(
        answer,
        conv + ssm,
        {
            ssm: "that is the scan's state; the convolution remembers something too.",
            ssm // 2: "the layer works on expand x d_model channels.",
            ssm + conv + 128: "the convolution keeps d_conv - 1 inputs, not d_conv.",
            2 * 64 * 10_000: "that is what attention would cache.",
        },
        "count E = 2 x 64 channels, N = 16 numbers each, and d_conv - 1 = 3 earlier inputs of the convolution.",
    )


@exercise("recurrent/dt-weights", why="The rank is 768 / 16 = 48: 48 x 1536 down and 1536 x 48 up.")
def dt_weights(answer: Any) -> str | None:
    E, R = 2 * 768, math.ceil(768 / 16)
    return number(
        answer,
        2 * R * E,
        {
            R * E: "that is half of it: count both matrices, each on the inner width, expand x d_model.",
            E * E: "that is the full projection that the low rank avoids.",
            2 * 96 * E: "the rank comes from d_model, not from the inner width.",
        },
        "rank R = d_model / 16, inner width E = 2 d_model; one matrix from E to R, one from R to E.",
    )


@exercise("recurrent/break-even", why="128 x 19 = 2432 numbers of state against 128 a position: equal at T = 19.")
def break_even(answer: Any) -> str | None:
    kept = mixer_costs(1, 64).mamba_kept
    return number(
        answer,
        kept / (2 * 64),
        {
            kept / 64: "attention keeps a key and a value at every position.",
            128 * 16 / 128: "the convolution's last inputs are part of Mamba's state.",
        },
        "set what Mamba keeps equal to 2 T d_model and solve for T.",
    )
