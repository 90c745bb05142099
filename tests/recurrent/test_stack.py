"""What the recurrent layers share: how the fused kernels are called, and the stack that runs by a loop."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.recurrent import GRU, LSTM, RNN
from nnvocab.recurrent.stack import kernel_mode

PAIRS = pytest.mark.parametrize(("ours", "theirs"), [(RNN, nn.RNN), (LSTM, nn.LSTM), (GRU, nn.GRU)])


def test_a_kernel_keeps_what_gradients_need_whenever_they_are_recorded():
    layer = GRU(3, 4, 2, dropout=0.5)
    assert kernel_mode(layer) == (0.5, True)
    layer.eval()
    assert kernel_mode(layer) == (0.0, True)
    with torch.no_grad():
        assert kernel_mode(layer) == (0.0, False)


@PAIRS
def test_gradients_pass_in_evaluation_and_weights_lie_where_the_kernel_wants_them(ours, theirs, device, recwarn):
    """On a GPU, cuDNN refuses gradients in evaluation, and warns of weights that do not lie in one piece."""
    layer = ours(3, 4, 2, batch_first=True).to(device).eval()
    y, _ = layer(torch.randn(2, 5, 3, device=device))
    y.sum().backward()
    assert all(p.grad is not None for p in layer.parameters())
    assert not [w for w in recwarn if "contiguous" in str(w.message)]
    peer = theirs(3, 4, 2, batch_first=True).to(device)
    peer.load_state_dict(layer.state_dict())
    x = torch.randn(2, 5, 3, device=device)
    assert_close(layer(x), peer(x))


@pytest.mark.parametrize("more", [{}, {"bidirectional": True, "bias": False}, {"batch_first": True}])
@PAIRS
def test_torch_is_told_of_the_weights_what_its_own_layer_tells(ours, theirs, more, monkeypatch):
    told = []
    monkeypatch.setattr(nn.RNNBase, "flatten_parameters", lambda layer: told.append(layer))
    layer, peer = ours(3, 4, 2, **more), theirs(3, 4, 2, **more)
    told.clear()
    layer.double()
    (ours_tells,) = told
    for name, value in vars(ours_tells).items():
        if name != "_flat_weights":
            assert value == getattr(peer, name), name
    assert [w.data_ptr() for w in ours_tells._flat_weights] == [w.data_ptr() for w in layer.parameters()]


def test_no_output_is_dropped_after_the_last_layer():
    layer = GRU(3, 4, 2, batch_first=True, dropout=1.0, reset_after=False)
    y, last = layer(torch.randn(2, 5, 3))
    assert (y != 0).all()  # all that the second layer reads is dropped, and nothing that it says
    assert_close(y[:, -1], last[-1])
