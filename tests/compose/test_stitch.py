"""Stitches and stitched branches."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.compose.filtered import mixture_of_branches
from nnvocab.compose.freezing import trainable
from nnvocab.compose.stitch import Stitch, stitched_branches


@pytest.mark.oracle("stitch-layer", by="peer: scipy")
@pytest.mark.parametrize("bias", [False, True])
def test_fit_is_the_least_squares_map(bias):
    from scipy.linalg import lstsq

    source, target = torch.randn(40, 5, dtype=torch.float64), torch.randn(40, 3, dtype=torch.float64)
    stitch = Stitch(5, 3, bias=bias).double().fit(source, target)
    ones = torch.ones(40, 1, dtype=torch.float64) if bias else torch.ones(40, 0, dtype=torch.float64)
    wide = torch.cat([source, ones], 1)
    solution = torch.as_tensor(lstsq(wide.numpy(), target.numpy())[0])
    assert_close(stitch(source), wide @ solution)


def test_ridge_shrinks_the_weights_and_leaves_the_offset():
    source, target = torch.randn(40, 5), torch.randn(40, 3) + 7
    stitch = Stitch(5, 3).fit(source, target, ridge=1e6)
    assert stitch.linear.weight.abs().max() < 1e-3
    assert_close(stitch.linear.bias, target.mean(0), rtol=1e-3, atol=1e-3)


def test_identity_is_zero_padding_or_cutting_off():
    x = torch.randn(4, 5)
    assert_close(Stitch(5, 7, init="identity")(x), nn.functional.pad(x, [0, 2]))
    assert_close(Stitch(5, 3, init="identity")(x), x[:, :3])


def test_it_is_a_linear_layer_frozen_if_asked():
    stitch, x = Stitch(5, 3), torch.randn(2, 6, 5)
    assert_close(stitch(x), nn.functional.linear(x, stitch.linear.weight, stitch.linear.bias))
    assert trainable(Stitch(5, 3, frozen=True)) == {}


@pytest.mark.oracle("stitched-branches", by="brute force")
def test_every_branch_is_its_expert_and_a_matrix():
    experts = [nn.Linear(16, 5), nn.Sequential(nn.Linear(16, 7), nn.Sigmoid())]
    branches, x = stitched_branches(experts, (16,), 10), torch.randn(3, 16)
    for expert, branch in zip(experts, branches, strict=True):
        h, linear = expert(x), branch[1].linear
        for b in range(3):
            for i in range(10):
                assert_close(
                    branch(x)[b, i], sum(linear.weight[i, j] * h[b, j] for j in range(h.shape[1])) + linear.bias[i]
                )


def test_four_experts_of_other_sizes_behind_a_sparse_gate():
    torch.manual_seed(0)
    experts = [nn.Sequential(nn.Linear(16, n), nn.LeakyReLU()) for n in (4, 12, 6, 20)]
    layer = mixture_of_branches(stitched_branches(experts, (16,), 8), 16, kind="entmax", temperature=0.5)
    y, w = layer(torch.randn(50, 16), need_weights=True)
    assert y.shape == (50, 8) and w.eq(0).any() and layer.skip_zeros


def test_experts_are_frozen_if_asked_and_the_stitches_stay():
    experts, added = [nn.Linear(8, 3), nn.Linear(8, 5)], (3 * 4 + 4) + (5 * 4 + 4) + (8 * 2 + 2)
    layer = mixture_of_branches(stitched_branches(experts, (8,), 4), 8)
    assert sum(trainable(layer).values()) == added + (8 * 3 + 3) + (8 * 5 + 5)
    layer = mixture_of_branches(stitched_branches(experts, (8,), 4, freeze_experts=True), 8)
    assert sum(trainable(layer).values()) == added


def test_a_stitch_has_the_type_of_its_expert():
    (branch,) = stitched_branches([nn.Linear(8, 3).double()], (8,), 4)
    assert branch(torch.zeros(2, 8, dtype=torch.float64)).shape == (2, 4)
    (branch,) = stitched_branches([nn.Tanh()], (8,), 4)  # an expert without weights
    assert branch(torch.zeros(2, 8)).shape == (2, 4)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Stitch(0, 3)
    with pytest.raises(ValueError, match="'identity' or 'random'"):
        Stitch(3, 3, init="zeros")
    with pytest.raises(ValueError, match=r"build Stitch\(4, 3\)"):
        Stitch(5, 3)(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="with the same B"):
        Stitch(5, 3).fit(torch.zeros(4, 5), torch.zeros(3, 3))
    with pytest.raises(ValueError, match="no expert"):
        stitched_branches([], (4,), 3)
    with pytest.raises(ValueError, match="expert 1: Linear cannot take"):
        stitched_branches([nn.Linear(4, 2), nn.Linear(5, 2)], (4,), 3)
    with pytest.raises(ValueError, match="flatten it"):
        stitched_branches([nn.Linear(4, 2)], (6, 4), 3)


def test_what_has_no_least_squares_map_is_refused():
    with pytest.raises(ValueError, match="at least one sample"):
        Stitch(2, 2).fit(torch.zeros(0, 2), torch.zeros(0, 2))
    with pytest.raises(ValueError, match="finite numbers"):
        Stitch(2, 2).fit(torch.tensor([[1.0, float("nan")]]), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="ridge is -1"):
        Stitch(2, 2).fit(torch.zeros(1, 2), torch.zeros(1, 2), ridge=-1)


@pytest.mark.parametrize("bias", [False, True])
def test_ridge_is_the_closed_form(bias):
    source, target = torch.randn(20, 3, dtype=torch.float64), torch.randn(20, 2, dtype=torch.float64)
    stitch = Stitch(3, 2, bias=bias).double().fit(source, target, ridge=2.5)
    a, b = (source - source.mean(0), target - target.mean(0)) if bias else (source, target)
    expected = torch.linalg.solve(a.mT @ a + 2.5 * torch.eye(3), a.mT @ b)
    assert_close(stitch.linear.weight.mT, expected)
    if bias:
        assert_close(stitch(source).mean(0), target.mean(0))
