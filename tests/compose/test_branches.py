"""Layers made fit to be branches."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.compose.branches import SequenceBranch, Slice


@pytest.mark.parametrize("layer", [nn.LSTM(6, 4, batch_first=True), nn.GRU(6, 4, batch_first=True), nn.Linear(6, 4)])
def test_takes_the_steps_that_are_asked_for(layer):
    x = torch.randn(2, 5, 6)
    h = layer(x)
    h = h[0] if isinstance(h, tuple) else h
    expected = {"last": h[:, 4], "mean": h.sum(1) / 5, "all": h, "flat": h.reshape(2, 20)}
    for take, y in expected.items():
        assert_close(SequenceBranch(layer, take=take)(x), y)


def test_attention_attends_to_its_own_input():
    layer, x = nn.MultiheadAttention(8, 2, batch_first=True), torch.randn(2, 5, 8)
    assert_close(SequenceBranch(layer, take="all")(x), layer(x, x, x)[0])


def test_a_vector_is_a_single_step():
    layer, x = nn.LSTM(6, 4, batch_first=True), torch.randn(3, 6)
    assert_close(SequenceBranch(layer)(x), layer(x[:, None])[0][:, 0])


def test_a_slice_is_the_part_in_its_shape():
    x = torch.arange(24.0).reshape(2, 12)
    assert_close(Slice(4, 10, (2, 3))(x)[1], torch.tensor([[16.0, 17, 18], [19, 20, 21]]))
    assert "4, 10" in repr(Slice(4, 10))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="'last', 'mean'"):
        SequenceBranch(nn.Linear(2, 2), take="first")
    with pytest.raises(ValueError, match="batch_first=True"):
        SequenceBranch(nn.LSTM(2, 2))
    with pytest.raises(ValueError, match=r"\(B, T, C\) is needed"):
        SequenceBranch(nn.Linear(2, 2))(torch.zeros(2))
    with pytest.raises(ValueError, match="is empty"):
        Slice(3, 3)
    with pytest.raises(ValueError, match="holds 4 numbers"):
        Slice(0, 5, (2, 2))
    with pytest.raises(ValueError, match="at least 5"):
        Slice(0, 5)(torch.zeros(1, 4))


def test_an_encoder_layer_must_not_put_time_first():
    with pytest.raises(ValueError, match="batch_first=True"):
        SequenceBranch(nn.TransformerEncoderLayer(8, 2))
    layer = nn.TransformerEncoderLayer(8, 2, batch_first=True).eval()
    x = torch.randn(3, 5, 8)
    assert_close(SequenceBranch(layer)(x), layer(x)[:, 4])


def test_a_sequence_without_steps_and_a_layer_that_returns_none_are_refused():
    with pytest.raises(ValueError, match="without a step"):
        SequenceBranch(nn.Linear(2, 2), take="mean")(torch.zeros(1, 0, 2))
    with pytest.raises(ValueError, match=r"Flatten returned shape \(1, 6\)"):
        SequenceBranch(nn.Flatten())(torch.zeros(1, 3, 2))


def test_a_cut_may_know_how_wide_the_whole_is():
    assert_close(Slice(1, 3, width=4)(torch.arange(4.0)[None]), torch.tensor([[1.0, 2.0]]))
    with pytest.raises(ValueError, match=r"\(B, 4\) is needed"):
        Slice(1, 3, width=4)(torch.zeros(1, 5))
    with pytest.raises(ValueError, match="input is 2 wide"):
        Slice(1, 3, width=2)
