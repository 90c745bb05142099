"""What only weight normalization must hold; the contract tests run on every entry beside these."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from torch.testing import assert_close

from nnvocab.normalization.weight_norm import (
    add_weight_norm,
    initialize_from_batch,
    remove_weight_norm,
    weight_norm,
    weight_norm_fused,
)

LAYERS = {"linear": lambda: nn.Linear(4, 3), "conv": lambda: nn.Conv2d(2, 3, 3)}
INPUTS = {"linear": (5, 4), "conv": (5, 2, 6, 6)}


@pytest.mark.oracle("weight-normalization", by="brute force")
def test_each_row_is_its_length_times_its_direction():
    v, g = torch.randn(3, 4, dtype=torch.float64), torch.rand(3, 1, dtype=torch.float64)
    expected = torch.empty_like(v)
    for o in range(3):
        length = sum(n * n for n in v[o].tolist()) ** 0.5
        for i in range(4):
            expected[o, i] = g[o, 0] * v[o, i] / length
    assert_close(weight_norm(v, g), expected)


@pytest.mark.parametrize("dim", [0, 1, -1, -2])
def test_a_layer_keeps_its_weight_whatever_axis_has_the_lengths(dim):
    layer = nn.Conv2d(3, 4, 2)
    before = layer.weight.detach().clone()
    add_weight_norm(layer, dim=dim)
    assert_close(layer.weight, before)
    g, v = layer.parametrizations.weight.parameters()
    other = [a for a in range(4) if a != dim % 4]
    with torch.no_grad():
        g.mul_(2)
    assert_close(layer.weight, 2 * before)
    assert_close(layer.weight.square().sum(other, keepdim=True).sqrt(), g)


@pytest.mark.parametrize(
    ("shape", "dim"), [((3, 4), 0), ((3, 4), 1), ((3, 4), -2), ((3, 2, 3, 3), 0), ((2, 3, 3, 4), -1)]
)
def test_fused_form_agrees_on_the_value_and_on_every_gradient(shape, dim):
    v = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    lengths = [1] * len(shape)
    lengths[dim] = shape[dim]
    g = torch.rand(lengths, dtype=torch.float64, requires_grad=True)
    plain, fused = weight_norm(v, g, dim), weight_norm_fused(v, g, dim % len(shape))
    assert_close(plain, fused)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), (v, g)), torch.autograd.grad((fused * weights).sum(), (v, g))
    )


@pytest.mark.parametrize("kind", LAYERS)
def test_is_torchs_parametrization_and_its_checkpoints_fit(kind):
    layer = LAYERS[kind]()
    ours, theirs = add_weight_norm(copy.deepcopy(layer)), parametrizations.weight_norm(copy.deepcopy(layer))
    x = torch.randn(INPUTS[kind])
    assert_close(ours(x), layer(x))
    assert_close(dict(ours.state_dict()), dict(theirs.state_dict()))
    theirs.load_state_dict(ours.state_dict())
    ours(x).sum().backward()
    theirs(x).sum().backward()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_close(a.grad, b.grad)


def test_the_gradient_of_v_is_at_a_right_angle_to_v_and_steps_lengthen_it():
    v = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    g = torch.rand(3, 1, dtype=torch.float64)
    (weight_norm(v, g) * torch.randn(3, 4, dtype=torch.float64)).sum().backward()
    assert_close((v * v.grad).sum(1), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)
    assert ((v - 0.1 * v.grad).norm(dim=1) > v.norm(dim=1)).all()


@pytest.mark.parametrize("kind", LAYERS)
def test_fusing_leaves_one_weight_and_the_same_output(kind):
    layer, x = add_weight_norm(LAYERS[kind]()), torch.randn(INPUTS[kind])
    with torch.no_grad():
        layer.parametrizations.weight.original0.mul_(3)
    y = layer(x)
    assert_close(remove_weight_norm(layer)(x), y)
    assert not parametrize.is_parametrized(layer) and sorted(n for n, _ in layer.named_parameters()) == [
        "bias",
        "weight",
    ]


@pytest.mark.parametrize(("kind", "shape"), [("linear", (64, 4)), ("linear", (16, 5, 4)), ("conv", (64, 2, 6, 6))])
def test_the_first_batch_gives_every_output_mean_0_and_variance_1(kind, shape):
    x = 3 + 2 * torch.randn(shape)
    layer = initialize_from_batch(add_weight_norm(LAYERS[kind]()), x)
    y = layer(x).movedim(-1 if kind == "linear" else 1, 0).flatten(1)
    assert_close(y.mean(1), torch.zeros(3), atol=1e-4, rtol=0)
    assert_close(y.std(1, correction=0), torch.ones(3), atol=1e-4, rtol=0)


def test_what_cannot_be_normalized_is_refused():
    layer = nn.Linear(4, 3)
    nn.init.zeros_(layer.weight)
    with pytest.raises(ValueError, match="has no direction"):
        add_weight_norm(layer)
    with pytest.raises(ValueError, match="dim is 2"):
        add_weight_norm(nn.Linear(4, 3), dim=2)
    with pytest.raises(ValueError, match="has no weight normalization"):
        remove_weight_norm(nn.Linear(4, 3))
    with pytest.raises(ValueError, match="call add_weight_norm"):
        initialize_from_batch(nn.Linear(4, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="needs a bias"):
        initialize_from_batch(add_weight_norm(nn.Linear(4, 3, bias=False)), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="along dim 0"):
        initialize_from_batch(add_weight_norm(nn.Linear(4, 3), dim=1), torch.zeros(2, 4))
    with pytest.raises(TypeError, match="layer is a ConvTranspose2d"):
        initialize_from_batch(add_weight_norm(nn.ConvTranspose2d(3, 3, 3)), torch.zeros(2, 3, 4, 4))
    with pytest.raises(ValueError, match="parametrized already"):
        add_weight_norm(add_weight_norm(nn.Linear(4, 3)))
    for form in (weight_norm, weight_norm_fused):
        with pytest.raises(ValueError, match=r"one length for each slice is needed: \(3, 1\)"):
            form(torch.ones(3, 4), torch.ones(4))
        with pytest.raises(ValueError, match="dim is 2"):
            form(torch.ones(3, 4), torch.ones(3, 1), 2)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_batch_that_says_nothing_leaves_the_layer_as_it_was(kind):
    layer = add_weight_norm(LAYERS[kind]())
    before = copy.deepcopy(layer.state_dict())
    for x, message in (
        (torch.ones(INPUTS[kind]), "inputs differ"),
        (torch.randn(INPUTS[kind][1:]), "a batch is needed"),
    ):
        with pytest.raises(ValueError, match=message):
            initialize_from_batch(layer, x)
    assert_close(layer.state_dict(), before, rtol=0, atol=0)
