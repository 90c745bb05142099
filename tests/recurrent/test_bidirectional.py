"""What a bidirectional network must hold: each direction begins at a true end, whatever the padding."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.testing import assert_close

from nnvocab.recurrent import GRU, LSTM, RNN, Bidirectional, reverse_padded

KINDS = {"RNN": (RNN, nn.RNN), "LSTM": (LSTM, nn.LSTM), "GRU": (GRU, nn.GRU)}


def two_ways(kind, **options):
    """One of our bidirectional networks and torch's, with the same weights."""
    ours, torchs = KINDS[kind]
    both = torchs(3, 4, batch_first=True, bidirectional=True)
    state = both.state_dict()
    there, back = ours(3, 4, batch_first=True), ours(3, 4, batch_first=True)
    there.load_state_dict({k: v for k, v in state.items() if not k.endswith("_reverse")})
    back.load_state_dict({k.removesuffix("_reverse"): v for k, v in state.items() if k.endswith("_reverse")})
    return Bidirectional(there, back, **options), both


@pytest.mark.oracle("bidirectional-recurrent-network", by="peer: torch.nn.LSTM")
@pytest.mark.parametrize("kind", KINDS)
def test_is_torchs_bidirectional_layer_on_packed_sequences(kind):
    ours, theirs = two_ways(kind)
    x, lengths = torch.randn(4, 6, 3), torch.tensor([6, 1, 4, 5])
    packed, state = theirs(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
    expected, _ = pad_packed_sequence(packed, batch_first=True)
    h = state[0] if kind == "LSTM" else state
    y, last = ours(x, lengths)
    assert_close(y, expected)
    assert_close(last, torch.cat([h[0], h[1]], dim=-1))


@pytest.mark.parametrize("kind", KINDS)
def test_without_lengths_every_step_is_true(kind):
    ours, theirs = two_ways(kind)
    x = torch.randn(2, 5, 3)
    assert_close(ours(x)[0], theirs(x)[0])


def test_sum_adds_the_two_halves():
    ours, theirs = two_ways("GRU", merge="sum")
    x = torch.randn(2, 5, 3)
    y = theirs(x)[0]
    assert_close(ours(x)[0], y[..., :4] + y[..., 4:])


def test_what_stands_in_the_padding_changes_nothing():
    ours, _ = two_ways("LSTM")
    x, lengths = torch.randn(2, 6, 3), torch.tensor([6, 3])
    other = x.clone()
    other[1, 3:] = 99.0
    assert_close(ours(x, lengths), ours(other, lengths))
    assert ours(x, lengths)[0][1, 3:].abs().max() == 0


def test_turning_the_whole_padded_batch_around_is_wrong():
    ours, _ = two_ways("LSTM")
    x, lengths = torch.randn(1, 6, 3), torch.tensor([3])
    naive = ours.backward_layer(x.flip(1))[0].flip(1)[:, :3]
    assert not torch.allclose(naive, ours(x, lengths)[0][:, :3, 4:])


def test_reversal_stays_within_the_length_and_is_its_own_inverse():
    x, lengths = torch.arange(10.0).view(2, 5, 1), torch.tensor([5, 2])
    turned = reverse_padded(x, lengths)
    assert turned[..., 0].tolist() == [[4, 3, 2, 1, 0], [6, 5, 7, 8, 9]]
    assert_close(reverse_padded(turned, lengths), x)


def test_every_step_sees_both_ends():
    ours, _ = two_ways("RNN")
    x = torch.randn(1, 5, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(ours(x)[0][:, 2].sum(), x)
    assert gradient.norm(dim=-1).gt(0).all()


def test_the_directions_may_differ_in_kind_and_width():
    both = Bidirectional(LSTM(3, 4, batch_first=True), nn.GRU(3, 5, batch_first=True))
    assert both(torch.randn(2, 6, 3))[0].shape == (2, 6, 9)


def test_a_layer_that_says_nothing_of_batch_first_may_be_used():
    class Halved(nn.Module):
        def forward(self, x):
            return (x / 2,)

    x, lengths = torch.randn(2, 5, 3), torch.tensor([5, 2])
    y, last = Bidirectional(Halved(), Halved())(x, lengths)
    assert_close(y[0], torch.cat([x[0], x[0]], dim=-1) / 2)
    assert_close(last[1], torch.cat([x[1, 1], x[1, 0]]) / 2)


def a_layer(**options):
    return Bidirectional(RNN(3, 4, batch_first=True), RNN(3, 4, batch_first=True), **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: a_layer(merge="mean"), "'concat' or 'sum'"),
        (lambda: Bidirectional(RNN(3, 4), RNN(3, 4)), "batch_first=True"),
        (lambda: Bidirectional(*[RNN(3, 4, batch_first=True)] * 2), "same module"),
        (lambda: a_layer()(torch.randn(2, 3)), r"\(B, T, C\)"),
        (lambda: a_layer()(torch.randn(2, 0, 3)), "at least one step"),
        (lambda: a_layer()(torch.randn(2, 5, 3), torch.tensor([5, 6])), "from 1 to T = 5"),
        (lambda: a_layer()(torch.randn(2, 5, 3), torch.tensor([5, 0])), "from 1 to T = 5"),
        (lambda: a_layer()(torch.randn(2, 5, 3), torch.tensor([5])), "give 2 integers"),
        (lambda: a_layer()(torch.randn(2, 5, 3), torch.tensor([5.0, 4.0])), "give 2 integers"),
        (lambda: reverse_padded(torch.randn(2, 5, 3), torch.tensor([True, True])), "give 2 integers"),
        (lambda: reverse_padded(torch.randn(2, 5, 3), torch.tensor([5, 6])), "from 1 to T = 5"),
        (lambda: reverse_padded(torch.randn(2, 5), torch.tensor([5, 5])), r"\(B, T, C\)"),
        (
            lambda: Bidirectional(RNN(3, 4, batch_first=True), RNN(3, 5, batch_first=True), merge="sum")(
                torch.randn(2, 5, 3)
            ),
            "cannot be summed",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
