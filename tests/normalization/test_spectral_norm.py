"""What only spectral normalization must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.testing import assert_close

from nnvocab.normalization.spectral_norm import (
    SpectralNorm,
    add_spectral_norm,
    power_iteration,
    remove_spectral_norm,
    spectral_norm,
    spectral_norm_power,
)


@pytest.mark.oracle("spectral-normalization", by="closed form")
def test_the_largest_singular_value_becomes_1_and_the_others_keep_their_ratio():
    u, v = (torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0] for _ in range(2))
    values = torch.tensor([6.0, 3.0, 2.0, 0.5], dtype=torch.float64)
    normal = spectral_norm(u @ values.diag() @ v.mT)
    assert_close(torch.linalg.svdvals(normal), values / 6)


@pytest.mark.oracle("spectral-normalization", by="peer: torch.linalg.svd")
def test_the_layer_comes_to_what_a_full_decomposition_says():
    layer = nn.Linear(8, 5)
    weight = layer.weight.detach().clone()
    add_spectral_norm(layer, n_power_iterations=100)
    layer(torch.zeros(1, 8))
    assert_close(layer.weight, weight / torch.linalg.svdvals(weight)[0])


@pytest.mark.parametrize(("shape", "dim"), [((4, 6), 0), ((3, 2, 3, 3), 0), ((2, 4, 3, 3), 1), ((4, 6), -2)])
def test_power_iteration_agrees_on_the_value_and_on_the_gradient(shape, dim):
    weight = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    plain, fast = spectral_norm(weight, dim), spectral_norm_power(weight, dim, steps=500)
    assert_close(plain, fast)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), weight), torch.autograd.grad((fast * weights).sum(), weight)
    )


def test_is_torchs_parametrization_step_by_step():
    layers = []
    for add in (add_spectral_norm, parametrizations.spectral_norm):
        torch.manual_seed(0)
        layers.append(add(nn.Linear(6, 4)))
    ours, theirs = layers
    made = theirs.parametrizations.weight[0]
    ours.parametrizations.weight[0].load_state_dict({"u": made._u, "v": made._v})
    for _ in range(3):
        x = torch.randn(5, 6)
        assert_close(ours(x), theirs(x))
        ours.zero_grad(), theirs.zero_grad()
        ours(x).sum().backward(), theirs(x).sum().backward()
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert_close(a.grad, b.grad)
    assert_close(ours.eval()(x), theirs.eval()(x))


def test_vectors_move_in_training_and_stand_still_in_evaluation():
    layer, x = add_spectral_norm(nn.Linear(6, 4)), torch.randn(2, 6)
    with torch.no_grad():
        layer.parametrizations.weight.original.copy_(torch.randn(4, 6))
    made = layer.parametrizations.weight[0]
    before = made.u.clone()
    layer.eval()(x)
    assert_close(made.u, before, rtol=0, atol=0)
    layer.train()(x)
    assert not torch.allclose(made.u, before)
    assert {"parametrizations.weight.0.u", "parametrizations.weight.0.v"} <= set(layer.state_dict())


def test_a_kernel_of_small_numbers_is_divided_along_its_outputs_all_the_same():
    weight = 1e-6 * torch.randn(3, 2, 3, 3)
    layer = nn.Conv2d(2, 3, 3)
    with torch.no_grad():
        layer.weight.copy_(weight)
    exact = weight / torch.linalg.svdvals(weight.flatten(1))[0]
    add_spectral_norm(layer, n_power_iterations=500)
    for found in (
        spectral_norm(weight),
        spectral_norm_power(weight, steps=500),
        SpectralNorm(weight, 500)(weight),
        layer.weight,
    ):
        assert_close(found, exact)


def test_one_step_from_a_random_start_falls_short_and_many_reach_it():
    matrix = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    start = nn.functional.normalize(torch.randn(64, generator=torch.Generator().manual_seed(1)), dim=0)

    def left(steps):
        u, v = power_iteration(matrix, start, steps)
        return torch.linalg.matrix_norm(matrix / (u @ matrix @ v), 2).item()

    assert left(1) > 1.2 and abs(left(500) - 1) < 1e-3


def test_fusing_keeps_the_divided_weight():
    layer, x = add_spectral_norm(nn.Linear(6, 4)).eval(), torch.randn(2, 6)
    y = layer(x)
    assert_close(remove_spectral_norm(layer)(x), y)
    with pytest.raises(ValueError, match="has no spectral normalization"):
        remove_spectral_norm(layer)


def test_what_cannot_be_normalized_is_refused():
    with pytest.raises(ValueError, match="two axes or more"):
        SpectralNorm(torch.zeros(3))
    with pytest.raises(ValueError, match="at least 1"):
        SpectralNorm(torch.randn(3, 3), 0)
    for call in (SpectralNorm, spectral_norm, spectral_norm_power):
        with pytest.raises(ValueError, match="dim is 2"):
            call(torch.randn(3, 3), dim=2)
        with pytest.raises(ValueError, match="two axes or more"):
            call(torch.zeros(3))
    with pytest.raises(ValueError, match="the weight is 0"):
        SpectralNorm(torch.zeros(3, 3))
    with pytest.raises(ValueError, match="at least 1"):
        power_iteration(torch.eye(2), torch.ones(2), 0)


def test_a_transposed_convolution_is_divided_along_its_outputs():
    layer = nn.ConvTranspose2d(2, 4, 3)
    weight = layer.weight.detach().clone()
    add_spectral_norm(layer, n_power_iterations=200, dim=1)
    layer(torch.zeros(1, 2, 4, 4))
    assert_close(layer.weight, weight / torch.linalg.matrix_norm(weight.movedim(1, 0).flatten(1), 2))


def test_another_parameter_than_the_weight_may_be_divided():
    layer = add_spectral_norm(nn.LSTM(4, 3), "weight_hh_l0", n_power_iterations=100)
    layer(torch.zeros(2, 1, 4))
    assert_close(torch.linalg.matrix_norm(layer.weight_hh_l0, 2), torch.tensor(1.0))
