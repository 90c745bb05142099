"""What only the measurement of scales by depth must hold."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.normalization import LayerNorm, RMSNorm
from nnvocab.normalization.depth import activation_scales, gradient_scales


def stack(gain, norm=None, depth=20, width=64):
    layers = []
    for _ in range(depth):
        linear = nn.Linear(width, width, bias=False)
        nn.init.normal_(linear.weight, std=gain * (2 / width) ** 0.5)
        layers.append(nn.Sequential(linear, *([norm(width)] if norm else []), nn.ReLU()))
    return layers


@pytest.mark.oracle("why-normalization-matters", by="closed form")
def test_a_layer_that_doubles_doubles_the_scale_forward_and_the_gradient_backward():
    layers, x = [lambda t: 2 * t] * 4, torch.randn(3, 50)
    first = x.square().mean(1).sqrt()
    assert_close(activation_scales(layers, x), first[:, None] * 2.0 ** torch.arange(5))
    found = gradient_scales(layers, x, generator=torch.Generator().manual_seed(0))
    assert_close(found, found[:, -1:] * 2.0 ** torch.arange(4, -1, -1))


@pytest.mark.parametrize("gain", [0.5, 1.5])
def test_a_badly_scaled_stack_drifts_geometrically_and_a_normalized_one_does_not(gain):
    x = torch.randn(64, 64)
    with torch.no_grad():
        drift = activation_scales(stack(gain), x).mean(0)
        held = {norm: activation_scales(stack(gain, norm), x).mean(0) for norm in (LayerNorm, RMSNorm)}
    rate = (drift[-1] / drift[0]) ** (1 / 20)
    assert abs(rate.item() / gain - 1) < 0.15
    for scales in held.values():
        assert (scales > 0.3).all() and (scales < 2).all()


def test_gradients_of_a_normalized_stack_keep_their_size_too():
    x = torch.randn(64, 64)
    assert gradient_scales(stack(1.5), x)[:, 0].mean() > 100
    assert 0.05 < gradient_scales(stack(1.5, LayerNorm), x)[:, 0].mean() < 20


def test_the_gradient_goes_back_through_layers_of_other_widths():
    first, second, x = nn.Linear(6, 4), nn.Linear(4, 3), torch.randn(2, 6)
    end = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    expected = [g.square().mean(1).sqrt() for g in (end @ second.weight @ first.weight, end @ second.weight, end)]
    found = gradient_scales([first, second], x, generator=torch.Generator().manual_seed(0))
    assert_close(found, torch.stack(expected, 1))


def test_no_layer_is_refused():
    for measure in (activation_scales, gradient_scales):
        with pytest.raises(ValueError, match="at least one layer"):
            measure([], torch.zeros(1, 2))
        with pytest.raises(ValueError, match=r"x\[None\]"):
            measure([nn.ReLU()], torch.zeros(2))
