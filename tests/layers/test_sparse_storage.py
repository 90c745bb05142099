"""What the two small ways to store a layer must hold."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.layers.pruning import two_four_mask
from nnvocab.layers.sparse_storage import CSRLinear, TwoFourLinear, pack_two_four, stored_bytes, unpack_two_four


def test_packing_goes_round_also_where_three_of_four_are_zero():
    weight = torch.randn(6, 16)
    weight = weight * two_four_mask(weight)
    weight[0, :8] = torch.tensor([0.0, 0, 0, 5, 0, 0, 0, 0])
    values, places = pack_two_four(weight)
    assert values.shape == (6, 8) and places.shape == (6, 2) and places.dtype == torch.uint8
    assert_close(unpack_two_four(values, places), weight)


@pytest.mark.parametrize(("dtype", "share"), [(torch.float32, 17 / 32), (torch.float16, 9 / 16)])
def test_packed_bytes_are_the_share_that_is_said(dtype, share):
    weight = torch.randn(8, 64).to(dtype)
    weight = weight * two_four_mask(weight)
    assert stored_bytes(TwoFourLinear(weight)) == weight.numel() * weight.element_size() * share


@pytest.mark.parametrize("biased", [False, True])
def test_a_packed_layer_multiplies_as_the_full_one_does(biased):
    weight, bias = torch.randn(6, 16), torch.randn(6) if biased else None
    weight = weight * two_four_mask(weight)
    x = torch.randn(2, 3, 16)
    layer = TwoFourLinear(weight, bias)
    assert_close(layer(x), F.linear(x, weight, bias))
    with pytest.raises(ValueError, match="16"):
        layer(torch.randn(2, 6))


def test_rows_without_weights_are_fine():
    weight = torch.zeros(4, 8)
    weight[2, 3] = 2.0
    layer = CSRLinear(weight, torch.ones(4))
    assert_close(layer(torch.ones(1, 8)), torch.tensor([[1.0, 1, 3, 1]]))
    assert len(layer.values) == 1


def test_what_does_not_have_the_pattern_is_refused():
    with pytest.raises(ValueError, match="prune with method='2:4'"):
        pack_two_four(torch.ones(2, 8))
    with pytest.raises(ValueError, match="multiple of 8"):
        pack_two_four(torch.zeros(2, 12))
    with pytest.raises(ValueError, match="two axes"):
        CSRLinear(torch.zeros(3))
