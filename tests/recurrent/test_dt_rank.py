"""What the projection to the step length must hold."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.recurrent import Mamba, auto_dt_rank, dt_bias, step_size


@pytest.mark.oracle("step-size-rank", by="brute force")
def test_is_the_projection_written_out_number_by_number():
    x, down, up, bias = (torch.randn(s, dtype=torch.float64) for s in [(1, 2, 4), (2, 4), (4, 2), (4,)])
    found = step_size(x, down, up, bias)
    for t in range(2):
        low = [sum(down[r, e] * x[0, t, e] for e in range(4)) for r in range(2)]
        for e in range(4):
            total = sum(up[e, r] * low[r] for r in range(2)) + bias[e]
            assert math.isclose(found[0, t, e], math.log1p(math.exp(total)), rel_tol=1e-9)


def test_is_what_mamba_uses():
    layer, x = Mamba(40), torch.randn(2, 3, 80)
    delta = layer._selected(x)[0]
    assert_close(step_size(x, layer.x_proj.weight[:3], layer.dt_proj.weight, layer.dt_proj.bias), delta)


@pytest.mark.parametrize(("width", "rank"), [(1, 1), (16, 1), (17, 2), (64, 4), (768, 48), (2560, 160)])
def test_auto_is_a_sixteenth_of_the_width_rounded_up(width, rank):
    assert auto_dt_rank(width) == rank


def test_auto_is_mambapys():
    mambapy = pytest.importorskip("mambapy.mamba", reason="mambapy is an optional peer")
    for width in (8, 64, 100):
        assert auto_dt_rank(width) == mambapy.MambaConfig(d_model=width, n_layers=1).dt_rank


def test_the_bias_starts_step_lengths_evenly_in_the_logarithm():
    delta = F.softplus(dt_bias(20_000, 0.001, 0.1))
    decade = delta.log10()
    assert -3.001 < decade.min() and decade.max() < -0.999
    assert_close(torch.histc(decade, 4, -3, -1) / 20_000, torch.full((4,), 0.25), rtol=0, atol=0.02)


def test_a_floor_holds():
    assert F.softplus(dt_bias(100, 1e-6, 1e-6, floor=1e-3)).min() > 0.99e-3


def test_the_rank_of_the_projection_is_the_rank():
    x = torch.randn(1, 50, 32, dtype=torch.float64)
    down, up = torch.randn(2, 32, dtype=torch.float64), torch.randn(32, 2, dtype=torch.float64)
    before_softplus = torch.log(torch.expm1(step_size(x, down, up, torch.zeros(32, dtype=torch.float64))))
    assert torch.linalg.matrix_rank(before_softplus[0], rtol=1e-6) == 2


@pytest.mark.parametrize("bounds", [(0.1, 0.01), (0.0, 0.1), (-0.1, 0.1)])
def test_a_range_that_is_none_is_refused(bounds):
    with pytest.raises(ValueError, match="0 < dt_min <= dt_max"):
        dt_bias(4, *bounds)
