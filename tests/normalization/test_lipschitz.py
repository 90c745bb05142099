"""The norms behind spectral normalization: of a network and of a convolution."""

import pytest
import torch
from torch import nn

from nnvocab.convolution import convolution_matrix
from nnvocab.normalization.lipschitz import conv_operator_norm, lipschitz_bound
from nnvocab.normalization.spectral_norm import add_spectral_norm, remove_spectral_norm, spectral_norm


def test_no_pair_of_inputs_is_stretched_beyond_the_bound():
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))
    bound = lipschitz_bound(model)
    a, b = torch.randn(2, 2000, 6)
    with torch.no_grad():
        stretch = (model(a) - model(b)).norm(dim=1) / (a - b).norm(dim=1)
    assert stretch.max() <= bound


def test_a_linear_model_reaches_its_bound():
    layer = nn.Linear(6, 4, bias=False)
    top = torch.linalg.svd(layer.weight).Vh[0]
    assert torch.isclose(layer(top).norm(), lipschitz_bound(nn.Sequential(layer)))


def test_after_spectral_normalization_the_bound_is_1():
    model = nn.Sequential(*(add_spectral_norm(nn.Linear(8, 8), n_power_iterations=300) for _ in range(3)))
    model(torch.zeros(1, 8))
    for layer in model:
        remove_spectral_norm(layer)
    assert abs(lipschitz_bound(model).item() - 1) < 1e-3


@pytest.mark.parametrize("options", [{}, {"padding": 1}, {"stride": 2}], ids=str)
def test_the_norm_of_a_convolution_is_that_of_its_matrix(options):
    weight = torch.randn(3, 2, 3, 3)
    matrix = convolution_matrix(weight, (7, 6), **options)
    found = conv_operator_norm(weight, (7, 6), steps=300, **options)
    torch.testing.assert_close(found, torch.linalg.matrix_norm(matrix, 2), rtol=1e-3, atol=1e-3)


def test_a_normalized_kernel_still_stretches_images():
    weight = spectral_norm(torch.rand(4, 4, 3, 3))
    assert conv_operator_norm(weight, (16, 16), padding=1) > 1.3


def test_a_layer_of_unknown_stretch_is_refused():
    with pytest.raises(TypeError, match="stretch of a Conv2d is not known"):
        lipschitz_bound(nn.Sequential(nn.Conv2d(1, 1, 3)))
    with pytest.raises(TypeError, match="an nn.Sequential is needed"):
        lipschitz_bound(nn.Linear(2, 2))


def test_kernels_of_zeros_have_the_norm_zero_and_kernels_of_another_rank_are_refused():
    assert conv_operator_norm(torch.zeros(2, 1, 3, 3), (5, 5)) == 0
    with pytest.raises(ValueError, match="that of nn.Conv2d is needed"):
        conv_operator_norm(torch.zeros(2, 1, 3), (5, 5))


@pytest.mark.parametrize(
    ("layer", "factor"),
    [(nn.Sigmoid(), 0.25), *((f, 1.0) for f in (nn.ReLU(), nn.Tanh(), nn.Identity(), nn.Flatten()))],
)
def test_the_stretch_of_an_activation_is_its_steepest_slope(layer, factor):
    x = torch.linspace(-5, 5, 1001)[:, None].requires_grad_()
    (slope,) = torch.autograd.grad(layer(x).sum(), x)
    assert abs(float(slope.max()) - factor) < 1e-6
    assert lipschitz_bound(nn.Sequential(layer)) == factor
