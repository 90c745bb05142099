"""What only instance normalization must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.normalization.instance_norm import InstanceNorm, instance_norm, instance_norm_fused


@pytest.mark.oracle("instance-normalization", by="brute force")
def test_is_the_mean_and_the_biased_variance_of_each_channel_of_each_sample():
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    expected = torch.empty_like(x)
    for b in range(2):
        for c in range(3):
            values = x[b, c].tolist()
            mu = sum(values) / 4
            variance = sum((v - mu) ** 2 for v in values) / 4
            expected[b, c] = (x[b, c] - mu) / (variance + 1e-5) ** 0.5
    assert_close(instance_norm(x), expected)


@pytest.mark.parametrize("use_input_stats", [True, False])
def test_fused_form_agrees_on_the_value_every_gradient_and_the_averages(use_input_stats):
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((4, 3, 5), (3,), (3,))]
    results = []
    for form in (instance_norm, instance_norm_fused):
        mean, var = torch.full((3,), 0.3, dtype=torch.float64), torch.full((3,), 2.0, dtype=torch.float64)
        y = form(inputs[0], mean, var, *inputs[1:], use_input_stats, 0.2)
        grads = torch.autograd.grad((y * torch.arange(60.0).view(4, 3, 5).sin()).sum(), inputs)
        results.append((y, *grads, mean, var))
    assert_close(*results)


@pytest.mark.parametrize(
    ("theirs", "shape"),
    [(nn.InstanceNorm1d, (2, 3, 5)), (nn.InstanceNorm2d, (2, 3, 5, 2)), (nn.InstanceNorm3d, (2, 3, 2, 2, 2))],
)
@pytest.mark.parametrize("options", [{}, {"affine": True}, {"track_running_stats": True}], ids=str)
def test_is_torchs_layer_in_training_and_evaluation(theirs, shape, options):
    ours, peer = InstanceNorm(3, **options), theirs(3, **options)
    for _ in range(3):
        x = 2 + 3 * torch.randn(shape)
        assert_close(ours(x), peer(x))
    assert_close(ours.eval()(x), peer.eval()(x))
    if options.get("track_running_stats"):
        assert_close(ours.running_var, peer.running_var)


def test_takes_brightness_and_contrast_out_of_each_channel():
    image = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    gain, offset = torch.rand(1, 3, 1, 1) + 0.5, torch.randn(1, 3, 1, 1)
    assert_close(instance_norm(gain * image + offset, eps=1e-12), instance_norm(image, eps=1e-12))


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (2, 3, 1, 1)])
def test_a_single_position_is_refused(shape):
    for form in (instance_norm, instance_norm_fused):
        with pytest.raises(ValueError, match="has one value"):
            form(torch.zeros(shape))
        assert_close(form(torch.tensor([[[2.0, 6.0]]])), torch.tensor([[[-1.0, 1.0]]]))  # two are enough


def test_averages_that_are_asked_for_but_missing_are_refused():
    with pytest.raises(ValueError, match="give both"):
        instance_norm(torch.zeros(2, 3, 4), use_input_stats=False)


def test_channels_elsewhere_are_refused():
    with pytest.raises(ValueError, match="channels stand on axis 1"):
        InstanceNorm(3)(torch.zeros(2, 4, 5))


@pytest.mark.parametrize("form", [instance_norm, instance_norm_fused])
def test_keeps_its_digits_at_a_mean_of_ten_thousand(form):
    x = 1e4 + torch.randn(4, 3, 64)
    assert (form(x).double() - instance_norm(x.double())).abs().max() < 5e-3


def test_half_precision_is_summed_in_float32():
    x = (300 * torch.randn(2, 3, 64)).half()  # squares overflow float16
    assert_close(instance_norm(x).float(), instance_norm(x.float()), rtol=2e-3, atol=2e-3)


def test_what_has_no_channels_is_refused():
    for form in (instance_norm, instance_norm_fused):
        with pytest.raises(ValueError, match="channels stand on axis 1"):
            form(torch.zeros(4))
    with pytest.raises(ValueError, match="one number for each of the 3 channels"):
        instance_norm(torch.zeros(2, 3, 4), weight=torch.ones(4))
    with pytest.raises(ValueError, match="at least 1 is needed"):
        InstanceNorm(0)
