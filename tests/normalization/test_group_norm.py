"""What only group normalization must hold; the contract tests run on every entry beside these."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from nnvocab.normalization.group_norm import GroupNorm, group_norm, group_norm_fused


@pytest.mark.oracle("group-normalization", by="brute force")
def test_is_the_mean_and_the_biased_variance_of_each_group_written_out():
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    expected = torch.empty_like(x)
    for b in range(2):
        for channels in ([0, 1], [2, 3]):
            values = [x[b, c, s].item() for c in channels for s in range(3)]
            mu = sum(values) / 6
            variance = sum((v - mu) ** 2 for v in values) / 6
            expected[b, channels] = (x[b, channels] - mu) / (variance + 1e-5) ** 0.5
    assert_close(group_norm(x, 2), expected)


@pytest.mark.parametrize("num_groups", [1, 2, 6])
def test_fused_form_agrees_on_the_value_and_on_every_gradient(num_groups):
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((2, 6, 5), (6,), (6,))]
    plain, fused = (f(inputs[0], num_groups, *inputs[1:]) for f in (group_norm, group_norm_fused))
    assert_close(plain, fused)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), inputs), torch.autograd.grad((fused * weights).sum(), inputs)
    )


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 5), (2, 6, 3, 4)])
def test_is_torchs_layer(shape, affine):
    ours, theirs, x = GroupNorm(2, 6, affine=affine), nn.GroupNorm(2, 6, affine=affine), torch.randn(shape)
    assert_close(dict(ours.state_dict()), dict(theirs.state_dict()))
    assert_close(ours(x), theirs(x))


def test_as_many_groups_as_channels_is_instance_normalization():
    x = torch.randn(2, 6, 4, 4)
    assert_close(group_norm(x, 6), F.instance_norm(x))


def test_one_group_is_layer_normalization_over_channels_and_positions_but_not_over_channels():
    x = torch.randn(2, 6, 4, 4)
    assert_close(group_norm(x, 1), F.layer_norm(x, (6, 4, 4)))
    per_position = F.layer_norm(x.movedim(1, -1), (6,)).movedim(-1, 1)
    assert (group_norm(x, 1) - per_position).abs().max() > 0.3


def test_does_not_depend_on_the_batch():
    x, layer = torch.randn(4, 6, 5), GroupNorm(3, 6)
    assert_close(layer(x)[:1], layer(x[:1]))


def test_keeps_its_digits_at_a_mean_of_ten_thousand():
    x = 1e4 + torch.randn(4, 8, 64)
    exact = group_norm(x.double(), 2)
    for form in (group_norm, group_norm_fused):
        assert (form(x, 2).double() - exact).abs().max() < 5e-3


def test_channels_at_the_end_may_be_moved_without_a_copy():
    x = torch.randn(2, 5, 6).movedim(-1, 1)
    assert_close(group_norm(x, 3), group_norm_fused(x.contiguous(), 3))


@pytest.mark.parametrize("num_groups", [4, 0])
def test_groups_that_do_not_divide_are_refused(num_groups):
    with pytest.raises(ValueError, match=r"try one of \[1, 2, 3, 6\]"):
        GroupNorm(num_groups, 6)


def test_channels_elsewhere_are_refused():
    with pytest.raises(ValueError, match="channels stand on axis 1"):
        GroupNorm(2, 6)(torch.zeros(2, 4, 6))


def test_groups_of_one_value_and_inputs_that_do_not_fit_are_refused():
    for form in (group_norm, group_norm_fused):
        with pytest.raises(ValueError, match="has one value"):
            form(torch.zeros(2, 6), 6)
        with pytest.raises(ValueError, match=r"try one of \[1, 2, 3, 6\]"):
            form(torch.zeros(2, 6), 4)
        with pytest.raises(ValueError, match="channels stand on axis 1"):
            form(torch.zeros(6), 2)
    assert group_norm(torch.zeros(2, 6, 2), 6).shape == (2, 6, 2)
    with pytest.raises(ValueError, match="at least 1 is needed"):
        GroupNorm(1, 0)


def test_half_precision_is_summed_in_float32():
    x = (300 * torch.randn(2, 4, 64)).half()  # squares overflow float16
    assert_close(group_norm(x, 2).float(), group_norm(x.float(), 2), rtol=2e-3, atol=2e-3)
