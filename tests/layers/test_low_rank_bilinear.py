"""What only the low-rank bilinear layer must hold; the contract tests run on every entry beside these."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.layers.low_rank_bilinear import LowRankBilinear, low_rank_bilinear, low_rank_bilinear_factored


@pytest.mark.oracle("low-rank-bilinear-layer", by="peer: torch.nn.functional.bilinear")
def test_is_a_bilinear_layer_whose_cube_is_a_sum_of_products_of_three_vectors():
    layer = LowRankBilinear(4, 3, 5, rank=2)
    cube = sum(
        layer.out[:, r].view(-1, 1, 1) * layer.left[r].view(1, -1, 1) * layer.right[r].view(1, 1, -1) for r in range(2)
    )
    x1, x2 = torch.randn(6, 4), torch.randn(6, 3)
    assert_close(layer(x1, x2), F.bilinear(x1, x2, cube, layer.bias))


def test_factored_form_agrees_on_the_value_and_on_every_gradient():
    shapes = ((2, 4), (2, 3), (6, 4), (6, 3), (5, 6), (5,))
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    plain, fast = (f(*inputs) for f in (low_rank_bilinear, low_rank_bilinear_factored))
    assert_close(plain, fast)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), inputs), torch.autograd.grad((fast * weights).sum(), inputs)
    )


def test_weights_begin_spread_over_one_by_the_root_of_their_inputs_on_both_sides_of_zero():
    layer = LowRankBilinear(64, 100, 80, rank=49)
    for weight in (layer.left, layer.right, layer.out):
        bound = weight.shape[1] ** -0.5
        assert -bound <= weight.min() < -0.9 * bound and 0.9 * bound < weight.max() <= bound
        assert weight.mean().abs() < 0.05 * bound


def test_what_makes_no_layer_is_refused():
    for sizes in ((4, 3, 2, 0), (0, 3, 2, 1), (4, 0, 2, 1), (4, 3, 0, 1)):
        with pytest.raises(ValueError, match="at least 1"):
            LowRankBilinear(*sizes)
    with pytest.raises(ValueError, match="x1 has the shape"):
        LowRankBilinear(4, 3, 2, rank=1)(torch.zeros(2, 3), torch.zeros(2, 3))
    assert LowRankBilinear(4, 3, 2, rank=1, bias=False).bias is None


def test_weights_start_within_one_over_the_root_of_their_inputs_and_the_bias_at_zero():
    layer = LowRankBilinear(100, 50, 20, rank=25)
    for weight, inputs in ((layer.left, 100), (layer.right, 50), (layer.out, 25)):
        bound = inputs**-0.5
        assert 0.9 * bound < weight.max() <= bound and -bound <= weight.min() < -0.9 * bound
    assert layer.bias.count_nonzero() == 0
    assert LowRankBilinear(1, 1, 1, rank=1)(torch.ones(2, 1), torch.ones(2, 1)).shape == (2, 1)
