"""What only ReGLU must hold."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.activation.reglu import ReGLU, reglu


@pytest.mark.oracle("reglu", by="brute force")
def test_is_the_product_written_out(scores):
    v, g = scores(2, 3), scores(2, 3, seed=1)
    expected = [[float(a) * max(0.0, float(b)) for a, b in zip(*row, strict=True)] for row in zip(v, g, strict=True)]
    assert_close(reglu(v, g), torch.tensor(expected, dtype=torch.float64))
    assert_close(ReGLU()(torch.cat([v, g], -1)), reglu(v, g))
    assert_close(ReGLU(0)(torch.cat([v, g], 0)), reglu(v, g))


def test_a_closed_gate_passes_no_gradient():
    v, g = torch.tensor([2.0], requires_grad=True), torch.tensor([-1.0], requires_grad=True)
    reglu(v, g).backward()
    assert v.grad == 0
    assert g.grad == 0


def test_the_last_axis_is_halved_unless_told_otherwise():
    assert ReGLU()(torch.zeros(2, 4, 6)).shape == (2, 4, 3)


def test_a_value_and_a_gate_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="two tensors of one shape"):
        reglu(torch.zeros(2, 3), torch.zeros(2, 1))
