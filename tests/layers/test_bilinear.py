"""What only the bilinear layer must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.layers.bilinear import Bilinear, bilinear, bilinear_torch


@pytest.mark.oracle("bilinear-layer", by="brute force")
def test_is_the_sum_over_pairs_written_out():
    x1, x2, weight, bias = torch.randn(2, 3), torch.randn(2, 4), torch.randn(5, 3, 4), torch.randn(5)
    expected = torch.empty(2, 5)
    for b in range(2):
        for k in range(5):
            pairs = [x1[b, i] * weight[k, i, j] * x2[b, j] for i in range(3) for j in range(4)]
            expected[b, k] = sum(pairs) + bias[k]
    assert_close(bilinear(x1, x2, weight, bias), expected)


def test_torch_form_agrees_on_the_value_and_on_every_gradient():
    shapes = ((2, 3, 4), (2, 3, 5), (6, 4, 5), (6,))
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    plain, fast = (f(*inputs) for f in (bilinear, bilinear_torch))
    assert_close(plain, fast)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), inputs), torch.autograd.grad((fast * weights).sum(), inputs)
    )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_is_torchs_layer_from_the_same_seed(bias, lead):
    layers = []
    for kind in (Bilinear, nn.Bilinear):
        torch.manual_seed(0)
        layers.append(kind(4, 3, 2, bias=bias))
    x1, x2 = torch.randn(*lead, 4), torch.randn(*lead, 3)
    assert layers[0].weight.shape == (2, 4, 3)
    assert_close(dict(layers[0].state_dict()), dict(layers[1].state_dict()), rtol=0, atol=0)
    assert_close(layers[0](x1, x2), layers[1](x1, x2))


def test_is_linear_in_each_input_but_not_in_both():
    layer = Bilinear(4, 3, 2, bias=False)
    a, b, c = torch.randn(4), torch.randn(4), torch.randn(3)
    assert_close(layer(a + 2 * b, c), layer(a, c) + 2 * layer(b, c))
    assert_close(layer(2 * a, 2 * c), 4 * layer(a, c))


def test_inputs_that_do_not_fit_are_refused():
    layer = Bilinear(4, 3, 2)
    with pytest.raises(ValueError, match="x2 has the shape"):
        layer(torch.zeros(2, 4), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="all axes but the last must be equal"):
        layer(torch.zeros(2, 4), torch.zeros(5, 3))
    for sizes in ((0, 3, 2), (4, 0, 2), (4, 3, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            Bilinear(*sizes)


def test_the_smallest_is_one_weight():
    assert Bilinear(1, 1, 1)(torch.ones(2, 1), torch.ones(2, 1)).shape == (2, 1)
    assert Bilinear(1, 1, 1).state_dict().keys() == nn.Bilinear(1, 1, 1).state_dict().keys()
