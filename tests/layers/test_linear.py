"""What only the linear layer must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.layers.linear import Linear, linear, linear_torch


@pytest.mark.oracle("linear-layer", by="brute force")
def test_is_the_sum_over_inputs_written_out():
    x, weight, bias = torch.randn(2, 3, 4), torch.randn(5, 4), torch.randn(5)
    expected = torch.empty(2, 3, 5)
    for b in range(2):
        for t in range(3):
            for i in range(5):
                expected[b, t, i] = sum(weight[i, j] * x[b, t, j] for j in range(4)) + bias[i]
    assert_close(linear(x, weight, bias), expected)


def test_torch_form_agrees_on_the_value_and_on_every_gradient():
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((2, 3, 4), (5, 4), (5,))]
    plain, fast = (f(*inputs) for f in (linear, linear_torch))
    assert_close(plain, fast)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), inputs), torch.autograd.grad((fast * weights).sum(), inputs)
    )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(4,), (2, 4), (2, 3, 4), (2, 3, 1, 4)])
def test_is_torchs_layer_from_the_same_seed_at_any_rank(shape, bias):
    layers = []
    for kind in (Linear, nn.Linear):
        torch.manual_seed(0)
        layers.append(kind(4, 3, bias=bias))
    assert_close(dict(layers[0].state_dict()), dict(layers[1].state_dict()), rtol=0, atol=0)
    x = torch.randn(shape)
    assert_close(layers[0](x), layers[1](x))


def test_runs_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Linear(4, 3)(torch.randn(2, 4)).dtype == torch.bfloat16


def test_weight_decay_alone_shrinks_it_by_the_product_of_rate_and_decay():
    layer = Linear(4, 3)
    before = layer.weight.detach().clone()
    (0 * layer(torch.randn(2, 4))).sum().backward()
    torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.5).step()
    assert_close(layer.weight, before * (1 - 0.1 * 0.5))


def test_the_head_of_a_language_model_without_bias_has_512_times_50257_weights():
    with torch.device("meta"):
        head = Linear(512, 50257, bias=False)
    assert [p.numel() for p in head.parameters()] == [512 * 50257]


def test_two_without_a_bend_are_one():
    first, second, x = Linear(4, 6), Linear(6, 3), torch.randn(2, 4)
    joined = linear(x, second.weight @ first.weight, second.weight @ first.bias + second.bias)
    assert_close(second(first(x)), joined)


def test_widths_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="in_features is 0"):
        Linear(0, 3)
    with pytest.raises(ValueError, match="last axis must have 4 features"):
        Linear(4, 3)(torch.zeros(2, 5))


def test_the_smallest_is_one_weight_and_it_shows_its_sizes():
    assert Linear(1, 1)(torch.ones(2, 1)).shape == (2, 1)
    assert repr(Linear(4, 3)) == "Linear(4, 3, bias=True)"
    assert repr(Linear(4, 3, bias=False)) == "Linear(4, 3, bias=False)"
