"""What a hidden state must hold: it is all of the past that the future sees."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.recurrent import GRU, LSTM, RNN, hidden_states

KINDS = [RNN, LSTM, GRU, nn.RNN, nn.LSTM, nn.GRU]


@pytest.mark.oracle("hidden-state", by="peer: torch.nn.RNN")
@pytest.mark.parametrize("kind", KINDS)
def test_step_by_step_is_the_whole_sequence(kind):
    layer, x = kind(3, 4, 2, batch_first=True), torch.randn(2, 6, 3)
    outputs, states = hidden_states(layer, x)
    y, last = layer(x)
    assert_close(outputs, y)
    assert_close(states[-1], last)
    assert len(states) == 6


@pytest.mark.parametrize("kind", KINDS)
def test_forgetting_in_the_middle_is_beginning_anew(kind):
    layer, x = kind(3, 4, batch_first=True), torch.randn(2, 6, 3)
    outputs, _ = hidden_states(layer, x, replace={4: None})
    assert_close(outputs[:, :4], layer(x)[0][:, :4])
    assert_close(outputs[:, 4:], layer(x[:, 4:])[0])


@pytest.mark.parametrize("kind", KINDS)
def test_with_the_memory_of_another_sequence_it_goes_on_as_that_one(kind):
    layer, x, other = kind(3, 4, batch_first=True), torch.randn(1, 6, 3), torch.randn(1, 6, 3)
    _, states = hidden_states(layer, other)
    swapped, _ = hidden_states(layer, x, replace={3: states[2]})
    mixed = torch.cat([other[:, :3], x[:, 3:]], dim=1)
    assert_close(swapped[:, 3:], layer(mixed)[0][:, 3:])


@pytest.mark.parametrize("kind", KINDS)
def test_a_memory_put_before_the_first_step_is_the_state_it_begins_with(kind):
    layer, x = kind(3, 4, batch_first=True), torch.randn(2, 6, 3)
    state = layer(torch.randn(2, 3, 3))[1]
    outputs, states = hidden_states(layer, x, replace={0: state})
    assert_close((outputs, states[-1]), layer(x, state))


def test_states_that_were_returned_do_not_change_later():
    layer, x = RNN(3, 4, batch_first=True), torch.randn(1, 4, 3)
    _, states = hidden_states(layer, x)
    assert not torch.equal(states[0], states[1])
    assert_close(states[1], layer(x[:, :2])[1])


def test_a_sequence_without_a_batch_is_refused():
    with pytest.raises(ValueError, match=r"shape \(5, 3\)"):
        hidden_states(nn.RNN(3, 4, batch_first=True), torch.randn(5, 3))


@pytest.mark.parametrize(
    ("layer", "T", "replace", "message"),
    [
        (RNN(3, 4), 5, {}, "batch_first=True"),
        (RNN(3, 4, batch_first=True), 5, {5: None}, "steps 0 to 4"),
        (RNN(3, 4, batch_first=True), 5, {-1: None}, "steps 0 to 4"),
        (RNN(3, 4, batch_first=True), 0, {}, "at least one step"),
        (nn.RNN(3, 4, batch_first=True, bidirectional=True), 5, {}, "bidirectional"),
        (RNN(3, 4, batch_first=True), 5, {2: torch.zeros(1, 9, 4)}, "state has shape"),
    ],
)
def test_what_does_not_fit_is_refused(layer, T, replace, message):
    with pytest.raises(ValueError, match=message):
        hidden_states(layer, torch.randn(1, T, 3), replace=replace)
