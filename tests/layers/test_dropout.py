"""What only the dropout layer must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.layers.dropout import Dropout, dropout, dropout_torch


@pytest.mark.oracle("dropout-layer", by="brute force")
def test_each_number_is_zero_or_enlarged():
    x, kept = torch.randn(3, 4), torch.rand(3, 4) > 0.3
    y = dropout(x, kept, 0.3)
    for i in range(3):
        for j in range(4):
            assert y[i, j] == pytest.approx(x[i, j].item() / 0.7 if kept[i, j] else 0.0, rel=1e-5)


def test_torch_form_agrees_on_the_value_and_on_the_gradient_with_the_mask_it_drew():
    x = (1 + torch.rand(50, 40, dtype=torch.float64)).requires_grad_()  # no zeros, so that the mask can be read off
    fast = dropout_torch(x, 0.3)
    plain = dropout(x, fast.detach() != 0, 0.3)
    assert_close(plain, fast)
    weights = torch.randn_like(plain)
    assert_close(torch.autograd.grad((plain * weights).sum(), x), torch.autograd.grad((fast * weights).sum(), x))


def test_is_torchs_layer_from_the_same_seed():
    x, results = torch.randn(50, 40), []
    for kind in (Dropout, nn.Dropout):
        torch.manual_seed(0)
        results.append(kind(0.4)(x))
    assert_close(*results, rtol=0, atol=0)


def test_keeps_the_mean_and_drops_the_share_that_is_asked_for():
    y = Dropout(0.2)(torch.ones(100_000))
    assert abs((y == 0).float().mean().item() - 0.2) < 0.01 and abs(y.mean().item() - 1) < 0.01


def test_evaluation_and_a_share_of_zero_hand_the_input_on():
    x = torch.randn(5)
    assert Dropout(0.5).eval()(x) is x and Dropout(0.0)(x) is x


@pytest.mark.parametrize("p", [-0.1, 1.0, 2.0])
def test_a_share_out_of_range_is_refused(p):
    with pytest.raises(ValueError, match="from 0 to below 1"):
        Dropout(p)


def test_drops_half_unless_told_otherwise_as_torchs_does():
    assert Dropout().p == nn.Dropout().p == 0.5
    x = torch.ones(100)
    assert_close(dropout(x, x > 0), 2 * x)
    assert set(dropout_torch(x).tolist()) == {0.0, 2.0}
