"""What only hardswish must hold."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from nnvocab.activation.hardswish import Hardswish, hardswish, hardswish_fused


@pytest.mark.oracle("hardswish", by="brute force")
def test_is_x_times_the_ramp_one_by_one(numbers):
    x = numbers / 4
    assert_close(hardswish(x), torch.tensor([v * min(max(v + 3, 0), 6) / 6 for v in x.tolist()], dtype=torch.float64))
    assert_close(Hardswish()(x), nn.Hardswish()(x))


def test_both_forms_agree(agree, numbers):
    agree(hardswish, hardswish_fused, numbers / 4)


def test_the_largest_deviation_from_silu_is_at_three():
    x = torch.linspace(-12, 12, 24_001, dtype=torch.float64)
    gap = (hardswish(x) - F.silu(x)).abs()
    assert_close(float(x[gap.argmax()].abs()), 3.0, rtol=1e-3, atol=0)
    assert_close(float(gap.max()), 3 * float(torch.sigmoid(torch.tensor(-3.0))), rtol=1e-4, atol=0)


def test_in_place():
    x = torch.ones(1)
    assert Hardswish(inplace=True)(x) is x


def test_integers_are_refused():
    with pytest.raises(TypeError, match=r"x.float\(\)"):
        Hardswish()(torch.tensor([1, 2]))
