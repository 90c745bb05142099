"""What the tests of this chapter share."""

import pytest
import torch
from torch.testing import assert_close


def agree_on_value_and_gradients(plain, fast, *inputs, rtol=1e-9, atol=1e-9, **options):
    """Hold two forms of a function together: on the value and on the gradient of every floating-point input."""
    free = [i for i in inputs if isinstance(i, torch.Tensor) and i.is_floating_point()]
    for i in free:
        i.requires_grad_()
    one, two = plain(*inputs, **options), fast(*inputs, **options)
    assert_close(one, two, rtol=rtol, atol=atol)
    weights = torch.randn(one.shape, dtype=one.dtype, generator=torch.Generator().manual_seed(1))
    grads = [torch.autograd.grad((y * weights).sum(), free) for y in (one, two)]
    assert_close(*grads, rtol=rtol, atol=atol)


@pytest.fixture
def agree():
    return agree_on_value_and_gradients


@pytest.fixture
def numbers():
    """A row of float64 numbers over both tails, zero left out (where a slope may jump)."""
    return torch.cat([torch.linspace(-30, -0.01, 40), torch.linspace(0.01, 30, 41)]).double()


@pytest.fixture
def scores():
    """A function that draws float64 scores of a shape."""
    return lambda *shape, seed=0: 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()
