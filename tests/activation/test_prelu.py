"""What only PReLU must hold."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.activation.prelu import PReLU, prelu, prelu_fused


@pytest.mark.oracle("prelu", by="brute force")
@pytest.mark.parametrize("count", [1, 3])
def test_is_the_two_lines_written_out(scores, count):
    x, a = scores(2, 3, 4), scores(count, seed=1)
    expected = torch.empty_like(x)
    for b, c, t in [(b, c, t) for b in range(2) for c in range(3) for t in range(4)]:
        v = x[b, c, t]
        expected[b, c, t] = max(v, 0) + a[c if count == 3 else 0] * min(v, 0)
    assert_close(prelu(x, a), expected)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5)])
@pytest.mark.parametrize("count", [1, 3])
def test_both_forms_agree(agree, scores, shape, count):
    agree(prelu, prelu_fused, scores(*shape), scores(count, seed=1))


def test_the_gradient_of_the_slope_is_the_sum_of_the_negative_inputs(scores):
    x, layer = scores(4, 3, 5), PReLU(3).double()
    layer(x).sum().backward()
    assert_close(layer.weight.grad, x.clamp(max=0).sum((0, 2)))


def test_starts_like_torch_and_loads_its_weights():
    ours, theirs = PReLU(4, init=0.1), nn.PReLU(4, init=0.1)
    assert_close(ours.state_dict(), theirs.state_dict())
    assert PReLU().weight.tolist() == [0.25]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="num_parameters is 0"):
        PReLU(0)
    with pytest.raises(ValueError, match="channels on axis 1"):
        PReLU(3)(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="channels on axis 1"):
        PReLU(3)(torch.zeros(3))
    for form in (prelu, prelu_fused):
        with pytest.raises(ValueError, match="one for each channel"):
            form(torch.zeros(2, 3), torch.zeros(2))
        with pytest.raises(ValueError, match="one for each channel"):
            form(torch.zeros(2, 3), torch.zeros(3, 1))
        assert form(-torch.ones(3), torch.tensor([0.5])).tolist() == [-0.5] * 3
    with pytest.raises(TypeError, match=r"x.float\(\)"):
        PReLU()(torch.tensor([1, 2]))
