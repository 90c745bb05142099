"""Several senses in one input."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.compose.branches import SequenceBranch
from nnvocab.compose.fusion import multimodal_fusion
from nnvocab.compose.sequential import Sequential


def senses():
    picture = Sequential(nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten())
    words = SequenceBranch(nn.LSTM(64, 32, batch_first=True))
    sound = Sequential(nn.Linear(64, 32), SequenceBranch(nn.MultiheadAttention(32, 4, batch_first=True)))
    return {"picture": ((1, 8, 8), picture), "words": ((10, 64), words), "sound": ((64,), sound)}


@pytest.mark.oracle("multi-modal-fusion-with-parallel-branches", by="brute force")
def test_each_encoder_reads_its_part():
    parts = senses()
    layer = multimodal_fusion(parts)
    x = torch.randn(2, 64 + 640 + 64)
    by_hand = [
        parts["picture"][1](x[:, :64].reshape(2, 1, 8, 8)),
        parts["words"][1](x[:, 64:704].reshape(2, 10, 64)),
        parts["sound"][1](x[:, 704:]),
    ]
    assert_close(layer(x), torch.cat(by_hand, 1))
    assert [h.shape[1] for h in by_hand] == [256, 32, 32]
    assert layer.output_shape((768,)) == (320,)


def test_a_gate_mixes_stitched_parts():
    layer = multimodal_fusion(senses(), out_features=24, gated=True)
    x = torch.randn(2, 768)
    w = layer.gate(x)
    assert_close(layer(x), sum(w[:, i : i + 1] * b(x) for i, b in enumerate(layer.branches)))
    assert layer.output_shape((768,)) == (24,)


def test_a_sense_does_not_see_the_others():
    layer, x = multimodal_fusion(senses()), torch.randn(1, 768)
    other = x.clone()
    other[:, 64:] += 1
    assert_close(layer(x)[:, :256], layer(other)[:, :256])


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="no sense"):
        multimodal_fusion({})
    with pytest.raises(ValueError, match="give out_features="):
        multimodal_fusion(senses(), gated=True)
    with pytest.raises(ValueError, match="encoder of 'a': Linear cannot take"):
        multimodal_fusion({"a": ((3,), nn.Linear(4, 2))})
    with pytest.raises(ValueError, match=r"nn.Flatten\(\)"):
        multimodal_fusion({"a": ((1, 4, 4), nn.Conv2d(1, 2, 3))})


def test_stitches_and_gate_have_the_type_of_the_encoders():
    parts = {"a": ((3,), nn.Linear(3, 2).double()), "b": ((2,), nn.Linear(2, 5).double())}
    layer = multimodal_fusion(parts, out_features=4, gated=True)
    assert layer(torch.randn(2, 5, dtype=torch.float64)).shape == (2, 4)


def test_an_input_that_the_parts_do_not_fill_is_refused():
    layer = multimodal_fusion({"a": ((3,), nn.Linear(3, 2)), "b": ((2,), nn.Linear(2, 5))})
    with pytest.raises(ValueError, match=r"\(B, 5\) is needed"):
        layer(torch.zeros(1, 6))
